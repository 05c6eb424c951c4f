/* osv-train: options -> jobs -> osv_train -> a run directory, and what became of it. */
#include <stdlib.h>

#include "optim/evaluate.h"
#include "tools/program.h"
#include "tools/train_dump.h"
#include "tools/train_list.h"
#include "tools/train_plan.h"
#include "tools/train_result.h"

static const char program[] = "osv-train";

static void print_notes(const train_setup *s)
{
    if (s->options->quiet) return;
    for (int i = 0; i < s->data->warnings; i++)
        fprintf(stderr, "%s: note: %s\n", program, s->data->warning[i]);
    fprintf(stderr, "%s: %s (%s, %d blocks of width %d), %d job%s, %d completion%s, backend %s\n", program,
            s->m.name, s->m.config.family, s->m.config.N, s->m.config.D, s->jobs.jobs,
            s->jobs.jobs == 1 ? "" : "s", s->jobs.completions, s->jobs.completions == 1 ? "" : "s",
            s->m.ops->name);
}

static int open_run(osv_run_directory *run, const train_setup *s)
{
    json_t *json;
    OSV_TRY(train_run_json(&json, s));
    int status = osv_run_create(run, s->options->out, s->options->force, s->error);
    if (!status && (status = osv_run_write_json(run, json, s->error))) osv_run_discard(run);
    json_decref(json);
    return status;
}

/* ln P of all completions with the vectors that were kept. */
static int evaluate_outcomes(const osv_training *training, const train_report *r, double *after)
{
    const osv_real **vector = calloc((size_t)training->jobs + 1, sizeof *vector);
    if (!vector) return OSV_FAIL(training->ops->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < training->jobs; j++) vector[j] = r->outcome[j].vector;
    int status = osv_evaluate(training, vector, after);
    free(vector);
    return status;
}

/* A job whose loss stopped being a number: the first one is the error of the run; what was kept is written.
 */
static int check_outcomes(const train_report *r, osv_error *e)
{
    for (int j = 0; j < r->setup->jobs.jobs; j++) {
        const train_outcome *out = &r->outcome[j];
        if (out->stopped == OSV_STOP_NAN)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "job \"%s\": the loss of iteration %d is not a finite number; %s holds the "
                            "vector of iteration "
                            "%d",
                            r->setup->jobs.job[j].name, out->nan_iter, out->file, out->iterations);
    }
    return osv_program_signal == SIGTERM  ? OSV_TERMINATED
           : osv_program_signal == SIGINT ? OSV_INTERRUPTED
                                          : OSV_OK;
}

static int train(const train_setup *s, train_report *r, double *before, double *after)
{
    osv_error *e = s->error;
    osv_training training = {.ops = s->m.ops,
                             .comm = s->m.comm,
                             .model = &s->m.model,
                             .on = osv_all_on,
                             .job = s->jobs.job,
                             .jobs = s->jobs.jobs,
                             .memory = s->memory.bin,
                             .observer = {r, train_report_observe},
                             .interrupted = &osv_program_signal,
                             .profile = s->options->profile};
    /* Before the run directory exists: a job that cannot be trained, or too little memory, shows here. */
    OSV_TRY(osv_evaluate(&training, NULL, before));
    osv_run_directory run;
    osv_program_catch_signals();
    OSV_TRY(open_run(&run, s));
    int status = train_report_open(r, s, &run);
    if (!status) status = osv_train(&training);
    osv_progress_end(&r->progress);
    if (!status) status = evaluate_outcomes(&training, r, after);
    if (!status && s->options->json) status = train_result_json(r, before, after, e);
    if (!status && !s->options->json) train_result_print(r, before, after);
    if (!status) status = osv_program_flush(e);
    int closed = osv_run_close(&run, e);
    if (!status) status = closed ? closed : check_outcomes(r, e);
    return status;
}

static int run(const train_options *o, osv_error *e)
{
    train_setup s;
    train_report report = {0};
    int status = train_setup_open(&s, o, e);
    double *logprob = calloc(2 * (size_t)s.jobs.completions + 1, sizeof *logprob); /* before, after */
    if (!logprob) status = OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (!status && !o->plan && !o->list) print_notes(&s);
    if (!status && o->plan) {
        status = train_plan_print(&s);
        if (!status) status = osv_program_flush(e);
    } else if (!status && o->list) {
        status = train_list_print(&s.jobs, o->json, e);
    } else if (!status && !(status = tool_model_weights(&s.m)) &&
               !(status = train_memory_find(&s.memory, o->memory, &s.m.footprint, &s.m.model, s.m.ops))) {
        status = o->dump ? train_dump(&s) : train(&s, &report, logprob, logprob + s.jobs.completions);
    }
    train_report_close(&report);
    free(logprob);
    train_setup_close(&s);
    return status;
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    train_options options;
    osv_program_start();
    int status = train_options_parse(&options, argc, argv, &error);
    if (!status && options.help) train_options_help(stdout);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status) status = options.help || options.version ? osv_program_flush(&error) : run(&options, &error);
    if (status == OSV_PIPE_CLOSED) return OSV_OK;
    return error.status ? osv_program_fail(program, &error) : status;
}
