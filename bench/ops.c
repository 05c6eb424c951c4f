/* bench-ops: the cpu filling, operator by operator, on the shapes of two models with bf16 weights, beside
 * what this machine can do in this run: the rate of a large sgemm and the bandwidth of reading memory. CSV on
 * stdout.
 *
 *     bench-ops [rows [threads [seconds]]]       defaults: 64 rows, all processors, 0.3 s a case
 *
 * floor_ms is the larger of FLOPs / sgemm rate and bytes / bandwidth, bytes being weights and what an
 * operator cannot avoid to read and write; `times` is how many floors it took. The best of several repeats,
 * because other programs run as well. Weights are rotated through CACHE bytes of copies: in a training run,
 * too, each is read from memory. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/floor.h"
#include "kernels/host.h"

enum { MOST_WEIGHTS = 3, MOST_COPIES = 64, FROZEN = 192 };
static const size_t CACHE = (size_t)128 << 20;

typedef struct {
    osv_ops *o;
    osv_rates rates;
    int rows, threads;
    double seconds; /* for a case */
} bench;

/* What every case ends in: its arguments are in `state`, `turn` says which copy of the weights is next. */
typedef struct {
    const char *model, *name, *shape;
    double flops, bytes;
    void (*run)(osv_ops *o, void *state, int turn);
    void *state;
    int turns; /* one repeat */
} work;

static void measure(const bench *b, const work *w)
{
    double best = 1e9, begin = osv_host_seconds();
    w->run(b->o, w->state, 0);
    for (int repeats = 0; repeats < 3 || osv_host_seconds() - begin < b->seconds; repeats++) {
        double start = osv_host_seconds();
        for (int t = 0; t < w->turns; t++) w->run(b->o, w->state, t);
        best = fmin(best, (osv_host_seconds() - start) / w->turns);
    }
    double computing = w->flops / b->rates.flops, reading = w->bytes / b->rates.bandwidth;
    double floor = fmax(computing, reading);
    printf("%s,%s,%s,%d,%d,%.4f,%.1f,%.1f,%.2f,%.4f,%.2f\n", w->model, w->name, w->shape, b->rows, b->threads,
           1e3 * best, 1e-9 * w->flops / best, 100 * computing / best, 1e-9 * w->bytes / best, 1e3 * floor,
           best / floor);
    fflush(stdout);
}

static uint32_t random_state = 1;

static float uniform(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (1 << 23) - 1;
}

static void *must(void *p)
{
    if (p) return p;
    fprintf(stderr, "bench-ops: out of memory\n");
    exit(OSV_DEVICE);
}

static float *random_floats(osv_ops *o, size_t n)
{
    float *x = must(o->alloc(o, n * sizeof *x));
    for (size_t i = 0; i < n; i++) x[i] = uniform();
    return x;
}

/* ---- products ---- */

typedef struct {
    int n, cols, outputs[MOST_WEIGHTS], copies;
    osv_weight weight[MOST_COPIES][MOST_WEIGHTS];
    float *x, *dx, *y[MOST_WEIGHTS];
    int rows;
} product;

static void forward(osv_ops *o, void *state, int turn)
{
    product *p = state;
    const osv_weight *w[MOST_WEIGHTS];
    for (int i = 0; i < p->n; i++) w[i] = &p->weight[turn][i];
    o->matmul(o, p->y, p->x, w, p->n, p->rows);
}

static void backward(osv_ops *o, void *state, int turn)
{
    product *p = state;
    const osv_weight *w[MOST_WEIGHTS];
    const float *dy[MOST_WEIGHTS];
    for (int i = 0; i < p->n; i++) {
        w[i] = &p->weight[turn][i];
        dy[i] = p->y[i];
    }
    o->matmul_dx(o, p->dx, dy, w, p->n, p->rows);
}

static void bench_product(const bench *b, const char *model, const char *name, int cols, int n,
                          const int *outputs)
{
    osv_ops *o = b->o;
    product *p = must(calloc(1, sizeof *p));
    double numbers = 0, floats = (double)cols;
    char shape[64];
    for (int i = 0; i < n; i++) {
        numbers += (double)outputs[i] * cols;
        floats += outputs[i];
    }
    int total = (int)(numbers / cols);
    *p = (product){.n = n, .cols = cols, .rows = b->rows};
    p->copies = (int)fmin(MOST_COPIES, ceil((double)CACHE / (2 * numbers)));
    uint16_t *data = must(o->alloc(o, (size_t)p->copies * (size_t)numbers * sizeof *data));
    for (size_t i = 0; i < (size_t)p->copies * (size_t)numbers; i++) data[i] = osv_bf16_from_float(uniform());
    uint16_t *at = data;
    for (int c = 0; c < p->copies; c++)
        for (int i = 0; i < n; i++) {
            p->weight[c][i] = (osv_weight){at, OSV_BF16, outputs[i], cols};
            at += (size_t)outputs[i] * (size_t)cols;
        }
    p->x = random_floats(o, (size_t)b->rows * (size_t)cols);
    p->dx = random_floats(o, (size_t)b->rows * (size_t)cols);
    for (int i = 0; i < n; i++) p->y[i] = random_floats(o, (size_t)b->rows * (size_t)outputs[i]);
    snprintf(shape, sizeof shape, "%dx%d", total, cols);
    work w = {model,   name, shape,    2 * numbers * b->rows, 2 * numbers + 4 * floats * b->rows,
              forward, p,    p->copies};
    char label[64];
    w.name = label;
    snprintf(label, sizeof label, "matmul %s", name);
    measure(b, &w);
    w.run = backward;
    snprintf(label, sizeof label, "matmul_dx %s", name);
    measure(b, &w);
    o->free(o, data);
    o->free(o, p->x);
    o->free(o, p->dx);
    for (int i = 0; i < n; i++) o->free(o, p->y[i]);
    free(p);
}

