#include "loader/datapoints.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/json_lines.h"
#include "loader/prompts.h"

enum { JOB_BYTES = 128 }; /* a job's name becomes a file name, of which systems allow 255 bytes */

/* One line while it is read. */
typedef struct {
    const osv_dataset_options *options;
    osv_dataset *dataset;
    osv_datapoint *point; /* being filled */
    const json_t *json;
    const char *where; /* "data.jsonl:17" */
    osv_prompt_options text;
    osv_prompt_line prompt;
} reader;

static int no_memory(const char *where, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
}

static int copy_string(char **out, const char *text, const char *where, osv_error *e)
{
    *out = strdup(text);
    return *out ? OSV_OK : no_memory(where, e);
}

/* The text of ids, for people to read; NULL without a tokenizer. */
static int show_ids(char **text, const osv_tokenizer *t, const int *ids, int count, osv_error *e)
{
    *text = NULL;
    return t ? osv_tokenizer_decode(t, ids, count, false, text, NULL, e) : OSV_OK;
}

/* ---- completions ---- */

static int keep_warning(osv_dataset *d, char **warning, const char *where, osv_error *e)
{
    char **wider = realloc(d->warning, ((size_t)d->warnings + 1) * sizeof *wider);
    if (!wider) return no_memory(where, e);
    d->warning = wider;
    d->warning[d->warnings++] = *warning;
    *warning = NULL;
    return OSV_OK;
}

static int check_tokens(const reader *r, const osv_joined *j, const char *what, osv_error *e)
{
    const osv_dataset_options *o = r->options;
    int completion = j->ids.count - j->prompt;
    if (completion <= 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s tokenizes to nothing", r->where, what);
    if (j->ids.count > o->positions)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: %s: %d tokens of prompt and %d of completion make %d, the model takes at most %d", r->where,
            what, j->prompt, completion, j->ids.count, o->positions);
    for (int i = 0; i < j->ids.count; i++)
        if (j->ids.data[i] < 0 || j->ids.data[i] >= o->V)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: the tokenizer gives id %d, the model has only %d",
                            r->where, what, j->ids.data[i], o->V);
    return OSV_OK;
}

/* Copies the ids and lays the mask over them. */
static int fill_completion(osv_completion *c, const reader *r, const osv_joined *j, osv_error *e)
{
    size_t count = (size_t)j->ids.count;
    c->count = j->ids.count;
    c->prompt = j->prompt;
    c->ids = malloc(count * sizeof *c->ids);
    c->steer = malloc(count * sizeof *c->steer);
    if (!c->ids || !c->steer) return no_memory(r->where, e);
    memcpy(c->ids, j->ids.data, count * sizeof *c->ids);
    OSV_TRY(osv_positions_mask(r->point->positions, c->prompt, c->count, c->steer, r->where, e));
    if (r->point->negative)
        for (int i = 0; i < c->count; i++) c->steer[i] = (signed char)-c->steer[i];
    return OSV_OK;
}

static int add_joined(reader *r, osv_completion *c, osv_joined *j, const char *text, const char *what,
                      osv_error *e)
{
    OSV_TRY(check_tokens(r, j, what, e));
    if (j->warning) OSV_TRY(keep_warning(r->dataset, &j->warning, r->where, e));
    OSV_TRY(fill_completion(c, r, j, e));
    if (text) return copy_string(&c->text, text, r->where, e);
    return show_ids(&c->text, r->options->tokenizer, c->ids + c->prompt, c->count - c->prompt, e);
}

static int add_completion(reader *r, const json_t *value, osv_completion_kind kind, double target,
                          const char *what, osv_error *e)
{
    osv_completion *c = &r->point->completion[r->point->completions++];
    *c = (osv_completion){.kind = kind, .target = target};
    osv_ids ids = {0};
    osv_source source;
    osv_joined joined = {0};
    char *where = NULL;
    int status = osv_source_read(&source, &ids, value, &r->text, r->where, what, e);
    if (!status && asprintf(&where, "%s: %s", r->where, what) < 0) {
        where = NULL;
        status = no_memory(r->where, e);
    }
    if (!status)
        status = osv_join(&joined, r->options->tokenizer, r->options->boundary, osv_prompt_source(&r->prompt),
                          &r->prompt.ids, source, where, e);
    if (!status) status = add_joined(r, c, &joined, source.text, what, e);
    osv_joined_free(&joined);
    osv_ids_free(&ids);
    free(where);
    return status;
}

