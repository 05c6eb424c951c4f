#include "tools/train_names.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/text.h"
#include "tools/train_job_words.h"

/* With ".safetensors" and what a temporary file has behind it, below the 255 bytes that systems allow. */
enum { NAME_BYTES = 200 };

/* ---- what varies ---- */

/* Which options have more than one value; unnamed: among the jobs whose configuration has no name. */
static void find_varying(bool *varies, const train_jobs *t, bool unnamed)
{
    train_options o;
    json_t *first[TRAIN_JOB_OPTIONS] = {NULL};
    for (int j = 0; j < t->jobs; j++) {
        if (unnamed && t->origin[j].line->name) continue;
        train_job_options_of(&o, t, j);
        for (int k = 0; k < TRAIN_JOB_OPTIONS; k++) {
            if (varies[k]) continue;
            json_t *value = train_job_value(&o, k);
            if (!first[k]) first[k] = json_incref(value);
            varies[k] = !json_equal(first[k], value);
            json_decref(value);
        }
    }
    for (int k = 0; k < TRAIN_JOB_OPTIONS; k++) json_decref(first[k]);
}

/* With a name of its own a configuration needs to tell only its own jobs apart. */
static bool varies_within(const train_options *o, const char *option)
{
    if (strcmp(option, "layer") == 0) return o->layers > 1;
    if (strcmp(option, "seed") == 0) return o->seeds.count > 1;
    if (strcmp(option, "max-norm") == 0) return o->max_norm.count > 1;
    if (strcmp(option, "lr") == 0) return o->lr.count > 1;
    return strcmp(option, "init-norm") == 0 && o->init_norm.count > 1;
}

/* ---- a name ---- */

/* Text in a file name: of a path its last part, without the ending of vector files. */
static void print_text(FILE *out, const char *text)
{
    static const char ending[] = ".safetensors";
    const char *slash = strrchr(text, '/');
    if (slash) text = slash + 1;
    size_t length = strlen(text), cut = sizeof ending - 1;
    if (length > cut && strcmp(text + length - cut, ending) == 0) length -= cut;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        fputc(c < 0x80 && (isalnum(c) || strchr("-_+,.", c)) ? c : '_', out);
    }
}

/* What is off, or not given, leaves no trace in a name. */
static void print_suffix(FILE *out, const char *prefix, const json_t *value)
{
    char text[OSV_NUMBER_ROOM];
    if (json_is_null(value) || json_is_false(value)) return;
    fprintf(out, ".%s", prefix);
    if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        fputs(osv_show_number(text, json_real_value(value)), out);
    else if (json_is_string(value))
        print_text(out, json_string_value(value));
}

/* tells: the options that tell jobs without a name of their own apart. */
static int make_name(train_jobs *t, int j, const bool *tells, osv_error *e)
{
    const train_origin *from = &t->origin[j];
    size_t bytes;
    FILE *out = open_memstream(&t->name[j], &bytes);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the names of the jobs");
    train_options o;
    train_job_options_of(&o, t, j);
    fputs(from->line->name ? from->line->name : from->group, out);
    for (int k = 0; k < TRAIN_JOB_OPTIONS; k++) {
        const train_job_option *option = &train_job_options[k];
        if (!(from->line->name ? varies_within(&from->line->options, option->option) : tells[k])) continue;
        json_t *value = train_job_value(&o, k);
        print_suffix(out, option->prefix, value);
        json_decref(value);
    }
    if (fclose(out)) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the names of the jobs");
    t->job[j].name = t->name[j];
    if (bytes <= NAME_BYTES) return OSV_OK;
    osv_error cause = {0};
    OSV_FAIL(&cause, OSV_USAGE,
             "its name \"%.60s...\" would have %zu bytes, at most %d can be in a file name; "
             "shorten \"job\", or give a \"name\" in --sweep",
             t->name[j], bytes, NAME_BYTES);
    return train_line_fail(t->sweep, from->line, &cause, e);
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b, void *context)
{
    const train_jobs *t = context;
    int i = *(const int *)a, j = *(const int *)b, order = strcmp(t->name[i], t->name[j]);
    return order ? order : i - j;
}

static int fail_twice(const train_jobs *t, int first, int second, osv_error *e)
{
    const train_origin *a = &t->origin[first], *b = &t->origin[second];
    char name[512];
    osv_show_name(name, sizeof name, t->name[first]);
    if (b->line->line < a->line->line) { /* jobs go by the data's first, then by line */
        a = &t->origin[second];
        b = &t->origin[first];
    }
    osv_error cause = {0};
    if (a->line != b->line)
        OSV_FAIL(&cause, OSV_USAGE,
                 "makes a vector with the name %s, as line %d does; give one of them a \"name\" of its own",
                 name, a->line->line);
    else if (a->line->name)
        OSV_FAIL(&cause, OSV_USAGE,
                 "the name %s would go to the jobs %.80s and %.80s of the data; choose one of them with "
                 "\"job\"",
                 name, a->group, b->group);
    else
        OSV_FAIL(&cause, OSV_USAGE,
                 "the jobs %.80s and %.80s of the data both make a vector with the name %s; rename one of "
                 "them",
                 a->group, b->group, name);
    return train_line_fail(t->sweep, b->line, &cause, e);
}

static int check_unique(train_jobs *t, osv_error *e)
{
    int *order = malloc((size_t)t->jobs * sizeof *order), status = OSV_OK;
    if (!order) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the names of the jobs");
    for (int j = 0; j < t->jobs; j++) order[j] = j;
    qsort_r(order, (size_t)t->jobs, sizeof *order, by_name, t);
    for (int i = 1; i < t->jobs && !status; i++)
        if (strcmp(t->name[order[i - 1]], t->name[order[i]]) == 0)
            status = fail_twice(t, order[i - 1], order[i], e);
    free(order);
    return status;
}

int train_names_make(train_jobs *t, osv_error *e)
{
    bool tells[TRAIN_JOB_OPTIONS] = {false};
    find_varying(t->varies, t, false);
    find_varying(tells, t, true);
    for (int j = 0; j < t->jobs; j++) OSV_TRY(make_name(t, j, tells, e));
    return check_unique(t, e);
}
