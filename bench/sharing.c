/* bench-sharing: what is gained by never computing a token twice, against what the floors promise. Two cases:
 *
 *     frozen  one prompt of 400 tokens of which the last 20 are steered, and a completion of 20, against the
 *             same with nothing frozen
 *     shared  8 completions of 20 tokens under one prompt of 200, against one completion
 *
 * CSV on standard output: seconds of an iteration and floor of both, the ratio that the floors promise, the
 * one that is measured, and how much of the promise is kept. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/iteration.h"
#include "bench/models.h"
#include "bench/open.h"
#include "bench/report.h"
#include "engine/cost.h"
#include "optim/bin.h"
#include "tools/options.h"
#include "tools/tool_model.h"

static const char program[] = "bench-sharing";

typedef struct {
    osv_machine machine;
    const char *model;
    int layer, iterations;
    bool quick, help;
} sharing_options;

#define FIELD(name) .offset = offsetof(sharing_options, name)

static const osv_option option_table[] = {
    {"model", "NAME", "llama-60m", "shape of a random model, or a folder", OSV_OPTION_TEXT, FIELD(model),
     .group = "What is measured:"},
    {"layer", "L", NULL, "the vector enters block L (default: in the middle)", OSV_OPTION_INT, FIELD(layer),
     .low = 0, .high = 1023},
    {"iterations", "N", "8", "that are timed", OSV_OPTION_INT, FIELD(iterations), .low = 3, .high = 1 << 20},
    {"quick", NULL, NULL, "small baselines: to try the program", OSV_OPTION_FLAG, FIELD(quick)},
    TOOL_MACHINE_OPTIONS,
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

enum { MOST_COMPLETIONS = 8, MOST_TOKENS = 512 };

/* One datapoint. */
typedef struct {
    int prompt, completion, completions;
    int steered; /* the last ones of the prompt; 0: all, and the completion too */
    int ids[MOST_COMPLETIONS][MOST_TOKENS];
    signed char steer[MOST_TOKENS];
    osv_sequence sequence[MOST_COMPLETIONS];
    osv_job job;
} datapoint;

static void fill(datapoint *p, int V, int layer, int iterations)
{
    int count = p->prompt + p->completion;
    for (int t = 0; t < count; t++)
        p->steer[t] = p->steered == 0 || (t >= p->prompt - p->steered && t < p->prompt);
    for (int c = 0; c < p->completions; c++) {
        for (int t = 0; t < count; t++)
            p->ids[c][t] = (t * 7919 + 13 + (t >= p->prompt ? 104729 * c : 0)) % V;
        p->sequence[c] = (osv_sequence){
            .count = count, .prompt = p->prompt, .ids = p->ids[c], .steer = p->steer, .kind = OSV_PROMOTE};
    }
    p->job = (osv_job){.name = "sharing",
                       .layer = layer,
                       .options = osv_job_defaults(),
                       .completions = p->completions,
                       .sequence = p->sequence};
    p->job.options.max_iters = iterations;
    p->job.options.plateau_iters = 0;
}

typedef struct {
    double seconds, floor;
    int live, frozen;
} measurement;

static int measure(measurement *m, const bench_open *b, const datapoint *p, osv_switches on, osv_rates rates,
                   const sharing_options *o)
{
    osv_batch *batch;
    int first = 0;
    osv_training t = {
        .ops = b->ops, .comm = b->comm, .model = &b->model, .on = on, .job = &p->job, .jobs = 1};
    OSV_TRY(bench_iteration(&m->seconds, &t, o->machine.threads, o->iterations));
    OSV_TRY(osv_bin_batch(&batch, &t, &first, 1, false));
    m->floor = osv_floor(&b->model, batch, rates.flops, rates.bandwidth);
    m->live = batch->live.T;
    m->frozen = batch->frozen;
    osv_batch_free(batch);
    return OSV_OK;
}

/* dear costs more than cheap: by the floors `promised` times as much. gain: the promise is kept where at
 * least that is saved; else where at most that is spent. */
static void print(const char *name, const sharing_options *o, const measurement *dear,
                  const measurement *cheap, bool gain)
{
    double promised = dear->floor / cheap->floor, measured = dear->seconds / cheap->seconds;
    printf("%s,%s,%d,%d,%d,%.6g,%.6g,%.6g,%.6g,%.3f,%.3f,%.1f\n", o->model, name, dear->live, cheap->live,
           cheap->frozen, dear->seconds, dear->floor, cheap->seconds, cheap->floor, promised, measured,
           100 * (gain ? measured / promised : promised / measured));
    fflush(stdout);
}

static int run(sharing_options *o, osv_error *e)
{
    static datapoint frozen = {.prompt = 400, .completion = 20, .completions = 1, .steered = 20};
    static datapoint many = {.prompt = 200, .completion = 20, .completions = MOST_COMPLETIONS};
    static datapoint one = {.prompt = 200, .completion = 20, .completions = 1};
    bench_open b;
    if (o->machine.threads <= 0) o->machine.threads = omp_get_num_procs();
    int status = bench_open_model(&b, o->model, &o->machine, e);
    if (!status) {
        int V = b.model.config.V, layer = o->layer < 0 ? b.model.config.N / 2 : o->layer;
        osv_switches thawed = osv_all_on;
        measurement dear = {0}, cheap = {0};
        thawed.freeze = false;
        fill(&frozen, V, layer, o->iterations);
        fill(&many, V, layer, o->iterations);
        fill(&one, V, layer, o->iterations);
        bench_report_start(b.ops, program, o->machine.threads, o->machine.device);
        osv_rates rates =
            osv_measure_rates(b.ops, o->machine.threads, o->quick ? OSV_RATES_QUICK : OSV_RATES_WHOLE);
        bench_report_rates(b.ops, rates);
        printf("model,case,live_against,live,frozen,seconds_against,floor_against,seconds,floor,promised,"
               "measured,percent_of_promise\n");
        status = measure(&dear, &b, &frozen, thawed, rates, o);
        if (!status) status = measure(&cheap, &b, &frozen, osv_all_on, rates, o);
        if (!status) print("frozen", o, &dear, &cheap, true);
        if (!status) status = measure(&dear, &b, &many, osv_all_on, rates, o);
        if (!status) status = measure(&cheap, &b, &one, osv_all_on, rates, o);
        if (!status) print("shared", o, &dear, &cheap, false);
    }
    bench_close(&b);
    return status;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    sharing_options options = {.machine = TOOL_MACHINE_DEFAULT, .layer = -1};
    int status = osv_options_parse(option_table, argc, argv, &options, &e);
    if (!status && options.help)
        osv_options_help(stdout, option_table, "usage: bench-sharing [options]\n", "");
    else if (!status)
        status = run(&options, &e);
    if (status) fprintf(stderr, "%s: %s\n", program, e.text);
    return status;
}
