#include "loader/datapoints.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/boundary.h"
#include "loader/file.h"
#include "loader/json.h"

static const size_t FILE_LIMIT = (size_t)1 << 31;
static const size_t LINE_LIMIT = (size_t)16 << 20;
enum { JOB_BYTES = 128 }; /* a job's name becomes a file name, of which systems allow 255 bytes */

/* One line while it is read. */
typedef struct {
    const osv_dataset_options *options;
    osv_dataset *dataset;
    osv_datapoint *point; /* being filled */
    const json_t *json;
    const char *where; /* "data.jsonl:17" */
    osv_source prompt;
    osv_ids prompt_ids;
} reader;

/* ---- keys ---- */

static const struct {
    const char *name, *alias; /* alias: the reference implementation's name */
} KEYS[] = {
    {"id", NULL},
    {"job", NULL},
    {"prompt", NULL},
    {"messages", NULL},
    {"prefill", NULL},
    {"promote", "dst_completions"},
    {"suppress", "src_completions"},
    {"promote_targets", "dst_completions_target_losses"},
    {"suppress_targets", "src_completions_target_losses"},
    {"positions", NULL},
    {"negative", "is_negative"},
};
enum { KEY_COUNT = sizeof KEYS / sizeof *KEYS };

static int check_keys(const json_t *json, const char *where, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        bool known = false;
        for (int i = 0; i < KEY_COUNT; i++) {
            bool alias = KEYS[i].alias && strcmp(key, KEYS[i].alias) == 0;
            if (alias && json_object_get(json, KEYS[i].name))
                return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" and \"%s\" are the same key; give one of them",
                                where, KEYS[i].name, key);
            known = known || alias || strcmp(key, KEYS[i].name) == 0;
        }
        if (!known)
            return OSV_FAIL(
                e, OSV_BAD_INPUT,
                "%s: unknown key \"%.80s\"; known are id, job, prompt, messages, prefill, promote, suppress, "
                "promote_targets, suppress_targets, positions, negative",
                where, key);
    }
    return OSV_OK;
}

/* The value of a key under its name or its alias, with the spelling that the line has; NULL: missing or null.
 */
static const json_t *value_of(const json_t *json, const char *name, const char **spelling)
{
    *spelling = name;
    const json_t *value = json_object_get(json, name);
    for (int i = 0; i < KEY_COUNT && !value; i++)
        if (KEYS[i].alias && strcmp(KEYS[i].name, name) == 0 &&
            (value = json_object_get(json, KEYS[i].alias)))
            *spelling = KEYS[i].alias;
    return json_is_null(value) ? NULL : value;
}

/* ---- text and ids ---- */

static int no_memory(const char *where, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
}

static int copy_string(char **out, const char *text, const char *where, osv_error *e)
{
    *out = strdup(text);
    return *out ? OSV_OK : no_memory(where, e);
}

static int read_ids(osv_ids *ids, const json_t *list, int V, const char *where, const char *what,
                    osv_error *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t id = json_integer_value(item);
        char shown[64];
        if (!json_is_integer(item) || id < 0 || id >= V)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: id %s at index %zu is not an integer from 0 to %d",
                            where, what, osv_json_show(item, shown, sizeof shown), i, V - 1);
        OSV_TRY(osv_ids_push(ids, (int)id, e));
    }
    return OSV_OK;
}

/* A prompt or a completion: a string, or {"ids": [..]}, which is put into *ids. */
static int read_source(osv_source *source, osv_ids *ids, const json_t *value, const osv_dataset_options *o,
                       const char *where, const char *what, osv_error *e)
{
    *source = (osv_source){.ids = ids};
    if (json_is_string(value)) {
        source->text = json_string_value(value);
        if (!o->tokenizer)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: %s is text, but there is no tokenizer (%s); give {\"ids\": [..]}", where,
                            what, o->tokenizer_missing ? o->tokenizer_missing : "none was opened");
        return OSV_OK;
    }
    const json_t *list = json_object_get(value, "ids");
    char shown[64];
    if (!json_is_array(list) || json_object_size(value) != 1)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s must be a string or {\"ids\": [..]}, not %s", where, what,
                        osv_json_show(value, shown, sizeof shown));
    return read_ids(ids, list, o->V, where, what, e);
}

