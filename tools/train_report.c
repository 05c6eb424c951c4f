#include "tools/train_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/vector_file.h"
#include "tools/program.h"

int train_report_open(train_report *r, const train_setup *s, osv_run_directory *run)
{
    *r = (train_report){.setup = s, .run = run};
    size_t jobs = (size_t)s->jobs.jobs;
    r->outcome = calloc(jobs + 1, sizeof *r->outcome);
    r->steps = calloc(jobs + 1, sizeof *r->steps);
    r->last_loss = calloc(jobs + 1, sizeof *r->last_loss);
    if (!r->outcome || !r->steps || !r->last_loss) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    for (size_t j = 0; j < jobs; j++) {
        int steps = s->jobs.job[j].options.max_iters;
        r->last_loss[j] = NAN;
        r->steps_to_do += steps;
        if (steps > r->most_steps) r->most_steps = steps;
    }
    osv_progress_start(&r->progress, s->options->quiet);
    return OSV_OK;
}

void train_report_close(train_report *r)
{
    for (int j = 0; r->outcome && j < r->setup->jobs.jobs; j++) {
        free(r->outcome[j].losses);
        free(r->outcome[j].vector);
        free(r->outcome[j].file);
    }
    free(r->outcome);
    free(r->steps);
    free(r->last_loss);
    *r = (train_report){0};
}

/* ---- files ---- */

static int write_vector(train_report *r, const osv_report *report, osv_error *e)
{
    const train_setup *s = r->setup;
    const osv_job *job = &s->jobs.job[report->job];
    train_outcome *out = &r->outcome[report->job];
    char objective[96], created_by[64];
    float *vector = malloc((size_t)report->D * sizeof *vector);
    if (!vector) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a vector");
    for (int i = 0; i < report->D; i++) vector[i] = (float)report->vector[i];
    train_job_objective(objective, sizeof objective, &s->jobs, report->job);
    snprintf(created_by, sizeof created_by, "osv-train %s", osv_program_version());
    const osv_vector_info info = {.layer = job->layer,
                                  .apply = "add",
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
    int status = osv_run_vector_path(r->run, job->name, &out->file, e);
    if (!status) status = osv_vector_write(out->file, vector, report->D, &info, e);
    free(vector);
    return status;
}

static void *copy(const void *from, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    return p ? memcpy(p, from, bytes) : NULL;
}

static int keep_outcome(train_report *r, const osv_report *report, osv_error *e)
{
    train_outcome *out = &r->outcome[report->job];
    out->stopped = report->stopped;
    out->iterations = report->iter;
    out->nan_iter = report->nan_iter;
    out->loss = report->loss;
    out->norm = report->norm;
    out->losses = copy(report->losses, (size_t)report->completions * sizeof *out->losses);
    out->vector = copy(report->vector, (size_t)report->D * sizeof *out->vector);
    return out->losses && out->vector ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for results");
}

/* ---- progress ---- */

/* Of the jobs heard of so far. */
static double mean_loss(const train_report *r)
{
    double sum = 0;
    int heard = 0;
    for (int j = 0; j < r->setup->jobs.jobs; j++) {
        if (isnan(r->last_loss[j])) continue;
        sum += r->last_loss[j];
        heard++;
    }
    return sum / heard;
}

static void describe(char *text, size_t room, const train_report *r, const osv_report *report)
{
    int jobs = r->setup->jobs.jobs, most = r->most_steps;
    if (jobs == 1)
        snprintf(text, room, "%d/%d  loss %.4g  norm %.4g", report->iter, most, report->loss, report->norm);
    else
        snprintf(text, room, "%d/%d  mean loss %.4g  %d of %d jobs done", report->iter, most, mean_loss(r),
                 r->ended, jobs);
}

static void show_progress(train_report *r, const osv_report *report)
{
    const train_setup *s = r->setup;
    int jobs = s->jobs.jobs, most = r->most_steps;
    bool final = report->stopped != OSV_RUNNING;
    int steps = final ? s->jobs.job[report->job].options.max_iters : report->iter;
    r->all_steps += steps - r->steps[report->job];
    r->steps[report->job] = steps;
    r->last_loss[report->job] = report->loss;
    r->ended += final;

    char text[96];
    describe(text, sizeof text, r, report);
    osv_progress_draw(&r->progress, r->steps_to_do > 0 ? (double)r->all_steps / (double)r->steps_to_do : 1,
                      text);
    if (r->progress.terminal) return;
    if (!final && report->iter >= r->next_line) { /* the first job of an iteration speaks for all */
        osv_progress_line(&r->progress, "iteration %s", text);
        r->next_line = report->iter + (most + 9) / 10;
    } else if (r->ended == jobs) {
        osv_progress_line(&r->progress, jobs > 1 ? "iteration %s" : "iteration %s, done", text);
    }
}

int train_report_observe(void *context, const osv_report *report, osv_error *e)
{
    train_report *r = context;
    train_outcome *out = &r->outcome[report->job];
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
    if (final && (!r->interrupted || r->ended == r->setup->jobs.jobs)) osv_program_release();
    return OSV_OK;
}
