/* bench-generate: tokens per second beside the floor, on a random model in memory. CSV on standard output.
 *
 *     bench-generate [shape [threads [tokens]]]       shape: llama-60m, qwen2.5-0.5b, gemma2-0.4b
 *
 * A step gives one token to each of `batch` texts. Its bandwidth floor is the time to read every weight once
 * (the embedding only where it is the head as well) and the keys and values of every text; its compute floor
 * is the time of the products. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/floor.h"
#include "bench/random_model.h"
#include "kernels/host.h"
#include "optim/generate.h"

enum { PROMPT = 32, MOST_BATCH = 16, MOST_TOKENS = 1024 };

static double bytes_of(const osv_weight *w)
{
    return (double)w->rows * w->cols * (double)osv_format_bytes(w->format);
}

static double numbers_of(const osv_weight *w)
{
    return (double)w->rows * w->cols;
}

/* Sum over the weights that are multiplied with. */
static double sum(const osv_model *m, double (*of)(const osv_weight *))
{
    double total = of(&m->head);
    for (int l = 0; l < m->config.N; l++) {
        const osv_block *b = &m->block[l];
        total += of(&b->q) + of(&b->k) + of(&b->v) + of(&b->out) + of(&b->gate) + of(&b->up) + of(&b->down);
    }
    return total;
}

/* Seconds of each step, from the times at which the first text's tokens come. */
typedef struct {
    double at[MOST_TOKENS];
    int count;
} stopwatch;

static int on_token(void *context, int prompt, int sample, int id, double logprob, osv_error *e)
{
    stopwatch *w = context;
    (void)sample, (void)id, (void)logprob, (void)e;
    if (prompt == 0) w->at[w->count++] = osv_host_seconds();
    return OSV_OK;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median step: the machine may have been disturbed in others. The first steps warm the caches. */
static double median_step(stopwatch *w)
{
    enum { WARM = 2 };
    int n = 0;
    double step[MOST_TOKENS];
    for (int i = 1 + WARM; i < w->count; i++) step[n++] = w->at[i] - w->at[i - 1];
    qsort(step, (size_t)n, sizeof *step, rising);
    return step[n / 2];
}

static int measure(osv_ops *ops, osv_comm *comm, const osv_model *m, const char *name, int threads, int batch,
                   int tokens)
{
    static int ids[MOST_BATCH][PROMPT];
    static const uint32_t unsteered[PROMPT + MOST_TOKENS];
    static stopwatch watch;
    osv_generation_prompt prompt[MOST_BATCH];
    const osv_config *c = &m->config;
    for (int i = 0; i < batch; i++) {
        for (int t = 0; t < PROMPT; t++) ids[i][t] = (i * 7919 + t * 104729 + 13) % c->V;
        prompt[i] = (osv_generation_prompt){PROMPT, ids[i], unsteered};
    }
    watch.count = 0;
    const osv_generation g = {.ops = ops,
                              .comm = comm,
                              .model = m,
                              .prompt = prompt,
                              .prompts = batch,
                              .samples = 1,
                              .max_tokens = tokens,
                              .top_p = 1,
                              .observer = {.context = &watch, .token = on_token}};
    osv_rates before = osv_measure_rates(threads);
    OSV_TRY(osv_generate(&g));
    osv_rates after = osv_measure_rates(threads);
    double flops = fmax(before.flops, after.flops), bandwidth = fmax(before.bandwidth, after.bandwidth);
    double cached = 2.0 * c->N * c->K * c->E * sizeof(osv_real) * (PROMPT + tokens / 2) * batch;
    double reading = (sum(m, bytes_of) + cached) / bandwidth,
           computing = 2 * batch * sum(m, numbers_of) / flops;
    double step = median_step(&watch);
    printf("%s,%d,%d,%d,%.5f,%.1f,%.5f,%.2f,%.5f,%.1f,%.2f\n", name, threads, batch, tokens, step,
           batch / step, reading, step / reading, computing, flops * 1e-9, bandwidth * 1e-9);
    return OSV_OK;
}

int main(int argc, char **argv)
{
    const bench_shape *s = bench_shape_named(argc > 1 ? argv[1] : "llama-60m");
    int threads = argc > 2 ? atoi(argv[2]) : 1, tokens = argc > 3 ? atoi(argv[3]) : 24;
    if (!s || threads < 1 || tokens < 8 || tokens > MOST_TOKENS) {
        fprintf(stderr,
                "usage: bench-generate [llama-60m|qwen2.5-0.5b|gemma2-0.4b [threads [tokens, 8 to %d]]]\n",
                MOST_TOKENS);
        return OSV_USAGE;
    }
    osv_error e = {0};
    osv_model m = {0};
    osv_ops *ops = NULL;
    osv_comm *comm = NULL;
    int status = bench_model_make(&m, s, &e);
    if (!status) status = osv_cpu_open(&ops, OSV_DTYPE_F32, threads, &e);
    if (!status) status = osv_comm_self_open(&comm, &e);
    if (!status) status = osv_model_place(&m, ops);
    if (!status)
        printf("shape,threads,batch,tokens,step_seconds_median,tokens_per_s,bandwidth_floor_seconds,ratio,"
               "compute_floor_seconds,gflops,read_gbytes_per_s\n");
    for (int batch = 1; batch <= MOST_BATCH && !status; batch += MOST_BATCH - 1)
        status = measure(ops, comm, &m, s->name, threads, batch, tokens);
    if (status) fprintf(stderr, "bench-generate: %s\n", e.text);
    if (ops) ops->close(ops);
    if (comm) comm->close(comm);
    osv_model_free(&m);
    return status;
}
