#include "optim/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/host.h"
#include "optim/bin.h"
#include "optim/orthogonal.h"
#include "optim/pack.h"
#include "optim/phase.h"
#include "optim/profile.h"
#include "optim/share.h"

/* Measurements reach the host `lag` iterations after they were enqueued: 1 where the filling records graphs,
 * so that the device never waits for the host, else 0. Neither what a job's final vector is nor which jobs
 * share a bin when depends on it: a bin is packed anew two iterations after the one whose measurement ended
 * enough of its jobs, which is when it is known in any case. */
enum { KNOWN_AFTER = 2 };

enum { KEEP = 1 << 12 /* in a wish; more than there are replicas, each of which may add 1: interrupted */ };

typedef struct {
    const osv_training *t;
    osv_job_state *state; /* [jobs] */
    osv_bin *bin;
    int *in_bin; /* [bin_jobs] indexes of jobs; room for all */
    int bin_jobs;
    int recompute;            /* of the bin */
    osv_job_stage *stage;     /* [jobs] */
    int *queue;               /* [jobs] those that may begin; of use while a bin is packed */
    int submitted, processed; /* iterations of this bin */
    int iterations;           /* of all bins */
    int saved_at;             /* iterations when it was saved last */
    bool asked;               /* interrupted, on rank 0, as of the last iteration that was processed */
    bool keep;                /* by then, what there is was to be kept */
    double kept;              /* when, on rank 0, in seconds of osv_host_seconds */
    bool ending;              /* interrupted, and saved: the next measurement is the last */
    osv_profile profile;
    double *losses;  /* of the job at hand */
    osv_job *job;    /* [jobs] t's own: those in their second phase as they are trained in it, */
    osv_goal **goal; /* [jobs] with these */
} training;

