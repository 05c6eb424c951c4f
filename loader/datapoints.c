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

static int check_length(const reader *r, int prompt, int completion, const char *what, osv_error *e)
{
    if (prompt + completion <= r->options->positions) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: %s: %d tokens of prompt and %d of completion make %d, the model takes at most %d",
                    r->where, what, prompt, completion, prompt + completion, r->options->positions);
}

static int check_ids(const reader *r, const osv_ids *ids, const char *what, osv_error *e)
{
    for (int i = 0; i < ids->count; i++)
        if (ids->data[i] < 0 || ids->data[i] >= r->options->V)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: the tokenizer gives id %d, the model has only %d",
                            r->where, what, ids->data[i], r->options->V);
    return OSV_OK;
}

static int check_tokens(const reader *r, const osv_joined *j, const char *what, osv_error *e)
{
    int completion = j->ids.count - j->prompt;
    if (completion <= 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s tokenizes to nothing", r->where, what);
    OSV_TRY(check_length(r, j->prompt, completion, what, e));
    return check_ids(r, &j->ids, what, e);
}

static int add_joined(reader *r, osv_completion *c, osv_joined *j, const char *text, const char *what,
                      osv_error *e)
{
    OSV_TRY(check_tokens(r, j, what, e));
    if (j->warning) OSV_TRY(keep_warning(r->dataset, &j->warning, r->where, e));
    OSV_TRY(osv_completion_fill(c, r->point, j->ids.data, j->prompt, j->ids.data + j->prompt,
                                j->ids.count - j->prompt, r->where, e));
    if (text) return copy_string(&c->text, text, r->where, e);
    return osv_completion_show(c, r->options->tokenizer, e);
}

/* "data.jsonl:17: "promote"[0]"; the caller frees it, NULL after a failure. */
static int name_place(char **where, const reader *r, const char *what, osv_error *e)
{
    if (asprintf(where, "%s: %s", r->where, what) >= 0) return OSV_OK;
    *where = NULL;
    return no_memory(r->where, e);
}

static int add_given(reader *r, osv_completion *c, const json_t *value, const char *what, osv_error *e)
{
    osv_ids ids = {0};
    osv_source source;
    osv_joined joined = {0};
    char *where = NULL;
    int status = osv_source_read(&source, &ids, value, &r->text, r->where, what, e);
    if (!status) status = name_place(&where, r, what, e);
    if (!status)
        status = osv_join(&joined, r->options->tokenizer, r->options->boundary, osv_prompt_source(&r->prompt),
                          &r->prompt.ids, source, where, e);
    if (!status) status = add_joined(r, c, &joined, source.text, what, e);
    osv_joined_free(&joined);
    osv_ids_free(&ids);
    free(where);
    return status;
}

/* Zeros, for tokens that are not known yet. */
static int add_zeros(reader *r, osv_completion *c, int count, const char *what, osv_error *e)
{
    const osv_ids *prompt = &r->prompt.ids;
    OSV_TRY(check_length(r, prompt->count, count, what, e));
    int *zeros = calloc((size_t)count, sizeof *zeros);
    if (!zeros) return no_memory(r->where, e);
    int status = osv_completion_fill(c, r->point, prompt->data, prompt->count, zeros, count, r->where, e);
    free(zeros);
    return status;
}

/* "match": true is what the teacher will write. "anchor": true is the prompt: nothing is computed at a last
 * token, so that one more stands behind it, whichever it is. */
static int add_itself(reader *r, osv_completion *c, const char *what, osv_error *e)
{
    c->unwritten = c->kind == OSV_COMPLETION_MATCH;
    OSV_TRY(add_zeros(r, c, c->unwritten ? r->options->match_tokens : 1, what, e));
    if (!c->unwritten) c->scored = 1;
    return OSV_OK;
}

/* The prompt with nothing behind it. */
static int add_prompt(reader *r, osv_error *e)
{
    const osv_ids *prompt = &r->prompt.ids;
    osv_completion *c = r->point->completion = calloc(1, sizeof *c);
    if (!c) return no_memory(r->where, e);
    c->weight = 1;
    r->point->completions = 1;
    OSV_TRY(check_length(r, prompt->count, 0, "the prompt", e));
    OSV_TRY(check_ids(r, prompt, "the prompt", e));
    return osv_completion_fill(c, r->point, prompt->data, prompt->count, prompt->data, 0, r->where, e);
}

static int check_array(const reader *r, const json_t *list, const char *spelling, bool itself, osv_error *e)
{
    char shown[64];
    if (!list || json_is_array(list) || (itself && json_is_boolean(list))) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an array%s, not %s", r->where, spelling,
                    itself ? " or true" : "", osv_json_show(list, shown, sizeof shown));
}

