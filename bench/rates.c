#include "bench/rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/timing.h"

/* ---- of a device ---- */

/* Pairs of buffers that are copied from one to the other. */
enum { MOST_PAIRS = 64 };
typedef struct {
    char *from[MOST_PAIRS], *to[MOST_PAIRS];
    size_t bytes;
} pairs;

static void copy_pair(osv_ops *o, void *state, int turn)
{
    const pairs *p = state;
    o->copy(o, p->to[turn], p->from[turn], p->bytes, OSV_ON_DEVICE);
}

static double time_copy(osv_ops *o, size_t bytes, double seconds)
{
    pairs p = {.bytes = bytes};
    bench_work w = {copy_pair, &p, bench_copies(o, 2 * (double)bytes, 2 * (double)bytes)};
    for (int i = 0; i < w.copies; i++) {
        p.from[i] = o->alloc(o, bytes);
        p.to[i] = o->alloc(o, bytes);
        o->zero(o, p.from[i], bytes);
        o->zero(o, p.to[i], bytes);
    }
    double least = bench_time(o, &w, seconds);
    for (int i = 0; i < w.copies; i++) {
        o->free(o, p.from[i]);
        o->free(o, p.to[i]);
    }
    return least;
}

typedef struct {
    osv_weight weight;
    osv_real *x, *y;
    int rows;
} product;

static void multiply(osv_ops *o, void *state, int turn)
{
    const product *p = state;
    (void)turn;
    o->matmul(o, (osv_real *const[]){p->y}, p->x, (const osv_weight *const[]){&p->weight}, 1, p->rows);
}

/* Numbers that differ, of the size that weights and activations have: what a device draws depends on them. */
static double device_matmul_rate(osv_ops *o, int n)
{
    size_t count = (size_t)n * (size_t)n;
    float *numbers = malloc(count * sizeof *numbers);
    if (!numbers) {
        OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
        return 0;
    }
    for (size_t i = 0; i < count; i++) numbers[i] = (float)((i * 2654435761u >> 7) % 1024) / 512 - 1;
    product p = {.weight = {numbers, OSV_F32, n, n}, .rows = n};
    o->place(o, &p.weight);
    p.x = o->alloc(o, count * sizeof *p.x);
    p.y = o->alloc(o, count * sizeof *p.y);
    o->copy(o, p.x, numbers, count * sizeof *p.x, OSV_TO_DEVICE);
    double seconds = bench_time(o, &(bench_work){multiply, &p, 1}, 0.3);
    o->free(o, p.x);
    o->free(o, p.y);
    free(numbers);
    return 2.0 * n * n * n / seconds;
}

osv_rates osv_measure_rates(osv_ops *o, int threads, osv_rates_size size)
{
    bool quick = size == OSV_RATES_QUICK;
    if (!osv_on_device(o)) return osv_host_rates(threads, (size_t)1 << (quick ? 22 : 26), quick ? 0 : 0.7);
    size_t bytes = (size_t)1 << (quick ? 20 : 29);
    return (osv_rates){.flops = device_matmul_rate(o, quick ? 128 : 8192),
                       .bandwidth = 2 * (double)bytes / time_copy(o, bytes, quick ? 0 : 0.3)};
}

void osv_measure_copies(osv_copies *c, osv_ops *o, double seconds, osv_rates_size size)
{
    size_t most = (size_t)1 << (size == OSV_RATES_QUICK ? 18 : osv_on_device(o) ? 29 : 27);
    c->count = 0;
    for (size_t bytes = 1 << 12; c->count < OSV_COPIES; bytes *= 4, c->count++) {
        if (bytes > most) bytes = most;
        c->moved[c->count] = 2 * (double)bytes;
        c->rate[c->count] = 2 * (double)bytes / time_copy(o, bytes, seconds);
        if (bytes == most) break;
    }
    if (c->count < OSV_COPIES) c->count++;
}

double osv_copy_rate(const osv_copies *c, double moved)
{
    int i = 1;
    if (moved <= c->moved[0]) return c->rate[0] * moved / c->moved[0]; /* it takes as long as the smallest */
    while (i < c->count && c->moved[i] < moved) i++;
    if (i == c->count) return c->rate[c->count - 1];
    double part = log(moved / c->moved[i - 1]) / log(c->moved[i] / c->moved[i - 1]);
    return c->rate[i - 1] + part * (c->rate[i] - c->rate[i - 1]);
}
