#include "tools/train_report.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "optim/vector_file.h"
#include "tools/program.h"
#include "tools/train_job_words.h"
#include "tools/train_rescue.h"
#include "tools/train_resume.h"

/* ---- files ---- */

static int write_vector(train_report *r, const osv_report *report, osv_error *e)
{
    const train_setup *s = r->setup;
    const osv_job *job = &s->jobs.job[report->job];
    char **file = &r->file[report->job], objective[TRAIN_OBJECTIVE_ROOM], created_by[64];
    int layer[OSV_MAX_VECTOR_LAYERS] = {job->layer};
    for (int i = 0; i < job->laters; i++) layer[1 + i] = job->later[i];
    train_job_objective(objective, &s->jobs, report->job);
    snprintf(created_by, sizeof created_by, "osv-train %s", osv_program_version());
    const osv_vector_info info = {.layers = 1 + job->laters,
                                  .layer = layer,
                                  .apart = job->apart,
                                  .form = job->form,
                                  .positions = train_job_positions(&s->jobs, report->job),
                                  .chat = train_job_chat(&s->jobs, report->job) ? osv_chat_name(s->m.chat)
                                                                                : "raw",
                                  .objective = objective,
                                  .model = s->m.name,
                                  .model_sha256 = osv_checkpoint_sha256(s->m.checkpoint),
                                  .created_by = created_by,
                                  .coldness = job->options.coldness,
                                  .norm = report->norm,
                                  .loss = report->loss,
                                  .iterations = report->iter,
                                  .seed = job->options.seed};
    int status = osv_run_vector_path(r->run, job->name, file, e);
    if (!status) status = osv_vector_write(*file, report->vector, report->D, &info, e);
    return status;
}

static void *copy(const void *from, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    return p ? memcpy(p, from, bytes) : NULL;
}

static int keep_outcome(train_report *r, const osv_report *report, osv_error *e)
{
    osv_outcome *out = &r->outcome[report->job];
    osv_real **vector = &r->vector[report->job];
    out->stopped = report->stopped;
    out->iterations = report->iter;
    out->nan_iter = report->nan_iter;
    out->loss = report->loss;
    out->norm = report->norm;
    out->losses = copy(report->losses, (size_t)report->completions * sizeof *out->losses);
    *vector = copy(report->vector, (size_t)report->rows * (size_t)report->D * sizeof **vector);
    return out->losses && *vector ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for results");
}

/* ---- progress ---- */

/* At most, of both phases. */
static int steps_of(const osv_job_options *o)
{
    return o->max_iters > INT_MAX - o->min_norm_iters ? INT_MAX : o->max_iters + o->min_norm_iters;
}

/* Steps that a job has taken, and its loss; one that has ended counts as if it had gone on. */
static void count(train_report *r, int job, int steps, double loss, bool ended)
{
    if (ended) steps = steps_of(&r->setup->jobs.job[job].options);
    r->all_steps += steps - r->steps[job];
    r->steps[job] = steps;
    r->ended += ended;
    double *last = &r->last_loss[job];
    if (isfinite(*last)) r->loss_sum -= *last, r->heard--;
    if (isfinite(loss)) r->loss_sum += loss, r->heard++;
    *last = loss;
}

static double fraction_done(const train_report *r)
{
    return r->steps_to_do > 0 ? (double)r->all_steps / (double)r->steps_to_do : 1;
}

static void describe(char *text, size_t room, const train_report *r, const osv_report *report)
{
    int jobs = r->setup->jobs.jobs, most = r->most_steps;
    if (jobs == 1)
        snprintf(text, room, "%d/%d  loss %.4g  norm %.4g", report->iter, most, report->loss, report->norm);
    else
        snprintf(text, room, "%d/%d  mean loss %.4g  %d of %d jobs done", report->iter, most,
                 r->loss_sum / r->heard, r->ended, jobs);
}

static void show_progress(train_report *r, const osv_report *report)
{
    int jobs = r->setup->jobs.jobs, most = r->most_steps;
    bool final = report->stopped != OSV_RUNNING;
    count(r, report->job, report->iter, report->loss, final);
    bool line = !r->progress.terminal &&
                ((!final && report->iter >= r->next_line) || (final && r->ended == jobs));
    if (!line && !r->progress.terminal) return;

    char text[96];
    describe(text, sizeof text, r, report);
    osv_progress_draw(&r->progress, fraction_done(r), text);
    if (!line) return;
    if (final) {
        osv_progress_line(&r->progress, jobs > 1 ? "iteration %s" : "iteration %s, done", text);
    } else { /* the first job of an iteration speaks for all */
        osv_progress_line(&r->progress, "iteration %s", text);
        r->next_line = report->iter + (most + 9) / 10;
    }
}

int train_report_observe(void *context, const osv_report *report, osv_error *e)
{
    train_report *r = context;
    osv_outcome *out = &r->outcome[report->job];
    const char *name = r->setup->jobs.job[report->job].name;
    bool final = report->stopped != OSV_RUNNING;
    if (report->iter == 0) out->loss_start = report->loss;
    if (final) { /* the vector first: it is what the run is for */
        osv_program_hold();
        r->interrupted |= report->stopped == OSV_STOP_INTERRUPTED;
        OSV_TRY(write_vector(r, report, e));
        OSV_TRY(keep_outcome(r, report, e));
    }
    OSV_TRY(osv_run_trace(r->run, name, report, e));
    show_progress(r, report);
    if (final && !r->interrupted) osv_program_release(); /* else when all have ended: osv-train.c */
    return OSV_OK;
}