/* A list that is missing, or an array with `count` entries. */
static int check_beside(const reader *r, const json_t *list, const char *spelling, const char *of,
                        size_t count, osv_error *e)
{
    OSV_TRY(check_array(r, list, spelling, false, e));
    if (list && json_array_size(list) != count)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" has %zu entries, \"%s\" has %zu completions", r->where,
                        spelling, json_array_size(list), of, count);
    return OSV_OK;
}

/* What stands beside a completion in another list: entry i of it, NULL where there is none. */
static const json_t *beside(const json_t *list, size_t i)
{
    const json_t *value = json_array_get(list, i);
    return json_is_null(value) ? NULL : value;
}

static int read_weight(osv_completion *c, const json_t *value, const char *what, const char *where,
                       osv_error *e)
{
    char shown[64];
    if (!value) return OSV_OK;
    c->weight = json_is_number(value) ? json_number_value(value) : -1;
    if (c->weight >= 0 && c->weight <= 1e6) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s must be a number from 0 to 1e6, or null, not %s", where, what,
                    osv_json_show(value, shown, sizeof shown));
}

static int read_target(const reader *r, osv_completion *c, const json_t *value, const char *what,
                       osv_error *e)
{
    char *where;
    if (!value) return OSV_OK;
    OSV_TRY(name_place(&where, r, what, e));
    int status = osv_target_read(&c->target, &c->under, value, &r->text, where, e);
    int count = c->under.count + c->count - c->prompt;
    if (!status && c->under.count && count > r->options->positions)
        status = OSV_FAIL(e, OSV_BAD_INPUT,
                          "%s: with the completion it makes %d tokens, the model takes at most %d", where,
                          count, r->options->positions);
    free(where);
    return status;
}

/* Entries of a list of completions; `true` is one. */
static size_t entries(const json_t *list)
{
    return json_is_true(list) ? 1 : json_array_size(list);
}

/* The completions of one kind, their targets and weights. */
static int read_list(reader *r, osv_completion_kind kind, const json_t *list, osv_error *e)
{
    const osv_completion_list *keys = &osv_completion_lists[kind];
    const char *spelling, *targets_spelling, *weights_spelling;
    osv_datapoint_value(r->json, keys->name, &spelling);
    const json_t *targets = osv_datapoint_value(r->json, keys->targets, &targets_spelling);
    const json_t *weights = osv_datapoint_value(r->json, keys->weights, &weights_spelling);
    size_t count = entries(list);
    OSV_TRY(check_beside(r, targets, targets_spelling, spelling, count, e));
    OSV_TRY(check_beside(r, weights, weights_spelling, spelling, count, e));
    for (size_t i = 0; i < count; i++) {
        osv_completion *c = &r->point->completion[r->point->completions++];
        char what[64];
        *c = (osv_completion){.kind = kind, .weight = 1};
        snprintf(what, sizeof what, json_is_true(list) ? "\"%s\"" : "\"%s\"[%zu]", spelling, i);
        OSV_TRY(json_is_true(list) ? add_itself(r, c, what, e)
                                   : add_given(r, c, json_array_get(list, i), what, e));
        snprintf(what, sizeof what, "\"%s\"[%zu]", targets_spelling, i);
        OSV_TRY(read_target(r, c, beside(targets, i), what, e));
        snprintf(what, sizeof what, "\"%s\"[%zu]", weights_spelling, i);
        OSV_TRY(read_weight(c, beside(weights, i), what, r->where, e));
    }
    return OSV_OK;
}