/* The text of ids, for people to read; NULL without a tokenizer. */
static int show_ids(char **text, const osv_tokenizer *t, const int *ids, int count, osv_error *e)
{
    *text = NULL;
    return t ? osv_tokenizer_decode(t, ids, count, false, text, NULL, e) : OSV_OK;
}

/* ---- prompt ---- */

static int read_prompt(reader *r, osv_error *e)
{
    const osv_dataset_options *o = r->options;
    const char *spelling;
    const json_t *prompt = value_of(r->json, "prompt", &spelling);
    if (value_of(r->json, "messages", &spelling))
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            prompt ? "%s: both \"prompt\" and \"messages\"; give one of them"
                   : "%s: \"messages\" need a chat format, which this version does not have yet; give the "
                     "rendered text as \"prompt\"",
            r->where);
    if (value_of(r->json, "prefill", &spelling))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"prefill\" belongs to \"messages\"; put it at the end of \"prompt\"", r->where);
    if (!prompt) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prompt\" is missing", r->where);
    OSV_TRY(read_source(&r->prompt, &r->prompt_ids, prompt, o, r->where, "\"prompt\"", e));
    if (r->prompt.text) {
        const char *text = r->prompt.text;
        OSV_TRY(osv_tokenizer_encode(o->tokenizer, text, strlen(text), true, &r->prompt_ids, e));
        OSV_TRY(copy_string(&r->point->prompt, text, r->where, e));
    } else {
        OSV_TRY(show_ids(&r->point->prompt, o->tokenizer, r->prompt_ids.data, r->prompt_ids.count, e));
    }
    if (r->prompt_ids.count == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prompt\" has no tokens%s", r->where,
                        r->prompt.text ? ", and the tokenizer puts none in front of a text" : "");
    return OSV_OK;
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

static int add_completion(reader *r, const json_t *value, bool suppress, double target, const char *what,
                          osv_error *e)
{
    osv_completion *c = &r->point->completion[r->point->completions++];
    *c = (osv_completion){.suppress = suppress, .target = target};
    osv_ids ids = {0};
    osv_source source;
    osv_joined joined = {0};
    char *where = NULL;
    int status = read_source(&source, &ids, value, r->options, r->where, what, e);
    if (!status && asprintf(&where, "%s: %s", r->where, what) < 0) {
        where = NULL;
        status = no_memory(r->where, e);
    }
    if (!status)
        status = osv_join(&joined, r->options->tokenizer, r->options->boundary, r->prompt, &r->prompt_ids,
                          source, where, e);
    if (!status) status = add_joined(r, c, &joined, source.text, what, e);
    osv_joined_free(&joined);
    osv_ids_free(&ids);
    free(where);
    return status;
}

/* The target of completion i, NaN where there is none. */
static int read_target(double *target, const json_t *targets, size_t i, const char *spelling,
                       const char *where, osv_error *e)
{
    *target = NAN;
    const json_t *value = json_array_get(targets, i);
    if (!value || json_is_null(value)) return OSV_OK;
    char shown[64];
    if (!json_is_number(value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\"[%zu] must be a number or null, not %s", where, spelling,
                        i, osv_json_show(value, shown, sizeof shown));
    *target = json_number_value(value);
    return OSV_OK;
}

/* The completions of "promote" or "suppress", and their targets. */
static int read_list(reader *r, const char *name, const char *targets_name, bool suppress, osv_error *e)
{
    const char *spelling, *targets_spelling;
    const json_t *list = value_of(r->json, name, &spelling);
    const json_t *targets = value_of(r->json, targets_name, &targets_spelling);
    char shown[64];
    if (list && !json_is_array(list))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an array, not %s", r->where, spelling,
                        osv_json_show(list, shown, sizeof shown));
    if (targets && !json_is_array(targets))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an array, not %s", r->where, targets_spelling,
                        osv_json_show(targets, shown, sizeof shown));
    size_t count = json_array_size(list);
    if (targets && json_array_size(targets) != count)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" has %zu entries, \"%s\" has %zu completions", r->where,
                        targets_spelling, json_array_size(targets), spelling, count);
    for (size_t i = 0; i < count; i++) {
        double target;
        char what[64];
        snprintf(what, sizeof what, "\"%s\"[%zu]", spelling, i);
        OSV_TRY(read_target(&target, targets, i, targets_spelling, r->where, e));
        OSV_TRY(add_completion(r, json_array_get(list, i), suppress, target, what, e));
    }
    return OSV_OK;
}