int train_report_follow(void *context, const osv_report *report, osv_error *e)
{
    train_report *r = context;
    const char *name = r->setup->jobs.job[report->job].name;
    if (report->iter == 0) r->outcome[report->job].loss_start = report->loss;
    if (report->stopped == OSV_RUNNING) return OSV_OK;
    r->interrupted |= report->stopped == OSV_STOP_INTERRUPTED;
    OSV_TRY(osv_run_vector_path(r->run, name, &r->file[report->job], e));
    return keep_outcome(r, report, e);
}

/* ---- checkpoints ---- */

static const char checkpoint_name[] = "checkpoint.safetensors";

int train_report_checkpoint(const train_report *r, const osv_saved_run *saved, osv_error *e)
{
    const osv_saved_shape shape = train_resume_shape(r->setup);
    char *path;
    OSV_TRY(osv_path_join(&path, r->run->path, checkpoint_name, e));
    int status = osv_saved_run_write(path, saved, &shape, e);
    free(path);
    return status;
}

int train_report_keep(void *context, const osv_training_state *state, osv_error *e)
{
    const train_report *r = context;
    const osv_saved_shape shape = train_resume_shape(r->setup);
    osv_saved_run saved = {.state = *state, .outcome = r->outcome};
    osv_packed packed;
    osv_program_hold();
    if (train_setup_writes(r->setup)) OSV_TRY(osv_run_sync(r->run, &saved.trace_bytes, e));
    osv_program_release();
    saved.trace_bytes = train_setup_told(r->setup, saved.trace_bytes);
    OSV_TRY(osv_ops_status(r->setup->m.ops)); /* what was not told is not kept */
    OSV_TRY(osv_saved_run_pack(&packed, checkpoint_name, &saved, &shape, e));
    return train_rescue_keep(r->run->path, checkpoint_name, packed, e);
}

int train_report_save(void *context, const osv_training_state *state, osv_error *e)
{
    train_report *r = context;
    osv_saved_run saved = {.state = *state, .outcome = r->outcome};
    osv_error why = {0};
    osv_program_hold();
    OSV_TRY(osv_run_sync(r->run, &saved.trace_bytes, e)); /* the trace that it speaks of comes first */
    r->saved = !train_report_checkpoint(r, &saved, &why);
    if (r->saved) osv_program_log("saved after %d iterations of all bins", state->iterations);
    if (!r->saved && !r->warned) {
        osv_progress_end(&r->progress);
        fprintf(stderr, "osv-train: warning: %s; the training goes on without new checkpoints\n", why.text);
        r->warned = true;
    }
    osv_program_release();
    return OSV_OK;
}

static int restore(train_report *r, const osv_saved_run *from, int job)
{
    const train_setup *s = r->setup;
    const osv_job_state *state = &from->state.state[job];
    osv_outcome *out = &r->outcome[job];
    bool ended = from->outcome[job].stopped != OSV_RUNNING;
    *out = from->outcome[job];
    out->losses = NULL;
    if (!ended && state->steps > 0) count(r, job, state->iter, state->loss, false);
    if (!ended) return OSV_OK;
    count(r, job, out->iterations, out->loss, true);
    out->losses = copy(from->outcome[job].losses, (size_t)s->jobs.job[job].completions * sizeof *out->losses);
    if (!out->losses) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory for results");
    const osv_job *j = &s->jobs.job[job];
    int layer[OSV_MAX_VECTOR_LAYERS] = {j->layer};
    for (int i = 0; i < j->laters; i++) layer[1 + i] = j->later[i];
    OSV_TRY(osv_run_vector_path(r->run, s->jobs.job[job].name, &r->file[job], s->error));
    return osv_vector_read(r->file[job], &r->vector[job], s->m.config.D, j->form, j->apart ? layer : NULL,
                           j->apart ? 1 + j->laters : 1, s->error);
}

/* ---- all of it ---- */

static int allocate(train_report *r, size_t jobs)
{
    r->outcome = calloc(jobs + 1, sizeof *r->outcome);
    r->vector = calloc(jobs + 1, sizeof *r->vector);
    r->file = calloc(jobs + 1, sizeof *r->file);
    r->steps = calloc(jobs + 1, sizeof *r->steps);
    r->last_loss = calloc(jobs + 1, sizeof *r->last_loss);
    if (!r->outcome || !r->vector || !r->file || !r->steps || !r->last_loss)
        return OSV_FAIL(r->setup->error, OSV_DEVICE, "out of memory");
    for (size_t j = 0; j < jobs; j++) {
        int steps = steps_of(&r->setup->jobs.job[j].options);
        r->steps_to_do += steps;
        if (steps > r->most_steps) r->most_steps = steps;
        r->outcome[j] = (osv_outcome){.nan_iter = -1, .loss_start = NAN, .loss = NAN, .norm = NAN};
        r->last_loss[j] = NAN;
    }
    return OSV_OK;
}

int train_report_open(train_report *r, const train_setup *s, osv_run_directory *run,
                      const osv_saved_run *from, bool quiet)
{
    *r = (train_report){.setup = s, .run = run};
    OSV_TRY(allocate(r, (size_t)s->jobs.jobs));
    osv_progress_start(&r->progress, quiet);
    for (int j = 0; from && j < s->jobs.jobs; j++)
        if (from->state.stage[j] != OSV_JOB_WAITS) OSV_TRY(restore(r, from, j));
    r->progress.from = fraction_done(r);
    return OSV_OK;
}

void train_report_close(train_report *r)
{
    for (int j = 0; r->setup && j < r->setup->jobs.jobs; j++) {
        if (r->outcome) free(r->outcome[j].losses);
        if (r->vector) free(r->vector[j]);
        if (r->file) free(r->file[j]);
    }
    free(r->outcome);
    free(r->vector);
    free(r->file);
    free(r->steps);
    free(r->last_loss);
    *r = (train_report){0};
}