/* Number i of a list that stands beside the completions; what is not there, or null, leaves *x as it is. */
static int read_number(double *x, const json_t *list, size_t i, const char *spelling, const char *where,
                       osv_error *e)
{
    const json_t *value = json_array_get(list, i);
    if (!value || json_is_null(value)) return OSV_OK;
    char shown[64];
    if (!json_is_number(value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\"[%zu] must be a number or null, not %s", where, spelling,
                        i, osv_json_show(value, shown, sizeof shown));
    *x = json_number_value(value);
    return OSV_OK;
}

/* A list that is missing, or an array with `count` entries. */
static int check_list(const reader *r, const json_t *list, const char *spelling, const char *of, size_t count,
                      osv_error *e)
{
    char shown[64];
    if (list && !json_is_array(list))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an array, not %s", r->where, spelling,
                        osv_json_show(list, shown, sizeof shown));
    if (list && json_array_size(list) != count)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" has %zu entries, \"%s\" has %zu completions", r->where,
                        spelling, json_array_size(list), of, count);
    return OSV_OK;
}

/* The completions of one kind, their targets and weights. */
static int read_list(reader *r, osv_completion_kind kind, osv_error *e)
{
    const osv_completion_list *keys = &osv_completion_lists[kind];
    const char *spelling, *targets_spelling, *weights_spelling;
    const json_t *list = osv_datapoint_value(r->json, keys->name, &spelling);
    const json_t *targets = osv_datapoint_value(r->json, keys->targets, &targets_spelling);
    const json_t *weights = osv_datapoint_value(r->json, keys->weights, &weights_spelling);
    size_t count = json_array_size(list);
    OSV_TRY(check_list(r, list, spelling, spelling, count, e));
    OSV_TRY(check_list(r, targets, targets_spelling, spelling, count, e));
    OSV_TRY(check_list(r, weights, weights_spelling, spelling, count, e));
    for (size_t i = 0; i < count; i++) {
        double target = NAN, weight = 1;
        char what[64];
        snprintf(what, sizeof what, "\"%s\"[%zu]", spelling, i);
        OSV_TRY(read_number(&target, targets, i, targets_spelling, r->where, e));
        OSV_TRY(read_number(&weight, weights, i, weights_spelling, r->where, e));
        if (!(weight >= 0 && weight <= 1e6))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\"[%zu] is %g; a weight is a number from 0 to 1e6",
                            r->where, weights_spelling, i, weight);
        OSV_TRY(add_completion(r, json_array_get(list, i), kind, target, what, e));
        r->point->completion[r->point->completions - 1].weight = weight;
    }
    return OSV_OK;
}

static int read_completions(reader *r, osv_error *e)
{
    const char *spelling;
    size_t count = 0;
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++)
        count += json_array_size(osv_datapoint_value(r->json, osv_completion_lists[k].name, &spelling));
    if (count > INT_MAX) return no_memory(r->where, e);
    r->point->completion = calloc(count + 1, sizeof *r->point->completion);
    if (!r->point->completion) return no_memory(r->where, e);
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) OSV_TRY(read_list(r, (osv_completion_kind)k, e));
    if (count == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: neither \"promote\" nor \"suppress\" has a completion",
                        r->where);
    return OSV_OK;
}

/* ---- names ---- */

int osv_job_name_check(const char *name, const char *key, osv_error *e)
{
    const char *bad = NULL;
    if (*name == '\0') bad = "is empty";
    if (strlen(name) > JOB_BYTES) bad = "is longer than 128 bytes";
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) bad = "is a folder's name";
    for (const unsigned char *c = (const unsigned char *)name; *c && !bad; c++) {
        if (*c == '/') bad = "has a slash";
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) bad = "has a control character";
    }
    if (!bad) return OSV_OK;
    json_t *quoted = json_string(name); /* shown with its control characters escaped */
    char shown[64];
    int status = OSV_FAIL(e, OSV_BAD_INPUT, "\"%s\" %s %s; it names the vector's file", key,
                          osv_json_show(quoted, shown, sizeof shown), bad);
    json_decref(quoted);
    return status;
}

