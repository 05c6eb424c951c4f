/* osv-train: options -> jobs -> osv_train -> a run directory, and what became of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/evaluate.h"
#include "tools/program.h"
#include "tools/ranks.h"
#include "tools/train_dump.h"
#include "tools/train_list.h"
#include "tools/train_plan.h"
#include "tools/train_reentrant.h"
#include "tools/train_result.h"
#include "tools/train_resume.h"
#include "tools/train_scan.h"
#include "tools/train_unsteered.h"

static const char program[] = "osv-train";

static void print_notes(const train_setup *s)
{
    if (s->options->quiet) return;
    for (int i = 0; i < s->data->warnings; i++)
        fprintf(stderr, "%s: note: %s\n", program, s->data->warning[i]);
    for (int i = 0; i < s->teachers.count; i++)
        for (int k = 0; k < s->teachers.steering[i].notes; k++)
            fprintf(stderr, "%s: note: %s\n", program, s->teachers.steering[i].note[k]);
    if (s->options->stage != OSV_STAGE_ONLY)
        fprintf(stderr, "%s: the %s run, in %s\n", program,
                s->options->stage == OSV_STAGE_EARLY ? "early" : "late", s->options->out);
    fprintf(stderr, "%s: %s (%s, %d blocks of width %d), %d job%s, %d completion%s, backend %s\n", program,
            s->m.name, s->m.config.family, s->m.config.N, s->m.config.D, s->jobs.jobs,
            s->jobs.jobs == 1 ? "" : "s", s->jobs.completions, s->jobs.completions == 1 ? "" : "s",
            s->m.ops->name);
}

/* Of a run that goes on: *saved is what its checkpoint holds, *resumed whether there is one. */
static int open_run(osv_run_directory *run, osv_saved_run *saved, bool *resumed, const train_setup *s)
{
    bool from_start = true;
    json_t *json;
    *run = (osv_run_directory){0};
    if (train_resume_wanted(s->options)) {
        int status = train_resume_open(run, saved, &from_start, s);
        *resumed = !from_start;
        return status;
    }
    if (s->options->resume && !s->options->quiet)
        fprintf(stderr, "%s: note: there is no run in %s yet: it begins\n", program, s->options->out);
    OSV_TRY(train_run_json(&json, s));
    int status = osv_run_create(run, s->options->out, s->options->force, json, s->error);
    json_decref(json);
    return status;
}

/* The same on the other ranks, when rank 0 has opened the run: they know where it is, and read the
 * checkpoint.
 */
static int follow_run(osv_run_directory *run, osv_saved_run *saved, bool resumed, const train_setup *s)
{
    run->path = strdup(s->options->out);
    if (!run->path) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    bool from_start;
    return resumed ? train_resume_read(saved, &from_start, s) : OSV_OK;
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

/* A job whose loss stopped being a number: the first one is the error of the run; what was kept is written.
 */
static int check_outcomes(const train_report *r, osv_error *e)
{
    for (int j = 0; j < r->setup->jobs.jobs; j++) {
        const osv_outcome *out = &r->outcome[j];
        if (out->stopped == OSV_STOP_NAN)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "job \"%s\": the loss of iteration %d is not a finite number; %s holds the "
                            "vector of iteration "
                            "%d",
                            r->setup->jobs.job[j].name, out->nan_iter, r->file[j], out->iterations);
    }
    return osv_program_signal == SIGTERM  ? OSV_TERMINATED
           : osv_program_signal == SIGINT ? OSV_INTERRUPTED
                                          : OSV_OK;
}