/* ---- attention: the rows of one segment after a frozen prompt of FROZEN tokens ---- */

typedef struct {
    osv_worklist work;
    osv_attention a;
    float *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv, *delta;
} attention;

static void attend(osv_ops *o, void *state, int turn)
{
    attention *s = state;
    (void)turn;
    o->attention(o, s->out, s->lse, s->q, s->k, s->v, &s->work, &s->a);
}

static void attend_dx(osv_ops *o, void *state, int turn)
{
    attention *s = state;
    (void)turn;
    o->attention_dx(o, s->dq, s->dk, s->dv, s->delta, s->dout, s->q, s->k, s->v, s->out, s->lse, &s->work,
                    &s->a);
}

static void bench_attention(const bench *b, const char *model, int H, int K, int E)
{
    osv_ops *o = b->o;
    int T = b->rows, tiles = (T + OSV_TILE - 1) / OSV_TILE, slots = FROZEN + T;
    int *pos = must(calloc((size_t)T, sizeof *pos));
    osv_query_tile *query = must(calloc((size_t)tiles, sizeof *query));
    osv_kv_tile *kv = must(calloc((size_t)tiles, sizeof *kv));
    osv_kv_range *range = must(calloc((size_t)tiles * 2, sizeof *range));
    double pairs = 0;
    for (int r = 0; r < T; r++) {
        pos[r] = FROZEN + r;
        pairs += pos[r] + 1;
    }
    for (int t = 0; t < tiles; t++) {
        int row = t * OSV_TILE, count = T - row < OSV_TILE ? T - row : OSV_TILE;
        range[2 * t] = (osv_kv_range){.slot = 0, .count = FROZEN, .pos = 0};
        range[2 * t + 1] = (osv_kv_range){.slot = FROZEN, .count = row + count, .pos = FROZEN};
        query[t] = (osv_query_tile){.row = row, .count = count, .first = 2 * t, .ranges = 2};
        kv[t] = (osv_kv_tile){
            .slot = FROZEN + row, .count = count, .pos = FROZEN + row, .row = row, .rows = T - row};
    }
    attention s = {.work = {.rows = T,
                            .pos = pos,
                            .query_tile = query,
                            .query_tiles = tiles,
                            .kv_range = range,
                            .kv_ranges = 2 * tiles,
                            .kv_tile = kv,
                            .kv_tiles = tiles,
                            .live_slot = FROZEN,
                            .max_keys = slots},
                   .a = {.heads = {.H = H, .K = K, .E = E, .group = H / K}, .scale = 1 / sqrt(E)}};
    size_t wide = (size_t)T * (size_t)H * (size_t)E, narrow = (size_t)slots * (size_t)K * (size_t)E;
    float **const part[] = {&s.q, &s.out, &s.dout, &s.dq, &s.k, &s.v, &s.dk, &s.dv, &s.lse, &s.delta};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        *part[i] = random_floats(o, i < 4 ? wide : narrow);
    char shape[64];
    snprintf(shape, sizeof shape, "H%d K%d E%d keys%d", H, K, E, slots);
    double traffic = 4 * (double)(wide + narrow);
    work w = {model, "attention", shape, 4 * pairs * H * E, 2 * traffic, attend, &s, 1};
    measure(b, &w);
    w = (work){model, "attention_dx", shape, 10 * pairs * H * E, 4 * traffic, attend_dx, &s, 1};
    measure(b, &w);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) o->free(o, *part[i]);
    free(pos);
    free(query);
    free(kv);
    free(range);
}

/* ---- element by element ---- */

typedef struct {
    int rows, D;
    size_t n;
    osv_weight norm;
    osv_scores scores;
    float *x, *y, *z, *max, *sum, *loss;
} loops;

static void run_norm(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->rmsnorm(o, s->y, s->x, &s->norm, 0, 1e-6, s->rows);
}

static void run_norm_dx(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->rmsnorm_dx(o, s->z, s->y, s->x, &s->norm, 0, 1e-6, s->rows);
}

static void run_glu(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->glu(o, s->z, s->x, s->y, OSV_SILU, s->n);
}

static void run_glu_dx(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->glu_dx(o, s->z, s->z, s->x, s->x, s->y, OSV_SILU, s->n);
}

