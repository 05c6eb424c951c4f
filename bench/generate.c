/* bench-generate: tokens per second beside the floor. CSV on standard output; bench/README.md says what the
 * columns mean.
 *
 * A step gives one token to each of `batch` texts. Its bandwidth floor is the time to read every weight once
 * (the embedding only where it is the head as well) and the keys and values of every text; its compute floor
 * is the time of the products. */
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/models.h"
#include "bench/open.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "optim/generate.h"
#include "tools/options.h"
#include "tools/tool_model.h"

static const char program[] = "bench-generate";

/* ---- options ---- */

typedef struct {
    osv_machine machine;
    const char *models, *batches;
    int tokens;
    bool quick, help;
} options;

#define FIELD(name) .offset = offsetof(options, name)

enum { FEWEST_TOKENS = 8, MOST_TOKENS = 1024 };

static const osv_option option_table[] = {
    {"model", "NAME,..", "llama-60m", "shapes of random models, or folders", OSV_OPTION_TEXT, FIELD(models),
     .group = "What is measured:"},
    {"batch", "N,..", "1,16", "texts at once", OSV_OPTION_TEXT, FIELD(batches)},
    {"tokens", "N", "24", "of each text", OSV_OPTION_INT, FIELD(tokens), .low = FEWEST_TOKENS,
     .high = MOST_TOKENS},
    {"quick", NULL, NULL, "small baselines: to try the program", OSV_OPTION_FLAG, FIELD(quick)},
    TOOL_MACHINE_OPTIONS,
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

/* ---- floors ---- */

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

/* ---- steps ---- */

/* Seconds of each step, from the times at which the first text's tokens come. */
typedef struct {
    const osv_ops *ops;
    int threads;
    double at[MOST_TOKENS];
    int count;
} stopwatch;

static int on_token(void *context, int prompt, int sample, int id, double logprob, osv_error *e)
{
    stopwatch *w = context;
    (void)sample, (void)id, (void)logprob, (void)e;
    if (prompt == 0) w->at[w->count++] = bench_seconds(w->ops, w->threads);
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

/* ---- a model ---- */

typedef struct {
    const options *options;
    const char *name;
    const bench_open *m;
} bench;

static void print(const bench *b, int batch, int prompt, double step, osv_rates r)
{
    const osv_model *m = &b->m->model;
    const osv_config *c = &m->config;
    const osv_ops *o = b->m->ops;
    int tokens = b->options->tokens;
    double cached = 2.0 * c->N * c->K * c->E * sizeof(osv_real) * (prompt + tokens / 2) * batch;
    double reading = (sum(m, bytes_of) + cached) / r.bandwidth,
           computing = 2 * batch * sum(m, numbers_of) / r.flops;
    printf("%s,%s,%s,%d,%d,%d,%.6g,%.1f,%.6g,%.2f,%.6g,%.1f,%.2f\n", b->name, o->name,
           o->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32", osv_on_device(o) ? 0 : b->options->machine.threads,
           batch, tokens, step, batch / step, reading, step / reading, computing, 1e-9 * r.flops,
           1e-9 * r.bandwidth);
    fflush(stdout);
}

/* Ids and masks of `batch` texts. */
enum { PROMPT = 32, MOST_BATCH = 256 };
typedef struct {
    int ids[MOST_BATCH][PROMPT];
    uint32_t unsteered[PROMPT + MOST_TOKENS];
    osv_generation_prompt prompt[MOST_BATCH];
} texts;

static int measure(const bench *b, int batch, osv_error *e)
{
    static texts t;
    static stopwatch watch;
    if (batch > MOST_BATCH) return OSV_FAIL(e, OSV_USAGE, "--batch %d: at most %d", batch, MOST_BATCH);
    for (int i = 0; i < batch; i++) {
        for (int k = 0; k < PROMPT; k++) t.ids[i][k] = (i * 7919 + k * 104729 + 13) % b->m->model.config.V;
        t.prompt[i] = (osv_generation_prompt){PROMPT, t.ids[i], t.unsteered};
    }
    watch.ops = b->m->ops;
    watch.threads = b->options->machine.threads;
    watch.count = 0;
    const osv_generation g = {.ops = b->m->ops,
                              .comm = b->m->comm,
                              .model = &b->m->model,
                              .prompt = t.prompt,
                              .prompts = batch,
                              .samples = 1,
                              .max_tokens = b->options->tokens,
                              .top_p = 1,
                              .observer = {.context = &watch, .token = on_token}};
    osv_rates_size size = b->options->quick ? OSV_RATES_QUICK : OSV_RATES_WHOLE;
    int threads = b->options->machine.threads;
    osv_rates before = osv_measure_rates(b->m->ops, threads, size);
    OSV_TRY(osv_generate(&g));
    osv_rates after = osv_measure_rates(b->m->ops, threads, size);
    OSV_TRY(e->status);
    print(b, batch, PROMPT, median_step(&watch),
          (osv_rates){fmax(before.flops, after.flops), fmax(before.bandwidth, after.bandwidth)});
    return OSV_OK;
}

static int measure_model(bench *b, bool first, osv_error *e)
{
    const options *o = b->options;
    bench_open m;
    int batch[BENCH_NUMBERS], batches;
    OSV_TRY(bench_numbers_parse(batch, &batches, o->batches, "batch", e));
    int status = bench_open_model(&m, b->name, &o->machine, e);
    b->m = &m;
    if (!status && first) {
        bench_report_start(m.ops, program, o->machine.threads, o->machine.device);
        printf("model,backend,dtype,threads,batch,tokens,step_seconds_median,tokens_per_s,"
               "bandwidth_floor_seconds,ratio,compute_floor_seconds,matmul_gflops,read_gbytes_per_s\n");
    }
    for (int i = 0; i < batches && !status; i++) status = measure(b, batch[i], e);
    if (!status) bench_report_end(m.ops, o->machine.device);
    bench_close(&m);
    return status;
}

static int run(options *o, osv_error *e)
{
    char name[BENCH_NAME];
    bench b = {.options = o, .name = name};
    bool first = true;
    if (o->machine.threads <= 0) o->machine.threads = omp_get_num_procs();
    for (const char *list = o->models; bench_next(&list, name, sizeof name); first = false)
        OSV_TRY(measure_model(&b, first, e));
    return OSV_OK;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    options o = {.machine = TOOL_MACHINE_DEFAULT};
    int status = osv_options_parse(option_table, argc, argv, &o, &e);
    if (!status && o.help)
        osv_options_help(stdout, option_table, "usage: bench-generate [options]\n", "");
    else if (!status)
        status = run(&o, &e);
    if (status) fprintf(stderr, "%s: %s\n", program, e.text);
    return status;
}
