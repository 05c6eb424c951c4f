#include "optim/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/bin.h"
#include "optim/pack.h"
#include "optim/profile.h"

/* Measurements reach the host `lag` iterations after they were enqueued: 1 where the filling records graphs,
 * so that the device never waits for the host, else 0. Neither what a job's final vector is nor which jobs
 * share a bin when depends on it: a bin is packed anew two iterations after the one whose measurement ended
 * enough of its jobs, which is when it is known in any case. */
enum { KNOWN_AFTER = 2 };

typedef struct {
    const osv_training *t;
    osv_job_state *state; /* [jobs] */
    osv_bin *bin;
    int *in_bin; /* [bin_jobs] indexes of jobs; room for all */
    int bin_jobs;
    int recompute;            /* of the bin */
    int *queue;               /* [jobs] */
    int next;                 /* queue[next] is the first that has not begun */
    int submitted, processed; /* iterations of this bin */
    int iterations;           /* of all bins */
    int saved_at;             /* iterations when it was saved last */
    bool asked;               /* interrupted, on rank 0, as of the last iteration that was processed */
    bool ending;              /* interrupted, and saved: the next measurement is the last */
    osv_profile profile;
    double *losses;   /* of the job at hand */
    osv_real *vector; /* [rows, D] likewise */
} training;

/* Of several ranks rank 0 counts, and what all of them have heard of it. */
static bool interrupted(const training *r)
{
    if (r->t->comm->size > 1) return r->asked;
    return r->t->interrupted && *r->t->interrupted;
}

static int running(const training *r)
{
    int n = 0;
    for (int i = 0; i < r->bin_jobs; i++) n += r->state[r->in_bin[i]].stopped == OSV_RUNNING;
    return n;
}

static int report(const training *r, const osv_report *report)
{
    osv_error *e = r->t->ops->error;
    const osv_observer *o = &r->t->observer;
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
                        .rows = osv_job_rows(&r->t->job[job]),
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
    return report(r, &final);
}

