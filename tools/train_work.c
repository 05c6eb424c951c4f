#include "tools/train_work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/host.h"
#include "optim/evaluate.h"
#include "tools/program.h"
#include "tools/train_rescue.h"
#include "tools/train_result.h"
#include "tools/train_resume.h"

enum { KEEP_SECONDS = 1 }; /* of training are lost where a rank is */

int train_work_open(osv_run_directory *run, osv_saved_run *saved, bool *resumed, const train_setup *s)
{
    bool from_start = true;
    json_t *json;
    if (train_resume_wanted(s->options)) {
        int status = train_resume_open(run, saved, &from_start, s);
        *resumed = !from_start;
        return status;
    }
    if (s->options->resume && !s->options->quiet)
        fprintf(stderr, "osv-train: note: there is no run in %s yet: it begins\n", s->options->out);
    OSV_TRY(train_run_json(&json, s));
    int status = osv_run_create(run, s->options->out, s->options->force, json, s->error);
    json_decref(json);
    return status;
}

/* The same on the other ranks, when rank 0 has opened the run: they know where it is, and read the
 * checkpoint. */
static int follow_run(osv_run_directory *run, osv_saved_run *saved, bool resumed, const train_setup *s)
{
    run->path = strdup(s->options->out);
    if (!run->path) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    bool from_start;
    return resumed ? train_resume_read(saved, &from_start, s) : OSV_OK;
}

static int open_together(train_work *w, bool *resumed)
{
    const train_setup *s = w->setup;
    bool writes = train_setup_writes(s);
    int status = writes ? train_work_open(&w->run, &w->saved, resumed, s) : OSV_OK;
    int told = (int)train_setup_told(s, status ? -status : *resumed);
    if (writes) return status;
    *resumed = told > 0;
    return told < 0 ? -told : follow_run(&w->run, &w->saved, *resumed, s);
}

/* ln P of the completions with the vectors that were kept; NaN of jobs that have not begun. */
static int evaluate_outcomes(const osv_training *training, const train_report *r, double *after)
{
    size_t jobs = (size_t)training->jobs;
    osv_job *job = calloc(jobs + 1, sizeof *job);
    const osv_real **vector = calloc(jobs + 1, sizeof *vector);
    osv_training ended = *training;
    ended.job = job;
    ended.jobs = 0;
    if (job && vector) {
        for (size_t j = 0; j < jobs; j++) {
            if (!r->vector[j]) continue;
            vector[ended.jobs] = r->vector[j];
            job[ended.jobs++] = training->job[j];
        }
        osv_evaluate(&ended, vector, after);
    } else {
        OSV_FAIL(training->ops->error, OSV_DEVICE, "out of memory");
    }
    free(job);
    free(vector);
    return osv_ops_status(training->ops);
}

/* `after` came without gaps; each job's part moves to its place, the last one first. */
static void spread_outcomes(const osv_training *training, const train_report *r, double *after)
{
    int to = 0, from = 0;
    for (int j = 0; j < training->jobs; j++) {
        to += training->job[j].completions;
        from += r->vector[j] ? training->job[j].completions : 0;
    }
    for (int j = training->jobs - 1; j >= 0; j--)
        for (int c = 0; c < training->job[j].completions; c++)
            after[--to] = r->vector[j] ? after[--from] : NAN;
}

static int observe(void *context, const osv_report *report, osv_error *e)
{
    train_work *w = context;
    OSV_TRY(train_report_observe(&w->report, report, e));
    return w->how.look ? w->how.look(w->how.context) : OSV_OK;
}

static int follow(void *context, const osv_report *report, osv_error *e)
{
    train_work *w = context;
    return train_report_follow(&w->report, report, e);
}

static int save(void *context, const osv_training_state *state, osv_error *e)
{
    train_work *w = context;
    return train_report_save(&w->report, state, e);
}

static int keep(void *context, const osv_training_state *state, osv_error *e)
{
    train_work *w = context;
    return train_report_keep(&w->report, state, e);
}

int train_work_train(train_work *w, const train_setup *s, train_work_manner how)
{
    train_report *r = &w->report;
    osv_training training = train_setup_training(s);
    bool resumed = false, writes = train_setup_writes(s);
    *w = (train_work){.setup = s, .how = how};
    w->before = calloc(2 * (size_t)s->jobs.completions + 1, sizeof *w->before);
    if (!w->before) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    w->after = w->before + s->jobs.completions;
    training.observer = writes ? (osv_observer){w, observe, save, NULL}
                               : (osv_observer){w, follow, NULL, NULL};
    if (s->m.comm->size > 1 || s->m.sharers->size > 1) training.observer.keep = keep;
    training.keep_every = KEEP_SECONDS;
    training.interrupted = &osv_program_signal;
    training.profile = s->options->profile;
    training.save_every = s->options->checkpoint_every;
    /* Before the run directory exists: a job that cannot be trained, or too little memory, shows here. */
    OSV_TRY(osv_evaluate(&training, NULL, w->before));
    osv_program_catch_signals();
    int status = open_together(w, &resumed);
    if (resumed) training.resume = &w->saved.state;
    if (!status) status = train_report_open(r, s, &w->run, resumed ? &w->saved : NULL, how.quiet);
    training.kept = (const osv_real *const *)r->vector;
    double start = osv_host_seconds();
    if (!status) status = osv_train(&training);
    osv_program_log("%d job%s trained in %.1f s, for %s", s->jobs.jobs, s->jobs.jobs == 1 ? "" : "s",
                    osv_host_seconds() - start, s->options->out);
    osv_program_release();
    osv_progress_end(&r->progress);
    if (!status) status = evaluate_outcomes(&training, r, w->after);
    if (!status) spread_outcomes(&training, r, w->after);
    return status;
}

int train_work_close(train_work *w)
{
    train_rescue_forget();
    int status = osv_run_close(&w->run, w->setup->error);
    const osv_saved_shape shape = train_resume_shape(w->setup);
    osv_saved_run_free(&w->saved, &shape);
    train_report_close(&w->report);
    free(w->before);
    *w = (train_work){0};
    return status;
}
