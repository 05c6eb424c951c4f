#include "bench/rates.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "bench/timing.h"
#include "kernels/host.h"

bool osv_on_device(const osv_ops *o)
{
    return strcmp(o->name, "cuda") == 0;
}

/* ---- of the host ---- */

/* Each thread multiplies its own n x n matrices, so that the rate is that of `threads` cores whatever the
 * BLAS does inside. */
static double host_matmul_rate(int threads, int n, int repeats)
{
    double best = 1e9;
    size_t numbers = 3 * (size_t)n * (size_t)n;
    float *x = malloc(sizeof(float) * numbers * (size_t)threads);
    if (!x) return 0;
    for (size_t i = 0; i < numbers * (size_t)threads; i++) x[i] = (float)(i % 7) - 3;
    for (int r = 0; r < repeats; r++) {
        double start = osv_host_seconds();
#pragma omp parallel num_threads(threads)
        {
            float *a = x + (size_t)omp_get_thread_num() * numbers;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, a, n, a + n * n, n, 0,
                        a + 2 * n * n, n);
        }
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return 2.0 * n * n * n * threads / best;
}

/* n floats, in parts that are timed one by one: other programs do not run in all of them. */
static double host_read_rate(int threads, size_t n)
{
    enum { repeats = 5, parts = 32 };
    float *x = malloc(n * sizeof *x);
    size_t part = n / parts;
    double best = 1e9, sum = 0;
    if (!x) return 0;
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < n; i++) x[i] = 1;
    for (int r = 0; r < repeats * parts; r++) {
        const float *from = x + (size_t)(r % parts) * part;
        double start = osv_host_seconds();
#pragma omp parallel for simd reduction(+ : sum) num_threads(threads)
        for (size_t i = 0; i < part; i++) sum += (double)from[i];
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return sum > 0 ? (double)part * sizeof(float) / best : 0;
}

/* A large product comes nearer to what the processor can do, a smaller one is over before another program
 * runs. */
static osv_rates host_rates(int threads, bool quick)
{
    double large = quick ? 0 : host_matmul_rate(threads, 768, 7);
    return (osv_rates){.flops = fmax(large, host_matmul_rate(threads, quick ? 256 : 384, quick ? 7 : 50)),
                       .bandwidth = host_read_rate(threads, (size_t)1 << (quick ? 22 : 26))};
}

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
    if (!osv_on_device(o)) return host_rates(threads, quick);
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