static int read_completions(reader *r, osv_error *e)
{
    const char *spelling;
    size_t count = json_array_size(value_of(r->json, "promote", &spelling)) +
                   json_array_size(value_of(r->json, "suppress", &spelling));
    if (count > INT_MAX) return no_memory(r->where, e);
    r->point->completion = calloc(count + 1, sizeof *r->point->completion);
    if (!r->point->completion) return no_memory(r->where, e);
    OSV_TRY(read_list(r, "promote", "promote_targets", false, e));
    OSV_TRY(read_list(r, "suppress", "suppress_targets", true, e));
    if (count == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: neither \"promote\" nor \"suppress\" has a completion",
                        r->where);
    return OSV_OK;
}

/* ---- names ---- */

static int check_job(const char *job, const char *where, osv_error *e)
{
    const char *bad = NULL;
    if (*job == '\0') bad = "is empty";
    if (strlen(job) > JOB_BYTES) bad = "is longer than 128 bytes";
    if (strcmp(job, ".") == 0 || strcmp(job, "..") == 0) bad = "is a folder's name";
    for (const unsigned char *c = (const unsigned char *)job; *c && !bad; c++) {
        if (*c == '/') bad = "has a slash";
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) bad = "has a control character";
    }
    if (!bad) return OSV_OK;
    json_t *quoted = json_string(job); /* shown with its control characters escaped */
    char shown[64];
    int status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"job\" %s %s; it names the vector's file", where,
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
    value_of(r->json, "negative", &spelling);
    OSV_TRY(osv_json_bool(r->json, spelling, false, &p->negative, r->where, e));
    OSV_TRY(check_job(job, r->where, e));
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

static int read_line(osv_dataset *d, const char *text, size_t bytes, const char *path, int line,
                     const osv_dataset_options *options, osv_error *e)
{
    char where[PATH_MAX + 16];
    snprintf(where, sizeof where, "%s:%d", path, line);
    json_t *json;
    OSV_TRY(osv_json_parse(&json, text, bytes, path, line, e));
    reader r = {.options = options, .dataset = d, .json = json, .where = where};
    int status = json_is_object(json)
                     ? OSV_OK
                     : OSV_FAIL(e, OSV_BAD_INPUT, "%s: a line must be one JSON object", where);
    if (!status) status = check_keys(json, where, e);
    if (!status) status = add_point(d, line, where, e);
    if (!status) {
        r.point = &d->point[d->count - 1];
        status = read_names(&r, e);
    }
    if (!status) status = read_prompt(&r, e);
    if (!status) status = read_completions(&r, e);
    osv_ids_free(&r.prompt_ids);
    json_decref(json);
    return status;
}

static bool blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!memchr(" \t\r", text[i], 3)) return false;
    return true;
}

static int read_lines(osv_dataset *d, const char *text, size_t bytes, const char *path,
                      const osv_dataset_options *options, osv_error *e)
{
    int line = 1;
    for (size_t at = 0; at < bytes; line++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        if (length > LINE_LIMIT)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: line of %zu bytes, at most %zu are read", path, line,
                            length, LINE_LIMIT);
        size_t bad = osv_utf8_check(text + at, length);
        if (bad < length)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d: invalid UTF-8 at byte %zu of the file (0x%02x)", path,
                            line, at + bad, (unsigned char)text[at + bad]);
        if (!blank(text + at, length)) OSV_TRY(read_line(d, text + at, length, path, line, options, e));
        at += length + 1;
    }
    return d->count ? OSV_OK
                    : OSV_FAIL(e, OSV_BAD_INPUT, "%s: no datapoints; expected one JSON object a line", path);
}

int osv_dataset_read(osv_dataset **out, const char *path, const osv_dataset_options *options, osv_error *e)
{
    *out = NULL;
    char *text;
    size_t bytes;
    OSV_TRY(osv_file_read(&text, &bytes, path, FILE_LIMIT, e));
    osv_dataset *d = calloc(1, sizeof *d);
    int status = d ? read_lines(d, text, bytes, path, options, e) : no_memory(path, e);
    free(text);
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