static void run_score(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->score_max(o, s->max, s->z, s->rows, s->D);
    o->score_sum(o, s->sum, s->z, s->max, &s->scores, s->D);
    o->score(o, s->loss, s->sum, &s->scores);
}

static void run_score_dx(osv_ops *o, void *state, int turn)
{
    loops *s = state;
    (void)turn;
    o->score_dx(o, s->z, s->max, s->sum, s->loss, &s->scores, s->D);
}

static void bench_loops(const bench *b, const char *model, int D, int F, int V)
{
    osv_ops *o = b->o;
    int R = b->rows;
    size_t most = (size_t)R * (size_t)V;
    loops s = {.rows = R, .D = D, .n = (size_t)R * (size_t)F};
    s.x = random_floats(o, (size_t)R * (size_t)F);
    s.y = random_floats(o, (size_t)R * (size_t)F);
    s.z = random_floats(o, most);
    s.norm = (osv_weight){random_floats(o, (size_t)D), OSV_F32, 1, D};
    double size = 4.0 * R * D, ffn = 4.0 * R * F, head = 4.0 * R * V;
    char shape[32];
    snprintf(shape, sizeof shape, "D%d", D);
    measure(b, &(work){model, "rmsnorm", shape, 4.0 * R * D, 2 * size, run_norm, &s, 1});
    measure(b, &(work){model, "rmsnorm_dx", shape, 8.0 * R * D, 3 * size, run_norm_dx, &s, 1});
    snprintf(shape, sizeof shape, "F%d", F);
    measure(b, &(work){model, "glu", shape, 20.0 * R * F, 3 * ffn, run_glu, &s, 1});
    measure(b, &(work){model, "glu_dx", shape, 30.0 * R * F, 5 * ffn, run_glu_dx, &s, 1});
    snprintf(shape, sizeof shape, "V%d", V);
    s.D = V;
    float *per_row = random_floats(o, 6 * (size_t)R);
    int *ids = must(calloc(3 * (size_t)R + 1, sizeof *ids));
    for (int r = 0; r < R; r++) {
        per_row[r] = 0.7f;
        per_row[R + r] = 1e-6f;
        ids[r + 1] = r + 1;
        ids[R + 1 + r] = (int)((long long)r * 7919 % V);
    }
    s.scores = (osv_scores){.R = R,
                            .S = R,
                            .first = ids,
                            .target = ids + R + 1,
                            .kind = ids + 2 * R + 1,
                            .coldness = per_row,
                            .eps = per_row + R};
    s.max = per_row + 2 * (size_t)R;
    s.sum = per_row + 3 * (size_t)R;
    s.loss = per_row + 5 * (size_t)R;
    measure(b, &(work){model, "score", shape, 20.0 * R * V, 2 * head, run_score, &s, 1});
    measure(b, &(work){model, "score_dx", shape, 20.0 * R * V, 2 * head, run_score_dx, &s, 1});
    free(ids);
    o->free(o, per_row);
    o->free(o, s.x);
    o->free(o, s.y);
    o->free(o, s.z);
    o->free(o, (void *)s.norm.data);
}

/* ---- models ---- */

static void bench_model(const bench *b, const char *name, int D, int F, int H, int K, int E, int V)
{
    bench_product(b, name, "qkv", D, 3, (int[]){H * E, K * E, K * E});
    bench_product(b, name, "out", H * E, 1, (int[]){D});
    bench_product(b, name, "gate up", D, 2, (int[]){F, F});
    bench_product(b, name, "down", F, 1, (int[]){D});
    bench_product(b, name, "head", D, 1, (int[]){V});
    bench_attention(b, name, H, K, E);
    bench_loops(b, name, D, F, V);
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    bench b = {.rows = argc > 1 ? atoi(argv[1]) : 64,
               .threads = argc > 2 ? atoi(argv[2]) : omp_get_num_procs(),
               .seconds = argc > 3 ? atof(argv[3]) : 0.3};
    if (argc > 4 || b.rows < 1 || b.threads < 1) {
        fprintf(stderr, "usage: bench-ops [rows [threads [seconds]]]\n");
        return OSV_USAGE;
    }
    if (osv_cpu_open(&b.o, OSV_DTYPE_F32, b.threads, &error)) {
        fprintf(stderr, "bench-ops: %s\n", error.text);
        return error.status;
    }
    b.rates = osv_measure_rates(b.threads);
    printf("# sgemm %.1f GFLOP/s, reading %.1f GB/s, %d threads\n", 1e-9 * b.rates.flops,
           1e-9 * b.rates.bandwidth, b.threads);
    printf("model,operator,shape,rows,threads,ms,gflops,percent_of_sgemm,gbytes,floor_ms,times\n");
    bench_model(&b, "llama-60m", 512, 1408, 8, 8, 64, 32000);
    bench_model(&b, "qwen2.5-0.5b", 896, 4864, 14, 2, 64, 151936);
    b.o->close(b.o);
    if (error.status) fprintf(stderr, "bench-ops: %s\n", error.text);
    return error.status;
}