/* Of several ranks rank 0 counts, and what all of them have heard of it. */
static bool interrupted(const training *r)
{
    if (r->t->comm->size > 1 || osv_sharers(r->t->data) > 1) return r->asked;
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

/* The last report of a job: of what is kept. */
static int finish(training *r, int job, osv_stop stop, int nan_iter)
{
    const osv_job *j = &r->t->job[job];
    const osv_job_state *state = &r->state[job];
    r->stage[job] = OSV_JOB_ENDED;
    return report(r, &(osv_report){.job = job,
                                   .iter = state->iter,
                                   .loss = state->loss,
                                   .norm = state->norm,
                                   .grad_norm = NAN,
                                   .completions = j->completions,
                                   .losses = state->losses,
                                   .stopped = stop,
                                   .nan_iter = nan_iter,
                                   .phase = 1 + state->second,
                                   .rows = osv_job_rows(j),
                                   .D = r->t->model->config.D,
                                   .vector = state->kept});
}

/* What a job measured after `iter` steps, which may be kept. */
typedef struct {
    int iter;
    double loss, norm, grad_norm, size;
} measured;

static void remember(osv_job_state *state, const measured *m, const double *losses, int completions)
{
    state->iter = m->iter;
    state->loss = m->loss;
    state->norm = m->norm;
    memcpy(state->losses, losses, (size_t)completions * sizeof *losses);
}

/* The parameters that the i-th job of the bin had `ago` steps before now are kept. */
static int keep(training *r, int i, int ago)
{
    osv_bin_vector(r->bin, i, ago, r->state[r->in_bin[i]].kept);
    return osv_ops_status(r->t->ops);
}

static int tell(const training *r, int job, const measured *m)
{
    const osv_job *j = &r->t->job[job];
    return report(r, &(osv_report){.job = job,
                                   .iter = m->iter,
                                   .loss = m->loss,
                                   .norm = m->norm,
                                   .grad_norm = m->grad_norm,
                                   .completions = j->completions,
                                   .losses = r->losses,
                                   .stopped = OSV_RUNNING,
                                   .nan_iter = -1,
                                   .phase = 1 + r->state[job].second,
                                   .rows = osv_job_rows(j),
                                   .D = r->t->model->config.D});
}

/* A measurement of the first phase, or of a job that has no other one. */
static int first_phase(training *r, int i, const measured *m, int behind)
{
    int job = r->in_bin[i];
    const osv_job *j = &r->t->job[job];
    osv_job_state *state = &r->state[job];
    osv_stop stop = osv_stop_check(&state->stop, j, m->iter, m->loss, r->losses, r->ending);
    bool lost = stop == OSV_STOP_NAN &&
                m->iter > 0; /* the vector before is the last one with a finite loss */
    if (!lost) remember(state, m, r->losses, j->completions);
    if (stop == OSV_RUNNING) return tell(r, job, m);
    state->stopped = stop;
    OSV_TRY(keep(r, i, behind + lost));
    if (!osv_phase_follows(j, state)) return finish(r, job, stop, stop == OSV_STOP_NAN ? m->iter : -1);
    return OSV_OK;
}

static int second_phase(training *r, int i, const measured *m, int behind)
{
    int job = r->in_bin[i];
    const osv_job *j = &r->t->job[job];
    osv_job_state *state = &r->state[job];
    if (osv_phase_improves(j, state, r->losses, m->size)) {
        remember(state, m, r->losses, j->completions);
        state->shortest = m->size;
        OSV_TRY(keep(r, i, behind));
    }
    bool ends = osv_phase_ends(j, state, m->iter, m->size);
    if (!ends && !r->ending) return tell(r, job, m);
    state->stopped = ends ? state->reason : OSV_STOP_INTERRUPTED;
    return finish(r, job, state->stopped, -1);
}

/* Looks at what iteration `iteration` of the bin measured; `behind`: steps that v has taken since then. */
static int process(training *r, int iteration, int behind)
{
    int wish = osv_bin_wish(r->bin, iteration);
    r->asked |= wish % KEEP != 0;
    r->keep |= wish >= KEEP;
    for (int i = 0; i < r->bin_jobs; i++) {
        int job = r->in_bin[i];
        osv_job_state *state = &r->state[job];
        if (state->stopped == OSV_RUNNING) {
            measured m = {.iter = state->steps - behind};
            osv_bin_measurement(r->bin, iteration, i, r->losses, &m.norm, &m.grad_norm, &m.size);
            m.loss = osv_job_loss(&r->t->job[job], r->losses);
            OSV_TRY((state->second ? second_phase : first_phase)(r, i, &m, behind));
            if (state->stopped != OSV_RUNNING) state->stopped_at = iteration;
        }
        if (!r->ending || !osv_phase_follows(&r->t->job[job], state)) continue;
        state->stopped = OSV_STOP_INTERRUPTED; /* before its second phase */
        OSV_TRY(finish(r, job, OSV_STOP_INTERRUPTED, -1));
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
    r->stage[j] = OSV_JOB_BEGUN;
    return osv_orthogonal_start(s->vector, job, r->t->kept, D, r->t->ops->error);
}

/* The job is trained as its second phase has it, from the next bin on. */
static int turn_to_second(training *r, int job)
{
    osv_job *j = &r->job[job];
    if (!r->goal[job]) r->goal[job] = malloc((size_t)j->completions * sizeof *r->goal[job] + 1);
    if (!r->goal[job]) return OSV_FAIL(r->t->ops->error, OSV_DEVICE, "out of memory");
    *j = osv_phase_job(j, &r->state[job], r->goal[job]);
    return OSV_OK;
}

/* A bin of the jobs that still run and of the next ones that find room; none where nothing is left. */
static int pack(training *r)
{
    const osv_training *t = r->t;
    osv_bin_size size;
    osv_bin_close(r->bin);
    r->bin = NULL;
    int jobs = r->bin_jobs, waiting = r->ending ? 0 : osv_pack_ready(r->queue, t->job, r->stage, t->jobs);
    r->bin_jobs = 0;
    for (int i = 0; i < jobs; i++) {
        int job = r->in_bin[i];
        if (osv_phase_follows(&t->job[job], &r->state[job])) {
            osv_phase_begin(&r->state[job], &t->job[job], t->model->config.D);
            OSV_TRY(turn_to_second(r, job));
        }
        if (r->state[job].stopped == OSV_RUNNING)
            r->in_bin[r->bin_jobs++] = job;
        else
            osv_job_state_close(&r->state[job]);
    }
    if (r->bin_jobs + waiting == 0) return OSV_OK;
    jobs = r->bin_jobs;
    OSV_TRY(osv_pack_fill(&size, t, r->in_bin, &r->bin_jobs, r->queue, waiting));
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

/* What rank 0 wants all ranks to do. Of those that share the jobs one asks for keeping. */
static int wish(training *r)
{
    const osv_training *t = r->t;
    double now = osv_host_seconds();
    bool first = t->comm->rank == 0 && (!t->data || t->data->rank == 0);
    bool keeps = first && t->observer.keep && now - r->kept >= t->keep_every;
    if (keeps) r->kept = now;
    return (t->interrupted && *t->interrupted ? 1 : 0) + (keeps ? KEEP : 0);
}

static int iterate(training *r)
{
    if (osv_profile_turns(&r->profile)) OSV_TRY(catch_up(r, 0)); /* sync counts recorded iterations alone */
    bool op_by_op = osv_profile_begin(&r->profile);
    osv_bin_submit(r->bin, op_by_op, wish(r));
    osv_profile_end(&r->profile);
    r->submitted++;
    r->iterations++;
    return catch_up(r, osv_bin_recorded(r->bin) ? 1 : 0);
}

/* ---- saving, and going on ---- */

/* Looking at measurements earlier than usual changes nothing that is computed: see KNOWN_AFTER. */
static int save(training *r, bool lasting)
{
    const osv_observer *o = &r->t->observer;
    if (r->bin) OSV_TRY(catch_up(r, 0));
    if (!o->save && !o->keep) return OSV_OK;
    if (r->bin) osv_bin_save(r->bin);
    OSV_TRY(osv_ops_status(r->t->ops));
    const osv_training_state state = {.iterations = r->iterations,
                                      .memory = r->t->memory,
                                      .stage = r->stage,
                                      .jobs = r->bin_jobs,
                                      .job = r->in_bin,
                                      .state = r->state,
                                      .recompute = r->recompute,
                                      .submitted = r->submitted};
    if (o->keep) OSV_TRY(o->keep(o->context, &state, r->t->ops->error));
    return o->save && lasting ? o->save(o->context, &state, r->t->ops->error) : OSV_OK;
}

/* Before an iteration. An interrupt is obeyed after one more: what was measured so far is saved as if the
 * training went on, and the next measurement ends the jobs. */
static int save_if_due(training *r)
{
    int every = r->t->save_every;
    bool now = interrupted(r) && !r->ending;
    bool due = every > 0 && r->iterations % every == 0 && r->iterations > r->saved_at, keep = r->keep;
    r->keep = false;
    if (!now && !due) return keep ? save(r, false) : OSV_OK;
    r->saved_at = r->iterations;
    OSV_TRY(save(r, true));
    r->ending |= now;
    return OSV_OK;
}

/* Puts a saved state in place of the first bin. Iterations are counted anew in it. */
static int resume(training *r)
{
    const osv_training *t = r->t;
    const osv_training_state *from = t->resume;
    r->iterations = r->saved_at = from->iterations;
    r->recompute = from->recompute;
    memcpy(r->stage, from->stage, (size_t)t->jobs * sizeof *r->stage);
    for (int i = 0; i < from->jobs; i++) {
        int job = from->job[i], completions = t->job[job].completions;
        size_t numbers = (size_t)osv_job_rows(&t->job[job]) * (size_t)t->model->config.D;
        osv_job_state *state = &r->state[job];
        OSV_TRY(osv_job_state_open(state, numbers, completions, t->ops->error));
        osv_job_state_copy(state, &from->state[job], numbers, completions);
        state->stopped_at -= from->submitted;
        if (state->second) OSV_TRY(turn_to_second(r, job));
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
    return r->ending || complete ? OSV_OK : save(r, true);
}

/* ---- all of it ---- */

static int start(training *r)
{
    const osv_training *t = r->t;
    int most = 0;
    r->state = calloc((size_t)t->jobs + 1, sizeof *r->state);
    r->in_bin = malloc((size_t)t->jobs * sizeof *r->in_bin + 1);
    r->stage = calloc((size_t)t->jobs + 1, sizeof *r->stage);
    r->queue = malloc((size_t)t->jobs * sizeof *r->queue + 1);
    r->goal = calloc((size_t)t->jobs + 1, sizeof *r->goal);
    if (!r->state || !r->in_bin || !r->stage || !r->queue || !r->goal)
        return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < t->jobs; j++) {
        if (t->job[j].completions > most) most = t->job[j].completions;
        OSV_TRY(osv_share_check(&t->job[j], t->data, t->ops->error));
    }
    r->losses = calloc((size_t)most + 1, sizeof *r->losses);
    if (!r->losses) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    return OSV_OK;
}

int osv_train(const osv_training *training_of)
{
    osv_training own = *training_of, *t = &own;
    if (t->resume) t->memory = t->resume->memory; /* or the bins would be other ones */
    osv_job *job = malloc((size_t)t->jobs * sizeof *job + 1);
    if (!job) return OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    memcpy(job, t->job, (size_t)t->jobs * sizeof *job);
    t->job = job;
    training r = {.t = t, .job = job, .profile = {.o = t->ops, .count = t->profile}};
    int status = start(&r);
    if (!status) status = loop(&r);
    osv_profile_close(&r.profile);
    if (r.bin) osv_bin_close(r.bin);
    for (int j = 0; r.state && j < t->jobs; j++) osv_job_state_close(&r.state[j]);
    for (int j = 0; r.goal && j < t->jobs; j++) free(r.goal[j]);
    free(r.goal);
    free(job);
    free(r.state);
    free(r.in_bin);
    free(r.stage);
    free(r.queue);
    free(r.losses);
    return status ? status : osv_ops_status(t->ops);
}