/* Looks at what iteration `iteration` of the bin measured; `behind`: steps that v has taken since then. */
static int process(training *r, int iteration, int behind)
{
    r->asked |= osv_bin_asked(r->bin, iteration);
    for (int i = 0; i < r->bin_jobs; i++) {
        int job = r->in_bin[i];
        osv_job_state *state = &r->state[job];
        if (state->stopped != OSV_RUNNING) continue;
        const osv_job *j = &r->t->job[job];
        double norm, grad_norm, loss = 0;
        int iter = state->steps - behind;
        osv_bin_measurement(r->bin, iteration, i, r->losses, &norm, &grad_norm);
        for (int c = 0; c < j->completions; c++) loss += r->losses[c];

        osv_stop stop = osv_stop_check(&state->stop, j, iter, loss, r->losses, r->ending);
        if (stop != OSV_STOP_NAN) {
            state->iter = iter;
            state->loss = loss;
            state->norm = norm;
            memcpy(state->losses, r->losses, (size_t)j->completions * sizeof *state->losses);
        }
        if (stop != OSV_RUNNING) {
            state->stopped_at = iteration;
            OSV_TRY(finish(r, i, iter, behind, stop, norm));
            continue;
        }
        OSV_TRY(report(r, &(osv_report){.job = job,
                                        .iter = iter,
                                        .loss = loss,
                                        .norm = norm,
                                        .grad_norm = grad_norm,
                                        .completions = j->completions,
                                        .losses = r->losses,
                                        .stopped = OSV_RUNNING,
                                        .nan_iter = -1,
                                        .rows = osv_job_rows(j),
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

/* ---- bins ---- */

/* Before a job begins: its start vector. */
static int begin(training *r, int j)
{
    const osv_job *job = &r->t->job[j];
    osv_job_state *s = &r->state[j];
    int D = r->t->model->config.D;
    size_t numbers = (size_t)osv_job_rows(job) * (size_t)D;
    OSV_TRY(osv_job_state_open(s, numbers, job->completions, r->t->ops->error));
    osv_job_start(s->vector, job, D);
    return OSV_OK;
}

/* A bin of the jobs that still run and of the next ones that find room; none where nothing is left. */
static int pack(training *r)
{
    const osv_training *t = r->t;
    osv_bin_size size;
    osv_bin_close(r->bin);
    r->bin = NULL;
    int jobs = r->bin_jobs, waiting = r->ending ? 0 : t->jobs - r->next;
    r->bin_jobs = 0;
    for (int i = 0; i < jobs; i++) {
        int job = r->in_bin[i];
        if (r->state[job].stopped == OSV_RUNNING)
            r->in_bin[r->bin_jobs++] = job;
        else
            osv_job_state_close(&r->state[job]);
    }
    if (r->bin_jobs + waiting == 0) return OSV_OK;
    jobs = r->bin_jobs;
    OSV_TRY(osv_pack_fill(&size, t, r->in_bin, &r->bin_jobs, r->queue + r->next, waiting));
    r->next += r->bin_jobs - jobs;
    for (; jobs < r->bin_jobs; jobs++) OSV_TRY(begin(r, r->in_bin[jobs]));
    r->submitted = r->processed = 0;
    r->recompute = size.recompute;
    return osv_bin_open(&r->bin, t, r->in_bin, r->bin_jobs, r->recompute, r->state);
}

/* Jobs that have ended keep their place, at rest, until a quarter of the rows is idle: packing anew costs an
 * unsteered pass. */
static bool is_idle(const training *r)
{
    int idle = 0;
    for (int i = 0; i < r->bin_jobs; i++) {
        const osv_job_state *s = &r->state[r->in_bin[i]];
        if (s->stopped != OSV_RUNNING && s->stopped_at + KNOWN_AFTER <= r->submitted)
            idle += osv_bin_rows(r->bin, i);
    }
    return 4 * (long)idle >= osv_bin_all_rows(r->bin);
}

static int iterate(training *r)
{
    if (osv_profile_turns(&r->profile)) OSV_TRY(catch_up(r, 0)); /* sync counts recorded iterations alone */
    bool op_by_op = osv_profile_begin(&r->profile);
    osv_bin_submit(r->bin, op_by_op);
    osv_profile_end(&r->profile);
    r->submitted++;
    r->iterations++;
    return catch_up(r, osv_bin_recorded(r->bin) ? 1 : 0);
}

/* ---- saving, and going on ---- */

/* Looking at measurements earlier than usual changes nothing that is computed: see KNOWN_AFTER. */
static int save(training *r)
{
    const osv_observer *o = &r->t->observer;
    if (r->bin) OSV_TRY(catch_up(r, 0));
    if (!o->save) return OSV_OK;
    if (r->bin) osv_bin_save(r->bin);
    OSV_TRY(osv_ops_status(r->t->ops));
    const osv_training_state state = {.iterations = r->iterations,
                                      .memory = r->t->memory,
                                      .next = r->next,
                                      .jobs = r->bin_jobs,
                                      .job = r->in_bin,
                                      .state = r->state,
                                      .recompute = r->recompute,
                                      .submitted = r->submitted};
    return o->save(o->context, &state, r->t->ops->error);
}

/* Before an iteration. An interrupt is obeyed after one more: what was measured so far is saved as if the
 * training went on, and the next measurement ends the jobs. */
static int save_if_due(training *r)
{
    int every = r->t->save_every;
    bool now = interrupted(r) && !r->ending;
    bool due = every > 0 && r->iterations % every == 0 && r->iterations > r->saved_at;
    if (!now && !due) return OSV_OK;
    r->saved_at = r->iterations;
    OSV_TRY(save(r));
    r->ending |= now;
    return OSV_OK;
}

/* Puts a saved state in place of the first bin. Iterations are counted anew in it. */
static int resume(training *r)
{
    const osv_training *t = r->t;
    const osv_training_state *from = t->resume;
    r->iterations = r->saved_at = from->iterations;
    r->next = from->next;
    r->recompute = from->recompute;
    for (int i = 0; i < from->jobs; i++) {
        int job = from->job[i], completions = t->job[job].completions;
        size_t numbers = (size_t)osv_job_rows(&t->job[job]) * (size_t)t->model->config.D;
        osv_job_state *state = &r->state[job];
        OSV_TRY(osv_job_state_open(state, numbers, completions, t->ops->error));
        osv_job_state_copy(state, &from->state[job], numbers, completions);
        state->stopped_at -= from->submitted;
        r->in_bin[r->bin_jobs++] = job;
    }
    if (r->bin_jobs == 0) return pack(r);
    return osv_bin_open(&r->bin, t, r->in_bin, r->bin_jobs, r->recompute, r->state);
}

static int loop(training *r)
{
    OSV_TRY(r->t->resume ? resume(r) : pack(r));
    bool complete = !r->bin;
    while (r->bin) {
        OSV_TRY(save_if_due(r));
        OSV_TRY(iterate(r));
        if (!r->ending && running(r) > 0 && !is_idle(r)) continue;
        OSV_TRY(catch_up(r, 0));
        OSV_TRY(pack(r));
    }
    return r->ending || complete ? OSV_OK : save(r);
}

/* ---- all of it ---- */

static int start(training *r)
{
    const osv_training *t = r->t;
    int most = 0, rows = 0;
    r->state = calloc((size_t)t->jobs + 1, sizeof *r->state);
    r->in_bin = malloc((size_t)t->jobs * sizeof *r->in_bin + 1);
    r->queue = malloc((size_t)t->jobs * sizeof *r->queue + 1);
    if (!r->state || !r->in_bin || !r->queue) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < t->jobs; j++) {
        r->queue[j] = j;
        if (t->job[j].completions > most) most = t->job[j].completions;
        if (osv_job_rows(&t->job[j]) > rows) rows = osv_job_rows(&t->job[j]);
    }
    r->losses = calloc((size_t)most + 1, sizeof *r->losses);
    r->vector = calloc((size_t)rows * (size_t)t->model->config.D + 1, sizeof *r->vector);
    if (!r->losses || !r->vector) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    return OSV_OK;
}

int osv_train(const osv_training *training_of)
{
    osv_training own = *training_of, *t = &own;
    if (t->resume) t->memory = t->resume->memory; /* or the bins would be other ones */
    training r = {.t = t, .profile = {.o = t->ops, .count = t->profile}};
    int status = start(&r);
    if (!status) status = loop(&r);
    osv_profile_close(&r.profile);
    if (r.bin) osv_bin_close(r.bin);
    for (int j = 0; r.state && j < t->jobs; j++) osv_job_state_close(&r.state[j]);
    free(r.state);
    free(r.in_bin);
    free(r.queue);
    free(r.losses);
    free(r.vector);
    return status ? status : osv_ops_status(t->ops);
}
