#include "tools/vector_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "loader/file.h"

#define FIELD(name) .offset = offsetof(vector_options, name)

/* Lines that end every table. */
#define LAST_OPTIONS(json_help)                                                                        \
    {"json", NULL, NULL, json_help, OSV_OPTION_FLAG, FIELD(json), .group = "Output:"},                 \
        {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},                               \
    {                                                                                                  \
        "version", NULL, NULL, "version, commit, compiler, libraries", OSV_OPTION_FLAG, FIELD(version) \
    }

static const osv_option make_table[] = {
    {"out", "FILE", NULL, "the vector file that is written", OSV_OPTION_TEXT, FIELD(out), .group = "Result:"},
    {"norm", "X", NULL, "rescale to this norm (default: as it comes)", OSV_OPTION_NUMBER, FIELD(norm),
     .low = 0, .high = INFINITY},
    {"layer", "L", NULL, "it enters block L (default: the one in the files)", OSV_OPTION_INT, FIELD(layer),
     .low = 0, .high = OSV_MAX_BLOCKS - 1},
    {"force", NULL, NULL, "replace --out; put together what differs in model, layer or form", OSV_OPTION_FLAG,
     FIELD(force)},
    LAST_OPTIONS("one JSON object about the result"),
    {0},
};

static const osv_option cosine_table[] = {
    {"csv", "FILE", NULL, "the table as CSV as well; -: on standard output, in place of the text",
     OSV_OPTION_TEXT, FIELD(csv), .group = "Table:"},
    LAST_OPTIONS("one JSON object with files and matrix"),
    {0},
};

static const osv_option norm_table[] = {
    LAST_OPTIONS("one JSON object a line for each file"),
    {0},
};

static const osv_option show_table[] = {
    {"top", "N", "8", "largest components shown of a vector", OSV_OPTION_INT, FIELD(top), .low = 0,
     .high = INT_MAX, .group = "What is shown:"},
    LAST_OPTIONS("one JSON object a line for each file"),
    {0},
};

static const char exit_status[] = "\nExit status: 0 done, 2 usage, 3 bad input, 4 memory.\n";

static const struct {
    const char *name, *line; /* for the list of verbs */
    const osv_option *table;
    const char *head, *tail;
} verbs[VECTOR_VERBS] = {
    {"mean", "(weighted) mean of vectors, as a vector file", make_table,
     "osv-vector mean FILE[:WEIGHT]... --out FILE [options]\n\n"
     "Writes the mean of the vectors: the sum of each times its weight (default 1) over the sum of the\n"
     "weights.\n",
     "\nThe vectors must have one length, one layer (or --layer), one model and one form (add, clamp,\n"
     "ablate). With --force they need not: what then differs is not recorded, the form is the first's.\n"},
    {"sum", "(weighted) sum of vectors, as a vector file", make_table,
     "osv-vector sum FILE[:WEIGHT]... --out FILE [options]\n\n"
     "Writes the sum of the vectors, each times its weight (default 1): a.safetensors b.safetensors:-1 is\n"
     "their difference.\n",
     "\nThe vectors must have one length, one layer (or --layer), one model and one form (add, clamp,\n"
     "ablate). With --force they need not: what then differs is not recorded, the form is the first's.\n"},
    {"cosine", "cosine of the angle between each two vectors", cosine_table,
     "osv-vector cosine FILE... [options]\n\n"
     "Prints the cosine of the angle between each two of the vectors.\n",
     "\nA vector of zeros has no direction: nan, null in JSON.\n"},
    {"norm", "euclidean norm of each vector", norm_table,
     "osv-vector norm FILE... [options]\n\n"
     "Prints a line for each file: the euclidean norm of its vector, and its name.\n",
     ""},
    {"show", "everything in the files", show_table,
     "osv-vector show FILE... [options]\n\n"
     "Prints what is in the files: tensors with their shapes and norms, the largest components of vectors\n"
     "as index: value, and the metadata. Any safetensors file will do.\n",
     ""},
};

const char *vector_verb_name(vector_verb verb)
{
    return verbs[verb].name;
}

/* "mean, sum, ..." */
static const char *all_verbs(char *text, size_t room)
{
    size_t used = 0;
    for (int v = 0; v < VECTOR_VERBS; v++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", v ? ", " : "", verbs[v].name);
    return text;
}

static int find_verb(vector_options *o, const char *name, osv_error *e)
{
    char known[80];
    for (int v = 0; v < VECTOR_VERBS; v++) {
        if (strcmp(verbs[v].name, name) != 0) continue;
        o->verb = (vector_verb)v;
        return OSV_OK;
    }
    return OSV_FAIL(e, OSV_USAGE, "%s: there is no such verb; known are %s", name,
                    all_verbs(known, sizeof known));
}

static int check(const vector_options *o, osv_error *e)
{
    bool makes = o->verb == VECTOR_MEAN || o->verb == VECTOR_SUM;
    if (o->files == 0) return OSV_FAIL(e, OSV_USAGE, "no files: osv-vector %s FILE...", verbs[o->verb].name);
    if (o->json && o->csv && strcmp(o->csv, "-") == 0)
        return OSV_FAIL(e, OSV_USAGE, "--csv - and --json cannot both have standard output");
    if (!makes) return OSV_OK;
    if (!o->out) return OSV_FAIL(e, OSV_USAGE, "--out is missing: the vector file that is written");
    if (!o->force && osv_path_exists(o->out))
        return OSV_FAIL(e, OSV_USAGE,
                        "--out %s: is there already; choose another name, or replace it with --force",
                        o->out);
    return OSV_OK;
}

int vector_options_parse(vector_options *o, int argc, char **argv, osv_error *e)
{
    char known[80];
    *o = (vector_options){.verb = VECTOR_VERBS, .norm = -1, .layer = -1};
    if (argc < 2)
        return OSV_FAIL(e, OSV_USAGE, "the verb is missing: one of %s", all_verbs(known, sizeof known));
    o->help = argc == 2 && strcmp(argv[1], "--help") == 0;
    o->version = argc == 2 && strcmp(argv[1], "--version") == 0;
    if (o->help || o->version) return OSV_OK;
    OSV_TRY(find_verb(o, argv[1], e));
    o->file = calloc((size_t)argc, sizeof *o->file);
    if (!o->file) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    OSV_TRY(osv_options_parse_operands(verbs[o->verb].table, argc - 1, argv + 1, o, o->file, &o->files, e));
    return o->help || o->version ? OSV_OK : check(o, e);
}

void vector_options_free(vector_options *o)
{
    free(o->file);
    o->file = NULL;
}

void vector_options_help(FILE *out, vector_verb verb)
{
    if (verb < VECTOR_VERBS) {
        osv_options_help(out, verbs[verb].table, verbs[verb].head, verbs[verb].tail);
    } else {
        fputs("osv-vector VERB FILE... [options]\n\nVectors in files: put together, compared, shown.\n\n",
              out);
        for (int v = 0; v < VECTOR_VERBS; v++) fprintf(out, "  %-8s %s\n", verbs[v].name, verbs[v].line);
        fputs("\nosv-vector VERB --help lists the options of a verb.\n", out);
    }
    fputs(exit_status, out);
}