/* "promote_from_beam"; NULL: the datapoint wants nothing of a beam search. */
static const json_t *beam_wish(const reader *r)
{
    static const char key[] = "promote_from_beam";
    const json_t *value = json_object_get(r->json, key);
    if (!value || json_is_null(value)) return r->options->beam ? json_true() : NULL;
    return json_is_false(value) ? NULL : value;
}

static int copy_ids(osv_ids *to, const osv_ids *from, osv_error *e)
{
    for (int i = 0; i < from->count; i++) OSV_TRY(osv_ids_push(to, from->data[i], e));
    return OSV_OK;
}

static int read_beam(reader *r, const json_t *value, osv_error *e)
{
    static const char what[] = "\"promote_from_beam\"";
    int tokens = r->options->beam_tokens;
    char *where;
    osv_completion *c = &r->point->completion[r->point->completions++];
    *c = (osv_completion){.kind = OSV_COMPLETION_PROMOTE, .weight = 1, .unwritten = true};
    c->beam = calloc(1, sizeof *c->beam);
    if (!c->beam) return no_memory(r->where, e);
    OSV_TRY(add_zeros(r, c, tokens, what, e));
    OSV_TRY(name_place(&where, r, what, e));
    int status = osv_beam_wish_read(c->beam, &c->target, value, &r->text, where, e);
    free(where);
    if (!status && c->target.kind != OSV_TARGET_NONE) status = copy_ids(&c->under, &c->beam->prompt, e);
    if (!status) status = check_length(r, c->beam->prompt.count, tokens, what, e);
    if (!status) status = check_length(r, c->beam->minus.count, tokens, what, e);
    return status;
}

/* ---- pairs ---- */

static int add_paired(reader *r, const json_t *pair, osv_completion_kind kind, size_t i, osv_error *e)
{
    const char *name = osv_completion_lists[kind].name;
    const json_t *value = json_object_get(pair, name), *weight = json_object_get(pair, "weight");
    osv_completion *c = &r->point->completion[r->point->completions++];
    char what[64];
    *c = (osv_completion){.kind = kind, .weight = 1};
    snprintf(what, sizeof what, "\"prefer\"[%zu]", i);
    if (!value) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: \"%s\" is missing", r->where, what, name);
    snprintf(what, sizeof what, "\"prefer\"[%zu].\"%s\"", i, name);
    OSV_TRY(add_given(r, c, value, what, e));
    snprintf(what, sizeof what, "\"prefer\"[%zu].\"weight\"", i);
    OSV_TRY(read_weight(c, json_is_null(weight) ? NULL : weight, what, r->where, e));
    c->opposite = malloc((size_t)c->count * sizeof *c->opposite);
    if (!c->opposite) return no_memory(r->where, e);
    for (int t = 0; t < c->count; t++) c->opposite[t] = (signed char)-c->steer[t];
    return OSV_OK;
}

static int read_pair(reader *r, const json_t *pair, size_t i, osv_error *e)
{
    char what[64], shown[64], *where;
    double beta = NAN;
    snprintf(what, sizeof what, "\"prefer\"[%zu]", i);
    if (!json_is_object(pair))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s must be {\"chosen\": .., \"rejected\": ..}, not %s",
                        r->where, what, osv_json_show(pair, shown, sizeof shown));
    OSV_TRY(name_place(&where, r, what, e));
    int status = osv_json_keys(pair, "chosen, rejected, beta, weight", where, e);
    if (!status) status = osv_json_number(pair, "beta", false, &beta, where, e);
    if (!status && beta <= 0)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"beta\" is %g; it must be above 0", where, beta);
    free(where);
    OSV_TRY(status);
    for (int k = OSV_COMPLETION_CHOSEN; k <= OSV_COMPLETION_REJECTED; k++) {
        OSV_TRY(add_paired(r, pair, (osv_completion_kind)k, i, e));
        r->point->completion[r->point->completions - 1].beta = beta;
    }
    return OSV_OK;
}

static bool in_stage(osv_stage stage, int kind)
{
    return stage == OSV_STAGE_ONLY || osv_completion_lists[kind].whole == (stage == OSV_STAGE_LATE);
}

static int no_completions(const char *where, osv_error *e)
{
    char names[256] = "";
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) {
        size_t used = strlen(names);
        if (osv_completion_lists[k].paired) continue;
        snprintf(names + used, sizeof names - used, "%s\"%s\"", k == 0 ? "" : ", ",
                 osv_completion_lists[k].name);
    }
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: none of %s, \"prefer\" has a completion", where, names);
}

