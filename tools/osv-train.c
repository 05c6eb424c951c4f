/* osv-train: options -> jobs -> osv_train -> a run directory, and what became of it. */
#include <stdio.h>

#include "optim/share.h"
#include "tools/program.h"
#include "tools/ranks.h"
#include "tools/train_dump.h"
#include "tools/train_list.h"
#include "tools/train_plan.h"
#include "tools/train_reentrant.h"
#include "tools/train_result.h"
#include "tools/train_resume.h"
#include "tools/train_scan.h"
#include "tools/train_units.h"
#include "tools/train_unsteered.h"
#include "tools/train_work.h"

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

/* All jobs by this replica alone. */
static int train_alone(const train_setup *s)
{
    train_work w;
    bool quiet = s->options->quiet;
    int status = train_work_train(&w, s, (train_work_manner){.quiet = quiet});
    if (!status && w.report.interrupted && w.report.saved && !quiet)
        fprintf(stderr, "%s: interrupted; with --resume the run goes on from here\n", program);
    if (!status && train_setup_writes(s)) status = train_result_tell(&w.report, w.before, w.after, s->error);
    int verdict = status ? status : train_result_verdict(&w.report, s->error);
    int closed = train_work_close(&w);
    return status ? status : closed ? closed : verdict;
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

static int train(train_setup *s, train_replicas *r)
{
    for (int j = 0; j < s->jobs.jobs; j++) OSV_TRY(osv_share_check(&s->jobs.job[j], s->m.sharers, s->error));
    s->memory.bin = osv_comm_least(s->m.sharers, s->memory.bin);
    OSV_TRY(train_units_find(s, r));
    return train_units_train(s, r, train_alone);
}

/* All that needs no weights has been done. */
static int compute(train_setup *s, train_replicas *r)
{
    const train_options *o = s->options;
    if (o->dump && o->machine.launch.size > s->m.comm->size)
        return OSV_FAIL(s->error, OSV_USAGE, "--dump %s: one replica writes it; start as many ranks as --tp",
                        o->dump);
    if (!o->scan) OSV_TRY(check_resumed(s)); /* a scan has yet to find the jobs */
    print_notes(s);
    OSV_TRY(train_run_agree(s));
    OSV_TRY(tool_model_weights(&s->m));
    OSV_TRY(train_setup_write(s));
    OSV_TRY(train_memory_find(&s->memory, o->memory, osv_teacher_bytes(&s->lessons.teacher), &s->m.footprint,
                              &s->m.model, s->m.ops, s->m.comm, o->machine.launch.local_size));
    if (!o->scan) OSV_TRY(check_resumed(s)); /* once more, with the weights */
    OSV_TRY(learn(s));
    if (o->dump) return train_dump(s);
    if (!o->scan) return train(s, r);
    OSV_TRY(train_scan(s));
    if (!o->out) return OSV_OK;
    OSV_TRY(check_resumed(s));
    OSV_TRY(learn(s)); /* these are other jobs */
    return train(s, r);
}

static int run(const train_options *o, train_replicas *r, osv_error *e)
{
    train_setup s;
    int status = train_setup_open(&s, o, e);
    if (!status)
        status = o->plan   ? train_plan_print(&s)
                 : o->list ? train_list_print(&s.jobs, o->json, e)
                           : compute(&s, r);
    if (e->status) train_replicas_fail(r, status);
    status = ranks_fail(&o->machine, program, status, e);
    train_setup_close(&s);
    return status;
}

/* --reentrant. */
static int run_both(const train_options *o, train_replicas *r, osv_error *e)
{
    train_reentrant both;
    int status = train_reentrant_make(&both, o, e);
    if (!status && both.folder) status = run(&both.early, r, e);
    if (!status) status = run(&both.late, r, e);
    train_reentrant_free(&both);
    return status;
}

static int run_all(const train_options *o, train_replicas *r, osv_error *e)
{
    OSV_TRY(train_replicas_open(r, o->machine.world, e));
    return o->reentrant >= 0 ? run_both(o, r, e) : run(o, r, e);
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    train_options options;
    train_replicas replicas = {0};
    osv_program_start();
    int status = train_options_parse(&options, argc, argv, &error);
    bool computes = !status && !options.help && !options.version && !options.plan && !options.list;
    if (computes) status = ranks_find(&options.machine, program, argv, true, &options.quiet, &error);
    if (!status && options.verbose) ranks_be_verbose(&options.machine, program);
    if (!status && options.help) train_options_help(stdout);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status)
        status = options.help || options.version ? osv_program_flush(&error)
                                                 : run_all(&options, &replicas, &error);
    if (status == OSV_PIPE_CLOSED) status = OSV_OK;
    status = ranks_end(&options.machine, error.status ? osv_program_fail(program, &error) : status);
    train_replicas_close(&replicas);
    return status;
}
