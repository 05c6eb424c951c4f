#include "optim/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/bin.h"
#include "optim/random.h"

/* Measurements reach the host `lag` iterations after they were enqueued: 1 where the filling records graphs,
 * so that the device never waits for the host, else 0. What a job's final vector is does not depend on it. */
typedef struct {
    const osv_training *t;
    osv_job_state *state; /* [jobs] */
    osv_bin *bin;
    int *in_bin; /* [bin_jobs] indexes of jobs */
    int bin_jobs;
    int submitted, processed; /* iterations of this bin */
    double *losses;           /* of the job at hand */
    osv_real *vector;         /* [D] likewise */
} training;

static int running(const training *r)
{
    int n = 0;
    for (int i = 0; i < r->bin_jobs; i++) n += r->state[r->in_bin[i]].stopped == OSV_RUNNING;
    return n;
}

static int report(const training *r, int job, const osv_report *report)
{
    osv_error *e = r->t->ops->error;
    const osv_observer *o = &r->t->observer;
    (void)job;
    return o->report ? o->report(o->context, report, e) : OSV_OK;
}

/* The i-th job of the bin has ended at the measurement after `iter` steps: which vector is kept, and its last
 * report. */
static int finish(training *r, int i, int iter, int behind, osv_stop stop, double norm)
{
    int job = r->in_bin[i];
    osv_job_state *state = &r->state[job];
    bool lost = stop == OSV_STOP_NAN && iter > 0; /* the vector before is the last one with a finite loss */
    osv_report final = {.job = job,
                        .iter = iter,
                        .loss = NAN,
                        .norm = norm,
                        .grad_norm = NAN,
                        .completions = r->t->job[job].completions,
                        .losses = r->losses,
                        .stopped = stop,
                        .nan_iter = stop == OSV_STOP_NAN ? iter : -1,
                        .D = r->t->model->config.D,
                        .vector = r->vector};
    if (lost) {
        final.iter = state->iter;
        final.loss = state->loss;
        final.norm = state->norm;
        final.losses = state->losses;
    } else if (stop != OSV_STOP_NAN) {
        final.loss = state->loss;
    }
    state->stopped = stop;
    osv_bin_vector(r->bin, i, behind + (lost ? 1 : 0), r->vector);
    OSV_TRY(osv_ops_status(r->t->ops));
    return report(r, job, &final);
}

/* Looks at what iteration `iteration` of the bin measured; `behind`: steps that v has taken since then. */
static int process(training *r, int iteration, int behind)
{
    bool interrupted = r->t->interrupted && *r->t->interrupted;
    for (int i = 0; i < r->bin_jobs; i++) {
        int job = r->in_bin[i];
        osv_job_state *state = &r->state[job];
        if (state->stopped != OSV_RUNNING) continue;
        const osv_job *j = &r->t->job[job];
        double norm, grad_norm, loss = 0;
        int iter = state->steps - behind;
        osv_bin_measurement(r->bin, iteration, i, r->losses, &norm, &grad_norm);
        for (int c = 0; c < j->completions; c++) loss += r->losses[c];

        osv_stop stop = osv_stop_check(&state->stop, j, iter, loss, r->losses, interrupted);
        if (stop != OSV_STOP_NAN) {
            state->iter = iter;
            state->loss = loss;
            state->norm = norm;
            memcpy(state->losses, r->losses, (size_t)j->completions * sizeof *state->losses);
        }
        if (stop != OSV_RUNNING) {
            OSV_TRY(finish(r, i, iter, behind, stop, norm));
            continue;
        }
        OSV_TRY(report(r, job,
                       &(osv_report){.job = job,
                                     .iter = iter,
                                     .loss = loss,
                                     .norm = norm,
                                     .grad_norm = grad_norm,
                                     .completions = j->completions,
                                     .losses = r->losses,
                                     .stopped = OSV_RUNNING,
                                     .nan_iter = -1,
                                     .D = r->t->model->config.D}));
    }
    return OSV_OK;
}

/* Processes all but the last `lag` submitted iterations. */
static int catch_up(training *r, int lag)
{
    osv_ops *o = r->t->ops;
    while (r->processed < r->submitted - lag) {
        o->sync(o, r->submitted - 1 - r->processed);
        OSV_TRY(osv_ops_status(o));
        OSV_TRY(process(r, r->processed, r->submitted - r->processed));
        r->processed++;
    }
    return OSV_OK;
}

/* A bin of the jobs that still run. */
static int pack(training *r)
{
    int n = 0;
    osv_bin_close(r->bin);
    r->bin = NULL;
    for (int i = 0; i < r->bin_jobs; i++)
        if (r->state[r->in_bin[i]].stopped == OSV_RUNNING) r->in_bin[n++] = r->in_bin[i];
    r->bin_jobs = n;
    r->submitted = r->processed = 0;
    return osv_bin_open(&r->bin, r->t, r->in_bin, n, r->state);
}

/* Jobs that have ended keep their place, at rest, until a quarter of the rows is idle: packing anew costs an
 * unsteered pass. */
static bool is_idle(const training *r)
{
    int idle = 0;
    for (int i = 0; i < r->bin_jobs; i++)
        if (r->state[r->in_bin[i]].stopped != OSV_RUNNING) idle += osv_bin_rows(r->bin, i);
    return 4 * (long)idle >= osv_bin_all_rows(r->bin);
}

static int loop(training *r)
{
    OSV_TRY(pack(r));
    while (running(r) > 0) {
        osv_bin_submit(r->bin);
        r->submitted++;
        OSV_TRY(catch_up(r, osv_bin_recorded(r->bin) ? 1 : 0));
        if (running(r) > 0 && is_idle(r)) {
            OSV_TRY(catch_up(r, 0));
            if (running(r) > 0) OSV_TRY(pack(r));
        }
    }
    return OSV_OK;
}

static int start(training *r)
{
    const osv_training *t = r->t;
    int D = t->model->config.D, most = 0;
    r->state = calloc((size_t)t->jobs, sizeof *r->state);
    r->in_bin = malloc((size_t)t->jobs * sizeof *r->in_bin);
    if (!r->state || !r->in_bin) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < t->jobs; j++) {
        const osv_job *job = &t->job[j];
        osv_job_state *s = &r->state[j];
        r->in_bin[r->bin_jobs++] = j;
        if (job->completions > most) most = job->completions;
        s->vector = calloc((size_t)D * (OSV_HISTORY + 2), sizeof *s->vector);
        s->losses = calloc((size_t)job->completions + 1, sizeof *s->losses);
        if (!s->vector || !s->losses) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
        s->m = s->vector + (size_t)D * OSV_HISTORY;
        s->s = s->m + D;
        if (job->options.init)
            for (int i = 0; i < D; i++) s->vector[i] = (osv_real)job->options.init[i];
        else
            osv_random_direction(s->vector, D, job->options.init_norm, job->options.seed,
                                 job->start ? job->start : job->name);
    }
    r->losses = calloc((size_t)most + 1, sizeof *r->losses);
    r->vector = calloc((size_t)D, sizeof *r->vector);
    if (!r->losses || !r->vector) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    return OSV_OK;
}

int osv_train(const osv_training *t)
{
    training r = {.t = t};
    int status = start(&r);
    if (!status) status = loop(&r);
    if (r.bin) osv_bin_close(r.bin);
    for (int j = 0; r.state && j < t->jobs; j++) {
        free(r.state[j].vector);
        free(r.state[j].losses);
    }
    free(r.state);
    free(r.in_bin);
    free(r.losses);
    free(r.vector);
    return status ? status : osv_ops_status(t->ops);
}