static int read_names(reader *r, osv_error *e)
{
    osv_datapoint *p = r->point;
    char line[32];
    snprintf(line, sizeof line, "line %d", p->line);
    const char *id = line, *job = "all", *positions = r->options->default_positions;
    if (!positions) positions = "all";
    OSV_TRY(osv_json_string(r->json, "id", false, &id, r->where, e));
    OSV_TRY(osv_json_string(r->json, "job", false, &job, r->where, e));
    OSV_TRY(osv_json_string(r->json, "positions", false, &positions, r->where, e));
    const char *spelling;
    osv_datapoint_value(r->json, "negative", &spelling);
    OSV_TRY(osv_json_bool(r->json, spelling, false, &p->negative, r->where, e));
    osv_error of_name = {0};
    if (osv_job_name_check(job, "job", &of_name))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s", r->where, of_name.text);
    OSV_TRY(copy_string(&p->id, id, r->where, e));
    OSV_TRY(copy_string(&p->job, job, r->where, e));
    return copy_string(&p->positions, positions, r->where, e);
}

/* ---- lines ---- */

static int add_point(osv_dataset *d, int line, const char *where, osv_error *e)
{
    if ((d->count & (d->count - 1)) == 0) { /* room doubles at powers of two */
        size_t room = d->count ? 2 * (size_t)d->count : 1;
        osv_datapoint *wider = realloc(d->point, room * sizeof *wider);
        if (!wider) return no_memory(where, e);
        d->point = wider;
    }
    d->point[d->count++] = (osv_datapoint){.line = line};
    return OSV_OK;
}

/* The osv_json_line of the file. */
static int read_line(void *context, json_t *json, int line, const char *where, osv_error *e)
{
    reader r = *(const reader *)context;
    r.json = json;
    r.where = where;
    OSV_TRY(osv_datapoint_keys_check(json, where, e));
    OSV_TRY(add_point(r.dataset, line, where, e));
    r.point = &r.dataset->point[r.dataset->count - 1];
    int status = read_names(&r, e);
    if (!status) status = osv_prompt_read(&r.prompt, json, &r.text, where, e);
    if (!status) status = read_completions(&r, e);
    r.point->prompt = r.prompt.text; /* the point's from here */
    r.point->chat = r.prompt.chat;
    r.prompt.text = NULL;
    osv_prompt_line_free(&r.prompt);
    return status;
}

int osv_dataset_read(osv_dataset **out, const char *path, const osv_dataset_options *options, osv_error *e)
{
    *out = NULL;
    int count;
    osv_dataset *d = calloc(1, sizeof *d);
    reader r = {.options = options,
                .dataset = d,
                .text = {.tokenizer = options->tokenizer,
                         .tokenizer_missing = options->tokenizer_missing,
                         .chat = options->chat,
                         .chat_missing = options->chat_missing,
                         .V = options->V}};
    int status = d ? osv_json_lines(path, read_line, &r, &count, e) : no_memory(path, e);
    if (!status && count == 0)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: no datapoints; expected one JSON object a line", path);
    if (status)
        osv_dataset_free(d);
    else
        *out = d;
    return status;
}

void osv_dataset_free(osv_dataset *d)
{
    if (!d) return;
    for (int i = 0; i < d->count; i++) {
        osv_datapoint *p = &d->point[i];
        for (int c = 0; c < p->completions; c++) {
            free(p->completion[c].ids);
            free(p->completion[c].steer);
            free(p->completion[c].text);
        }
        free(p->completion);
        free(p->id);
        free(p->job);
        free(p->positions);
        free(p->prompt);
    }
    free(d->point);
    for (int i = 0; i < d->warnings; i++) free(d->warning[i]);
    free(d->warning);
    free(d);
}
