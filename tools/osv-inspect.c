/* osv-inspect: a model, its tokenizer and what training does with each token of a data file, without weights.
 */
#include "tools/inspect_lines.h"
#include "tools/inspect_report.h"
#include "tools/inspect_tokens.h"
#include "tools/program.h"

static const char program[] = "osv-inspect";

static int run(const inspect_options *o, osv_error *e)
{
    inspect_jobs jobs;
    if (o->tokenize || o->detokenize || o->render) return inspect_lines(o, e);
    int status = inspect_jobs_open(&jobs, o, e);
    bool report = !(o->data && o->json);
    if (!status && jobs.memory.bin == 0 && !o->quiet)
        fprintf(stderr, "%s: note: the weights are more than there is memory; planned as if it were enough\n",
                program);
    if (!status && report) status = inspect_report(&jobs, o, e);
    if (!status && o->data) status = inspect_tokens(&jobs, o, e);
    inspect_jobs_close(&jobs);
    return status;
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    inspect_options options;
    osv_program_start();
    int status = inspect_options_parse(&options, argc, argv, &error);
    if (!status && options.help) inspect_options_help(stdout);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status) status = options.help || options.version ? osv_program_flush(&error) : run(&options, &error);
    if (status == OSV_PIPE_CLOSED) return OSV_OK;
    return error.status ? osv_program_fail(program, &error) : status;
}
