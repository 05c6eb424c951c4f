/* bench-step: the time of one training iteration beside its floor, on a random model in memory. CSV on
 * stdout.
 *
 *     bench-step [shape [threads [iterations]]]       shape: llama-60m, qwen2.5-0.5b, gemma2-0.4b */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/floor.h"
#include "bench/random_model.h"
#include "engine/cost.h"
#include "kernels/host.h"
#include "optim/train.h"

/* Seconds of each iteration, from the times at which reports arrive. */
typedef struct {
    double last, best;
    int count;
} stopwatch;

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    stopwatch *w = context;
    double now = osv_host_seconds();
    (void)e;
    if (r->iter > 1 && now - w->last < w->best) w->best = now - w->last; /* the first ones warm the caches */
    w->last = now;
    w->count++;
    return 0;
}

int main(int argc, char **argv)
{
    enum { prompt = 48, completion = 16, count = prompt + completion };
    const bench_shape *s = bench_shape_named(argc > 1 ? argv[1] : "llama-60m");
    int threads = argc > 2 ? atoi(argv[2]) : 1, iterations = argc > 3 ? atoi(argv[3]) : 10;
    if (threads < 1 || iterations < 3 || !s) {
        fprintf(stderr, "usage: bench-step [llama-60m|qwen2.5-0.5b|gemma2-0.4b [threads [iterations]]]\n");
        return 2;
    }

    osv_error e = {0};
    osv_model m = {0};
    osv_ops *ops = NULL;
    osv_comm *comm = NULL;
    bench_model_make(&m, s, &e);
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
    double floor = osv_floor(&m, batch, rates.flops, rates.bandwidth);
    printf("shape,threads,live_tokens,scored,start_layer,seconds_min,floor_seconds,ratio,gflops,read_gbytes_"
           "per_s\n");
    printf("%s,%d,%d,%d,%d,%.5f,%.5f,%.3f,%.1f,%.2f\n", s->name, threads, batch->live.T, batch->live.R,
           job.layer, watch.best, floor, watch.best / floor, rates.flops * 1e-9, rates.bandwidth * 1e-9);
    osv_batch_free(batch);
    ops->close(ops);
    comm->close(comm);
    return 0;
}