static int train_and_report(const train_setup *s, train_report *r, double *before, double *after)
{
    osv_error *e = s->error;
    osv_training training = train_setup_training(s);
    training.observer = (osv_observer){r, train_report_observe, train_report_save};
    training.interrupted = &osv_program_signal;
    training.profile = s->options->profile;
    training.save_every = s->options->checkpoint_every;
    const osv_saved_shape shape = train_resume_shape(s);
    bool writes = s->m.comm->rank == 0;
    osv_run_directory run = {0};
    osv_saved_run saved = {0};
    bool resumed = false;
    if (!writes) training.observer = (osv_observer){r, train_report_follow, NULL};
    /* Before the run directory exists: a job that cannot be trained, or too little memory, shows here. */
    OSV_TRY(osv_evaluate(&training, NULL, before));
    osv_program_catch_signals();
    int status = writes ? open_run(&run, &saved, &resumed, s) : OSV_OK;
    int told = osv_comm_told(s->m.comm, status ? -status : resumed);
    if (!writes) status = told < 0 ? -told : follow_run(&run, &saved, resumed = told, s);
    if (resumed) training.resume = &saved.state;
    if (!status) status = train_report_open(r, s, &run, resumed ? &saved : NULL);
    training.kept = (const osv_real *const *)r->vector;
    if (!status) status = osv_train(&training);
    osv_program_release();
    osv_progress_end(&r->progress);
    if (!status && r->interrupted && r->saved && !s->options->quiet)
        fprintf(stderr, "%s: interrupted; with --resume the run goes on from here\n", program);
    if (!status) status = evaluate_outcomes(&training, r, after);
    if (!status) spread_outcomes(&training, r, after);
    if (!status && writes && !s->options->json) train_result_print(r, before, after);
    if (!status && writes && s->options->json && s->options->stage != OSV_STAGE_EARLY)
        status = train_result_json(r, before, after, e);
    if (!status) status = osv_program_flush(e);
    int closed = osv_run_close(&run, e);
    osv_saved_run_free(&saved, &shape);
    if (!status) status = closed ? closed : check_outcomes(r, e);
    return status;
}

static int train(const train_setup *s)
{
    train_report report = {0};
    double *logprob = calloc(2 * (size_t)s->jobs.completions + 1, sizeof *logprob); /* before, after */
    int status = logprob ? train_and_report(s, &report, logprob, logprob + s->jobs.completions)
                         : OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    train_report_close(&report);
    free(logprob);
    return status;
}

/* With --out and --resume, against the run that is there, if there is one. */
static int check_resumed(train_setup *s)
{
    return train_resume_wanted(s->options) ? train_resume_check(s) : OSV_OK;
}

/* What matches and anchors aim at, relative targets, and what preferences are compared with. */
static int learn(train_setup *s)
{
    OSV_TRY(osv_teacher_learn(&s->lessons.teacher, s->m.ops, s->m.comm, &s->m.model));
    OSV_TRY(train_unsteered_measure(s));
    if (!s->options->quiet) train_targets_print(&s->jobs);
    return OSV_OK;
}

/* All that needs no weights has been done. */
static int compute(train_setup *s)
{
    const train_options *o = s->options;
    if (o->dump && s->m.comm->size > 1)
        return OSV_FAIL(s->error, OSV_USAGE, "--dump %s: one rank writes it; leave out --tp", o->dump);
    if (!o->scan) OSV_TRY(check_resumed(s)); /* a scan has yet to find the jobs */
    print_notes(s);
    OSV_TRY(tool_model_weights(&s->m));
    OSV_TRY(train_setup_write(s));
    OSV_TRY(train_memory_find(&s->memory, o->memory, osv_teacher_bytes(&s->lessons.teacher), &s->m.footprint,
                              &s->m.model, s->m.ops, s->m.comm));
    if (!o->scan) OSV_TRY(check_resumed(s)); /* once more, with the weights */
    OSV_TRY(learn(s));
    if (o->dump) return train_dump(s);
    if (!o->scan) return train(s);
    OSV_TRY(train_scan(s));
    if (!o->out) return OSV_OK;
    OSV_TRY(check_resumed(s));
    OSV_TRY(learn(s)); /* these are other jobs */
    return train(s);
}

static int run(const train_options *o, osv_error *e)
{
    train_setup s;
    int status = train_setup_open(&s, o, e);
    if (!status)
        status = o->plan   ? train_plan_print(&s)
                 : o->list ? train_list_print(&s.jobs, o->json, e)
                           : compute(&s);
    status = ranks_fail(&o->machine, program, status, e);
    train_setup_close(&s);
    return status;
}

/* --reentrant. */
static int run_both(const train_options *o, osv_error *e)
{
    train_reentrant r;
    int status = train_reentrant_make(&r, o, e);
    if (!status && r.folder) status = run(&r.early, e);
    if (!status) status = run(&r.late, e);
    train_reentrant_free(&r);
    return status;
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    train_options options;
    osv_program_start();
    int status = train_options_parse(&options, argc, argv, &error);
    bool computes = !status && !options.help && !options.version && !options.plan && !options.list;
    if (computes) status = ranks_find(&options.machine, program, argv, &options.quiet, &error);
    if (!status && options.help) train_options_help(stdout);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status)
        status = options.help || options.version ? osv_program_flush(&error)
                 : options.reentrant >= 0        ? run_both(&options, &error)
                                                 : run(&options, &error);
    if (status == OSV_PIPE_CLOSED) return ranks_end(&options.machine, OSV_OK);
    return ranks_end(&options.machine, error.status ? osv_program_fail(program, &error) : status);
}
