/* osv-vector: vectors in files, put together, compared, shown. */
#include "tools/program.h"
#include "tools/vector_verbs.h"

static const char program[] = "osv-vector";

static int run(const vector_options *o, osv_error *e)
{
    switch (o->verb) {
    case VECTOR_MEAN:
    case VECTOR_SUM: return vector_make(o, e);
    case VECTOR_COSINE: return vector_cosine(o, e);
    case VECTOR_NORM: return vector_norm(o, e);
    case VECTOR_SHOW: return vector_show(o, e);
    case VECTOR_VERBS: break;
    }
    return OSV_OK;
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    vector_options options;
    osv_program_start();
    int status = vector_options_parse(&options, argc, argv, &error);
    if (!status && options.help) vector_options_help(stdout, options.verb);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status) status = options.help || options.version ? osv_program_flush(&error) : run(&options, &error);
    vector_options_free(&options);
    if (status == OSV_PIPE_CLOSED) return OSV_OK;
    return error.status ? osv_program_fail(program, &error) : status;
}
