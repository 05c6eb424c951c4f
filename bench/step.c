/* bench-step: the time of one training iteration beside its floor, and where it goes. CSV on standard output;
 * bench/README.md says what the columns mean. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/iteration.h"
#include "bench/jobs.h"
#include "bench/models.h"
#include "bench/open.h"
#include "bench/report.h"
#include "bench/step_parts.h"
#include "bench/timing.h"
#include "engine/cost.h"
#include "optim/bin.h"
#include "tools/options.h"
#include "tools/program.h"
#include "tools/ranks.h"
#include "tools/tool_model.h"

static const char program[] = "bench-step";

/* ---- options ---- */

typedef struct {
    osv_machine machine;
    const char *models;
    int layer, prompt, completion, jobs, iterations;
    bool ops, quick, help;
} step_options;

#define FIELD(name) .offset = offsetof(step_options, name)

static const osv_option option_table[] = {
    {"model", "NAME,..", "llama-60m", "shapes of random models, or folders", OSV_OPTION_TEXT, FIELD(models),
     .group = "What is measured:"},
    {"layer", "L", NULL, "the vectors enter block L (default: in the middle)", OSV_OPTION_INT, FIELD(layer),
     .low = 0, .high = 1023},
    {"prompt", "N", "48", "tokens of a prompt", OSV_OPTION_INT, FIELD(prompt), .low = 1, .high = 1 << 20},
    {"completion", "N", "16", "tokens of a completion", OSV_OPTION_INT, FIELD(completion), .low = 1,
     .high = 1 << 20},
    {"jobs", "J", "1", "vectors at once, each with a datapoint of its own", OSV_OPTION_INT, FIELD(jobs),
     .low = 1, .high = 1 << 16},
    {"iterations", "N", "10", "that are timed", OSV_OPTION_INT, FIELD(iterations), .low = 3, .high = 1 << 20},
    {"ops", NULL, NULL, "a second table: the time of every operator, by part of the step", OSV_OPTION_FLAG,
     FIELD(ops)},
    {"quick", NULL, NULL, "small baselines: to try the program", OSV_OPTION_FLAG, FIELD(quick)},
    TOOL_MACHINE_OPTIONS,
    TOOL_RANK_OPTIONS,
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

/* ---- a model ---- */

typedef struct {
    const step_options *options;
    const char *name;
    bool headed;
} bench;

static void print(bench *b, const osv_training *t, const osv_batch *batch, const int *index, osv_rates rates,
                  double seconds)
{
    const step_options *o = b->options;
    double floor = osv_floor(t->model, batch, rates.flops, rates.bandwidth);
    double flops = osv_iteration_cost(t->model, batch).flops / seconds;
    osv_traffic sent = osv_bin_traffic(t, batch, index, t->jobs, 0);
    if (t->comm->size == 1) sent = (osv_traffic){0};
    bench_report_rates(t->ops, rates);
    if (!b->headed)
        printf("model,backend,dtype,threads,jobs,live_tokens,scored,start_layer,seconds_min,floor_seconds,"
               "ratio,gflops,percent_of_matmul,matmul_gflops,read_gbytes_per_s,ranks,collectives,"
               "collective_mbytes\n");
    b->headed = true;
    printf("%s,%s,%s,%d,%d,%d,%d,%d,%.6g,%.6g,%.3f,%.1f,%.1f,%.1f,%.2f,%d,%ld,%.3f\n", b->name, t->ops->name,
           t->ops->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32", osv_on_device(t->ops) ? 0 : o->machine.threads,
           o->jobs, batch->live.T, batch->live.R, batch->first_block, seconds, floor, seconds / floor,
           1e-9 * flops, 100 * flops / rates.flops, 1e-9 * rates.flops, 1e-9 * rates.bandwidth, t->comm->size,
           sent.calls, 1e-6 * (double)sent.bytes);
    fflush(stdout);
}

static void print_part(const bench *b, const step_part *p, double iteration)
{
    printf("%s,%s,%s,%d,%.2f,%.1f\n", b->name, p->part, p->op, p->calls, 1e6 * p->seconds,
           100 * p->seconds / iteration);
}

static int print_parts(bench *b, const osv_training *t, const int *index, osv_rates rates, double seconds)
{
    step_parts parts;
    OSV_TRY(step_parts_measure(&parts, t, index, rates));
    printf("\nmodel,part,operator,calls,us,percent_of_iteration\n");
    for (int i = 0; i < parts.count; i++) print_part(b, &parts.part[i], seconds);
    print_part(b, &(step_part){"gaps", "gaps", 0, seconds - parts.seconds}, seconds);
    printf("\n");
    b->headed = false;
    return OSV_OK;
}

/* Rates before and after: on a machine that others use as well the better ones count. */
static int measure(bench *b, bench_open *m, bench_jobs *jobs, osv_error *e)
{
    const step_options *o = b->options;
    osv_rates_size size = o->quick ? OSV_RATES_QUICK : OSV_RATES_WHOLE;
    osv_training t = {.ops = m->ops,
                      .comm = m->comm,
                      .model = &m->model,
                      .on = osv_all_on,
                      .job = jobs->job,
                      .jobs = jobs->jobs};
    osv_batch *batch = NULL;
    double seconds = NAN;
    osv_rates before = osv_measure_rates(m->ops, o->machine.threads, size);
    OSV_TRY(bench_iteration(&seconds, &t, o->machine.threads * t.comm->size, o->iterations));
    osv_rates after = osv_measure_rates(m->ops, o->machine.threads, size);
    osv_rates rates = {fmax(before.flops, after.flops), fmax(before.bandwidth, after.bandwidth)};
    OSV_TRY(osv_bin_batch(&batch, &t, jobs->index, jobs->jobs, false));
    print(b, &t, batch, jobs->index, rates, seconds);
    int status = o->ops ? print_parts(b, &t, jobs->index, rates, seconds) : e->status;
    osv_batch_free(batch);
    return status;
}

static int measure_model(bench *b, osv_error *e)
{
    const step_options *o = b->options;
    bench_open m;
    bench_jobs jobs = {0};
    int status = bench_open_model(&m, b->name, &o->machine, e);
    int N = status ? 0 : m.model.config.N, layer = o->layer < 0 ? N / 2 : o->layer;
    if (!status && layer >= N)
        status = OSV_FAIL(e, OSV_USAGE, "--layer %d: %s has %d blocks", layer, b->name, N);
    if (!status)
        status = bench_jobs_make(&jobs, &m.model.config, o->jobs, layer, o->prompt, o->completion,
                                 o->iterations, e);
    if (!status && !b->headed) bench_report_start(m.ops, program, o->machine.threads, o->machine.device);
    if (!status) status = measure(b, &m, &jobs, e);
    if (!status) bench_report_end(m.ops, o->machine.device);
    bench_jobs_free(&jobs);
    status = ranks_fail(&o->machine, program, status, e);
    bench_close(&m);
    return status;
}

static int run(step_options *o, osv_error *e)
{
    char name[BENCH_NAME];
    bench b = {.options = o, .name = name};
    if (o->machine.threads <= 0) o->machine.threads = ranks_threads(&o->machine.launch);
    for (const char *list = o->models; bench_next(&list, name, sizeof name);) OSV_TRY(measure_model(&b, e));
    return OSV_OK;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    step_options options = {.machine = TOOL_MACHINE_DEFAULT, .layer = -1};
    bool quiet = false; /* there are no notes */
    int status = osv_options_parse(option_table, argc, argv, &options, &e);
    if (!status && options.help)
        osv_options_help(stdout, option_table, "usage: bench-step [options]\n", "");
    else if (!status && !(status = ranks_find(&options.machine, program, argv, false, &quiet, &e)))
        status = run(&options, &e);
    return ranks_end(&options.machine, e.status ? osv_program_fail(program, &e) : status);
}
