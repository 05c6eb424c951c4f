/* bench-step: the time of one training iteration beside its floor, on a random model in memory. CSV on
 * stdout.
 *
 *     bench-step [shape [threads [iterations]]]       shape: llama-60m, qwen2.5-0.5b, gemma2-0.4b */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/floor.h"
#include "optim/train.h"

typedef struct {
    const char *name;
    int N, D, F, H, K, E, V;
    bool tied, gemma;
} shape;

static const shape shapes[] = {
    {"llama-60m", 8, 512, 1408, 8, 8, 64, 32000, false, false},
    {"qwen2.5-0.5b", 24, 896, 4864, 14, 2, 64, 151936, true, false},
    {"gemma2-0.4b", 12, 1152, 6912, 4, 2, 256, 128000, true, true},
};

static uint64_t state = 1;

/* Uniform bf16 values of about 1/sqrt(cols); only their size matters here. */
static osv_weight random_weight(int rows, int cols)
{
    size_t n = (size_t)rows * (size_t)cols;
    uint16_t *data = malloc(n * sizeof *data);
    if (!data) {
        fprintf(stderr, "bench-step: out of memory\n");
        exit(4);
    }
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = osv_bf16_from_float(((float)(state >> 40) / (1 << 23) - 1) * 1.7f / sqrtf((float)cols));
    }
    return (osv_weight){.data = data, .format = OSV_BF16, .rows = rows, .cols = cols};
}

static void make_model(osv_model *m, const shape *s, osv_error *e)
{
    osv_config c = {
        .N = s->N, .D = s->D, .F = s->F, .H = s->H, .K = s->K, .E = s->E, .V = s->V, .positions = 4096};
    c.norm_eps = 1e-6;
    c.norm_offset = 1; /* norm weights near zero, as random_weight makes them */
    c.embed_scale = sqrt(s->D);
    c.activation = s->gemma ? OSV_GELU_TANH : OSV_SILU;
    c.query_scale = 1 / sqrt(s->E);
    c.rot = s->E;
    c.rope = (osv_rope){.theta = 10000};
    c.post_norms = s->gemma;
    c.attention_softcap = s->gemma ? 50 : 0;
    c.final_softcap = s->gemma ? 30 : 0;
    osv_shard shard;
    if (osv_shard_make(&shard, &c, 0, 1, e) || osv_model_alloc(m, &c, &shard, e)) return;
    m->embed = random_weight(c.V, c.D);
    m->head = s->tied ? m->embed : random_weight(c.V, c.D);
    m->final_norm = random_weight(1, c.D);
    for (int l = 0; l < c.N; l++) {
        osv_block *b = &m->block[l];
        b->attention_norm = random_weight(1, c.D);
        b->q = random_weight(c.H * c.E, c.D);
        b->k = random_weight(c.K * c.E, c.D);
        b->v = random_weight(c.K * c.E, c.D);
        b->out = random_weight(c.D, c.H * c.E);
        b->ffn_norm = random_weight(1, c.D);
        b->gate = random_weight(c.F, c.D);
        b->up = random_weight(c.F, c.D);
        b->down = random_weight(c.D, c.F);
        if (s->gemma) {
            b->attention_post_norm = random_weight(1, c.D);
            b->ffn_post_norm = random_weight(1, c.D);
        }
    }
}

/* Seconds of each iteration, from the times at which reports arrive. */
typedef struct {
    double last, best;
    int count;
} stopwatch;

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    stopwatch *w = context;
    double now = osv_seconds();
    (void)e;
    if (r->iter > 1 && now - w->last < w->best) w->best = now - w->last; /* the first ones warm the caches */
    w->last = now;
    w->count++;
    return 0;
}

int main(int argc, char **argv)
{
    enum { prompt = 48, completion = 16, count = prompt + completion };
    const shape *s = &shapes[0];
    int threads = argc > 2 ? atoi(argv[2]) : 1, iterations = argc > 3 ? atoi(argv[3]) : 10;
    for (size_t i = 0; argc > 1 && i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(argv[1], shapes[i].name) == 0) s = &shapes[i];
    if (threads < 1 || iterations < 3 || (argc > 1 && strcmp(argv[1], s->name) != 0)) {
        fprintf(stderr, "usage: bench-step [llama-60m|qwen2.5-0.5b|gemma2-0.4b [threads [iterations]]]\n");
        return 2;
    }

    osv_error e = {0};
    osv_model m = {0};
    osv_ops *ops = NULL;
    osv_comm *comm = NULL;
    make_model(&m, s, &e);
    int ids[count];
    signed char steer[count];
    for (int t = 0; t < count; t++) ids[t] = (t * 7919 + 13) % s->V, steer[t] = 1;
    osv_sequence sequence = {
        .count = count, .prompt = prompt, .ids = ids, .steer = steer, .kind = OSV_PROMOTE};
    double none = NAN;
    osv_job job = {.name = "bench",
                   .layer = s->N / 2,
                   .options = osv_job_defaults(),
                   .completions = 1,
                   .sequence = &sequence,
                   .target = &none};
    job.options.max_iters = iterations;
    job.options.plateau_iters = 0;
    osv_batch_job batch_job = {.layer = job.layer, .coldness = 0.7, .eps = 1e-6};
    osv_batch *batch = NULL;
    int bad;
    if (!e.status) osv_cpu_open(&ops, OSV_DTYPE_F32, threads, &e);
    if (!e.status) osv_comm_self_open(&comm, &e);
    if (!e.status) osv_batch_build(&batch, &sequence, 1, &batch_job, 1, s->N, &osv_all_on, &bad, &e);
    if (!e.status) osv_model_place(&m, ops);
    stopwatch watch = {.best = 1e9};
    osv_rates before = osv_measure_rates(threads);
    osv_training training = {.ops = ops,
                             .comm = comm,
                             .model = &m,
                             .on = osv_all_on,
                             .job = &job,
                             .jobs = 1,
                             .observer = {.context = &watch, .report = on_report}};
    if (!e.status) osv_train(&training);
    osv_rates after = osv_measure_rates(threads);
    if (e.status) {
        fprintf(stderr, "bench-step: %s\n", e.text);
        return e.status;
    }
    osv_rates rates = {.flops = fmax(before.flops, after.flops),
                       .bandwidth = fmax(before.bandwidth, after.bandwidth)};
    double floor = osv_floor(&m, batch, rates);
    printf("shape,threads,live_tokens,scored,start_layer,seconds_min,floor_seconds,ratio,gflops,read_gbytes_"
           "per_s\n");
    printf("%s,%d,%d,%d,%d,%.5f,%.5f,%.3f,%.1f,%.2f\n", s->name, threads, batch->live.T, batch->live.R,
           job.layer, watch.best, floor, watch.best / floor, rates.flops * 1e-9, rates.bandwidth * 1e-9);
    osv_batch_free(batch);
    ops->close(ops);
    comm->close(comm);
    return 0;
}
