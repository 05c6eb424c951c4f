#include "bench/iteration.h"

#include <math.h>
#include <stdlib.h>

#include "bench/timing.h"

/* When the reports of the first job came. */
typedef struct {
    const osv_ops *ops;
    int threads;
    double *at;
    int count, room;
} stopwatch;

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    stopwatch *w = context;
    (void)e;
    if (r->job == 0 && w->count < w->room) w->at[w->count++] = bench_seconds(w->ops, w->threads);
    return OSV_OK;
}

/* The least mean of `window` iterations in a row. Without graphs an iteration has ended when its report
 * comes: then one is enough. With them the host may hear of one late and of the next in time. The first ones
 * warm the caches. */
static double least(const stopwatch *w, int window)
{
    enum { WARM = 1 };
    double best = INFINITY;
    if (window > w->count - 1 - WARM) window = w->count - 1 - WARM;
    for (int i = WARM; i + window < w->count; i++) best = fmin(best, (w->at[i + window] - w->at[i]) / window);
    return best;
}

int bench_iteration(double *seconds, osv_training *t, int threads, int iterations)
{
    stopwatch w = {.ops = t->ops, .threads = threads, .room = iterations + 2};
    w.at = calloc((size_t)w.room, sizeof *w.at);
    *seconds = NAN;
    if (!w.at) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    t->observer = (osv_observer){.context = &w, .report = on_report};
    int status = osv_train(t);
    *seconds = least(&w, osv_on_device(t->ops) ? 8 : 1);
    free(w.at);
    return status;
}