static int read_completions(reader *r, osv_error *e)
{
    osv_stage stage = r->options->stage;
    const json_t *list[OSV_COMPLETION_KINDS] = {NULL}, *beam = beam_wish(r);
    const char *spelling;
    const json_t *pairs = osv_datapoint_value(r->json, "prefer", &spelling);
    OSV_TRY(check_array(r, pairs, spelling, false, e));
    size_t all = 2 * json_array_size(pairs) + (beam ? 1 : 0), count = all;
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) {
        if (osv_completion_lists[k].paired) continue;
        list[k] = osv_datapoint_value(r->json, osv_completion_lists[k].name, &spelling);
        OSV_TRY(check_array(r, list[k], spelling, osv_completion_lists[k].itself, e));
        all += entries(list[k]);
    }
    if (all == 0) return r->options->prompt_alone ? add_prompt(r, e) : no_completions(r->where, e);
    if (stage == OSV_STAGE_LATE && entries(list[OSV_COMPLETION_MATCH]) == 0 &&
        all > entries(list[OSV_COMPLETION_ANCHOR]))
        list[OSV_COMPLETION_MATCH] = json_true();
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) count += in_stage(stage, k) ? entries(list[k]) : 0;
    if (count > INT_MAX) return no_memory(r->where, e);
    r->point->completion = calloc(count + 1, sizeof *r->point->completion);
    if (!r->point->completion) return no_memory(r->where, e);
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) {
        if (osv_completion_lists[k].paired || !in_stage(stage, k)) continue;
        OSV_TRY(read_list(r, (osv_completion_kind)k, list[k], e));
        if (k == OSV_COMPLETION_PROMOTE && beam) OSV_TRY(read_beam(r, beam, e));
    }
    for (size_t i = 0; i < json_array_size(pairs) && in_stage(stage, OSV_COMPLETION_CHOSEN); i++)
        OSV_TRY(read_pair(r, json_array_get(pairs, i), i, e));
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

static void free_point(osv_datapoint *p)
{
    for (int c = 0; c < p->completions; c++) {
        free(p->completion[c].ids);
        free(p->completion[c].steer);
        free(p->completion[c].opposite);
        free(p->completion[c].text);
        osv_ids_free(&p->completion[c].under);
        if (p->completion[c].beam) osv_beam_wish_free(p->completion[c].beam);
        free(p->completion[c].beam);
    }
    free(p->completion);
    free(p->id);
    free(p->job);
    free(p->positions);
    free(p->prompt);
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
    if (!status && r.point->completions == 0) free_point(&r.dataset->point[--r.dataset->count]);
    return status;
}

static int no_datapoints(const char *path, osv_stage stage, osv_error *e)
{
    if (stage == OSV_STAGE_ONLY)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: no datapoints; expected one JSON object a line", path);
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: no datapoint has a completion for the %s stage", path,
                    stage == OSV_STAGE_EARLY ? "early" : "late");
}

int osv_dataset_read(osv_dataset **out, const char *path, const osv_dataset_options *options, osv_error *e)
{
    *out = NULL;
    int lines;
    osv_dataset *d = calloc(1, sizeof *d);
    reader r = {.options = options,
                .dataset = d,
                .text = {.tokenizer = options->tokenizer,
                         .tokenizer_missing = options->tokenizer_missing,
                         .chat = options->chat,
                         .chat_missing = options->chat_missing,
                         .V = options->V}};
    int status = d ? osv_json_lines(path, read_line, &r, &lines, e) : no_memory(path, e);
    if (!status && d->count == 0)
        status = no_datapoints(path, lines == 0 ? OSV_STAGE_ONLY : options->stage, e);
    if (status)
        osv_dataset_free(d);
    else
        *out = d;
    return status;
}

void osv_dataset_free(osv_dataset *d)
{
    if (!d) return;
    for (int i = 0; i < d->count; i++) free_point(&d->point[i]);
    free(d->point);
    for (int i = 0; i < d->warnings; i++) free(d->warning[i]);
    free(d->warning);
    free(d);
}
