/* osv-eval: what vectors do to a model's behaviour, measured. */
#include <stdlib.h>
#include <string.h>

#include "tools/eval_run.h"
#include "tools/eval_table.h"
#include "tools/program.h"
#include "tools/ranks.h"

static const char program[] = "osv-eval";

enum { MOST_SETS = 2 };

typedef struct {
    const eval_options *options;
    osv_error *error;
    tool_model m;
    tool_steering steering;
    eval_set set[MOST_SETS];
    eval_answer *answer[MOST_SETS];
    int sets;
    eval_run run;
} flips;

/* A prompt with what is written behind it, or with each of its choices. */
static void tell_longest(tool_model *m, const eval_set *s, int max_tokens)
{
    for (int i = 0; i < s->prompts->count; i++) {
        const eval_line *line = &s->line[i];
        if (line->choices == 0) tool_model_longest(m, s->prompts->line[i].ids.count + max_tokens);
        for (int n = 0; n < line->choices; n++) tool_model_longest(m, line->choice[n].ids.count);
    }
}

static int open_flips(flips *f, const eval_options *o, osv_error *e)
{
    *f = (flips){.options = o, .error = e};
    OSV_TRY(tool_model_open(&f->m, o->model, o->chat, &o->machine, e));
    OSV_TRY(tool_steering_open(&f->steering, &o->steering, &f->m.config, o->model, e));
    OSV_TRY(tool_stop_ids(&f->run.stop, &f->m, e));
    if (o->prompts) OSV_TRY(eval_set_open(&f->set[f->sets++], &f->m, o->prompts, false, o, e));
    if (o->control) OSV_TRY(eval_set_open(&f->set[f->sets++], &f->m, o->control, true, o, e));
    for (int i = 0; i < f->sets; i++) tell_longest(&f->m, &f->set[i], o->max_tokens);
    OSV_TRY(tool_model_weights(&f->m));
    return tool_steering_check_model(&f->steering, osv_checkpoint_sha256(f->m.checkpoint), o->model, e);
}

static void close_flips(flips *f)
{
    for (int i = 0; i < f->sets; i++) {
        eval_answers_free(f->answer[i], &f->set[i], f->options->scales);
        eval_set_close(&f->set[i]);
    }
    osv_ids_free(&f->run.stop);
    tool_steering_close(&f->steering);
    tool_model_close(&f->m);
}

static void print_notes(const flips *f)
{
    int prompts = 0;
    if (f->options->quiet) return;
    for (int i = 0; i < f->steering.notes; i++) fprintf(stderr, "%s: %s\n", program, f->steering.note[i]);
    for (int s = 0; s < f->sets; s++) {
        prompts += f->set[s].prompts->count;
        for (int i = 0; i < f->set[s].warnings; i++)
            fprintf(stderr, "%s: note: %s\n", program, f->set[s].warning[i]);
    }
    fprintf(stderr,
            "%s: %s (%s, %d blocks of width %d), %d prompt%s, unsteered and at %d scale%s, backend %s\n",
            program, f->m.name, f->m.config.family, f->m.config.N, f->m.config.D, prompts,
            prompts == 1 ? "" : "s", f->options->scales, f->options->scales == 1 ? "" : "s", f->m.ops->name);
}

static int show(flips *f)
{
    const eval_options *o = f->options;
    eval_result result[MOST_SETS];
    eval_row row[MOST_SETS * EVAL_MOST_SCALES];
    int rows = f->sets * o->scales;
    for (int i = 0; i < f->sets; i++) {
        result[i] = (eval_result){&f->set[i], f->answer[i]};
        eval_count(row + i * o->scales, &result[i], o);
    }
    if (o->csv && strcmp(o->csv, "-") == 0) return eval_table_csv(row, rows, o->csv, f->error);
    int shown;
    if (o->json) {
        shown = eval_table_json(row, rows, result, f->sets, o, f->m.name, f->error);
    } else {
        eval_table_print(row, rows, o);
        shown = osv_program_write("", 0, f->error);
    }
    /* After what is shown, which is not to be lost for a file that cannot be written. */
    int written = o->csv ? eval_table_csv(row, rows, o->csv, f->error) : OSV_OK;
    return written ? written : shown;
}

static int measure(flips *f)
{
    const eval_options *o = f->options;
    f->run.options = o;
    f->run.m = &f->m;
    f->run.steering = &f->steering;
    for (int i = 0; i < f->sets; i++) f->run.all += (long)f->set[i].prompts->count * (1 + o->scales);
    osv_progress_start(&f->run.progress, o->quiet);
    int status = OSV_OK;
    for (int i = 0; i < f->sets && !status && !osv_program_signal; i++)
        status = eval_run_set(&f->run, &f->set[i], &f->answer[i], f->error);
    osv_progress_end(&f->run.progress);
    OSV_TRY(status);
    if (osv_program_signal) return osv_program_signal == SIGTERM ? OSV_TERMINATED : OSV_INTERRUPTED;
    return f->m.comm->rank == 0 ? show(f) : OSV_OK;
}

static int run_flips(int argc, char **argv, osv_error *e)
{
    eval_options o;
    flips f;
    OSV_TRY(eval_options_parse(&o, argc, argv, e));
    if (o.help) eval_options_help(stdout);
    if (o.version) osv_program_print_version(stdout, program);
    if (o.help || o.version) return osv_program_flush(e);
    OSV_TRY(ranks_find(&o.machine, program, argv - 1, false, &o.quiet, e));
    if (o.verbose) ranks_be_verbose(&o.machine, program);
    int status = open_flips(&f, &o, e);
    if (!status) {
        osv_program_catch_signals();
        print_notes(&f);
        status = measure(&f);
    }
    status = ranks_fail(&o.machine, program, status, e);
    close_flips(&f);
    return ranks_end(&o.machine, status);
}

static void print_help(void)
{
    printf(
        "osv-eval VERB [options]\n\n"
        "  flips   share of prompts whose answer vectors change, and of control prompts that keep theirs\n\n"
        "osv-eval VERB --help lists the options of a verb.\n");
}

static int run(int argc, char **argv, osv_error *e)
{
    if (argc < 2) return OSV_FAIL(e, OSV_USAGE, "what is to be measured is missing: osv-eval flips ...");
    if (strcmp(argv[1], "flips") == 0) return run_flips(argc - 1, argv + 1, e);
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        print_help();
    else if (argc == 2 && strcmp(argv[1], "--version") == 0)
        osv_program_print_version(stdout, program);
    else
        return OSV_FAIL(e, OSV_USAGE, "%s: there is no such verb; known is flips", argv[1]);
    return osv_program_flush(e);
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    osv_program_start();
    int status = run(argc, argv, &error);
    if (status == OSV_PIPE_CLOSED) return OSV_OK;
    return error.status ? osv_program_fail(program, &error) : status;
}
