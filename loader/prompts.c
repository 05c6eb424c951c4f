#include "loader/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapoint_keys.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/json_lines.h"

static int no_memory(const char *where, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
}

/* ---- text and ids ---- */

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

static int need_tokenizer(const osv_prompt_options *o, const char *where, const char *what, osv_error *e)
{
    if (o->tokenizer) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s is text, but there is no tokenizer (%s); give {\"ids\": [..]}",
                    where, what, o->tokenizer_missing ? o->tokenizer_missing : "none was opened");
}

int osv_source_read(osv_source *source, osv_ids *ids, const json_t *value, const osv_prompt_options *o,
                    const char *where, const char *what, osv_error *e)
{
    *source = (osv_source){.ids = ids};
    if (json_is_string(value)) {
        source->text = json_string_value(value);
        return need_tokenizer(o, where, what, e);
    }
    const json_t *list = json_object_get(value, "ids");
    char shown[64];
    if (!json_is_array(list) || json_object_size(value) != 1)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s must be a string or {\"ids\": [..]}, not %s", where, what,
                        osv_json_show(value, shown, sizeof shown));
    return read_ids(ids, list, o->V, where, what, e);
}

/* ---- a prompt ---- */

/* line->text -> line->ids */
static int encode(osv_prompt_line *line, const osv_prompt_options *o, const char *where, osv_error *e)
{
    OSV_TRY(
        osv_tokenizer_encode(o->tokenizer, line->text, strlen(line->text), !line->complete, &line->ids, e));
    for (int i = 0; i < line->ids.count; i++)
        if (line->ids.data[i] < 0 || line->ids.data[i] >= o->V)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: the prompt: the tokenizer gives id %d, the model has only %d", where,
                            line->ids.data[i], o->V);
    return OSV_OK;
}

static int read_messages(osv_prompt_line *line, const json_t *messages, const char *prefill,
                         const osv_prompt_options *o, const char *where, osv_error *e)
{
    OSV_TRY(need_tokenizer(o, where, "\"messages\"", e));
    if (!o->chat)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"messages\" need a chat format: %s", where,
                        o->chat_missing ? o->chat_missing : "none was opened");
    OSV_TRY(osv_chat_render(o->chat, messages, true, prefill, &line->text, where, e));
    line->chat = true;
    line->complete = !osv_chat_adds_special(o->chat);
    return encode(line, o, where, e);
}

static int read_raw(osv_prompt_line *line, const json_t *prompt, const osv_prompt_options *o,
                    const char *where, osv_error *e)
{
    osv_source source;
    OSV_TRY(osv_source_read(&source, &line->ids, prompt, o, where, "\"prompt\"", e));
    line->of_ids = !source.text;
    if (line->of_ids) /* for people to read */
        return o->tokenizer ? osv_tokenizer_decode(o->tokenizer, line->ids.data, line->ids.count, false,
                                                   &line->text, NULL, e)
                            : OSV_OK;
    line->text = strdup(source.text);
    return line->text ? encode(line, o, where, e) : no_memory(where, e);
}

static const json_t *value_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

int osv_prompt_read(osv_prompt_line *line, const json_t *object, const osv_prompt_options *o,
                    const char *where, osv_error *e)
{
    const json_t *prompt = value_of(object, "prompt"), *messages = value_of(object, "messages");
    const char *prefill = NULL;
    OSV_TRY(osv_json_string(object, "prefill", false, &prefill, where, e));
    if (prompt && messages)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: both \"prompt\" and \"messages\"; give one of them", where);
    if (prefill && !messages)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"prefill\" belongs to \"messages\"; put it at the end of \"prompt\"", where);
    if (!prompt && !messages) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prompt\" is missing", where);
    OSV_TRY(messages ? read_messages(line, messages, prefill, o, where, e)
                     : read_raw(line, prompt, o, where, e));
    if (line->ids.count == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prompt\" has no tokens%s", where,
                        json_is_string(prompt) ? ", and the tokenizer puts none in front of a text" : "");
    return OSV_OK;
}

void osv_prompt_line_free(osv_prompt_line *line)
{
    free(line->id);
    free(line->text);
    osv_ids_free(&line->ids);
    json_decref(line->json);
    *line = (osv_prompt_line){0};
}

int osv_prompt_ids(osv_ids *ids, const json_t *object, const osv_prompt_options *o, const char *where,
                   osv_error *e)
{
    osv_prompt_line line = {0};
    int status = osv_prompt_read(&line, object, o, where, e);
    *ids = line.ids;
    line.ids = (osv_ids){0};
    osv_prompt_line_free(&line);
    return status;
}

osv_source osv_prompt_source(const osv_prompt_line *line)
{
    return (osv_source){
        .text = line->of_ids ? NULL : line->text, .ids = &line->ids, .complete = line->complete};
}

/* ---- files ---- */

/* The datapoint's keys, so that a file of training data is also a file of prompts, and osv-eval's. */
static int check_keys(const json_t *json, const char *where, osv_error *e)
{
    static const char *const of_tools[] = {"before", "after", "choices"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        bool found = osv_datapoint_key_known(key);
        for (size_t i = 0; i < sizeof of_tools / sizeof *of_tools; i++)
            found |= strcmp(key, of_tools[i]) == 0;
        if (!found)
            return OSV_FAIL(
                e, OSV_BAD_INPUT,
                "%s: unknown key \"%.80s\"; known are id, prompt, messages, prefill, before, after, "
                "choices, and those of training data",
                where, key);
    }
    return OSV_OK;
}

typedef struct {
    osv_prompts *prompts;
    const osv_prompt_options *options;
} reader;

/* NULL: no memory. */
static osv_prompt_line *add_line(osv_prompts *p)
{
    if ((p->count & (p->count - 1)) == 0) { /* room doubles at powers of two */
        size_t room = p->count ? 2 * (size_t)p->count : 1;
        osv_prompt_line *wider = realloc(p->line, room * sizeof *wider);
        if (!wider) return NULL;
        p->line = wider;
    }
    p->line[p->count] = (osv_prompt_line){0};
    return &p->line[p->count++];
}

static int read_line(void *context, json_t *json, int number, const char *where, osv_error *e)
{
    reader *r = context;
    char name[32];
    snprintf(name, sizeof name, "line %d", number);
    const char *id = name;
    OSV_TRY(check_keys(json, where, e));
    OSV_TRY(osv_json_string(json, "id", false, &id, where, e));
    osv_prompt_line *line = add_line(r->prompts);
    if (!line) return no_memory(where, e);
    line->line = number;
    line->json = json_incref(json);
    line->id = strdup(id);
    if (!line->id) return no_memory(where, e);
    return osv_prompt_read(line, json, r->options, where, e);
}

int osv_prompts_read(osv_prompts **out, const char *path, const osv_prompt_options *options, osv_error *e)
{
    *out = NULL;
    int count;
    reader r = {calloc(1, sizeof *r.prompts), options};
    if (!r.prompts) return no_memory(path, e);
    int status = osv_json_lines(path, read_line, &r, &count, e);
    if (!status && count == 0)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: no prompts; expected one JSON object a line",
                          strcmp(path, "-") == 0 ? "standard input" : path);
    if (status)
        osv_prompts_free(r.prompts);
    else
        *out = r.prompts;
    return status;
}

int osv_prompts_of_text(osv_prompts **out, const char *text, const osv_prompt_options *options, osv_error *e)
{
    static const char where[] = "--prompt";
    *out = NULL;
    size_t bytes = strlen(text), bad = osv_utf8_check(text, bytes);
    if (bad < bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: invalid UTF-8 at byte %zu (0x%02x)", where, bad,
                        (unsigned char)text[bad]);
    osv_prompts *p = calloc(1, sizeof *p);
    json_t *json = json_pack("{s:s, s:s}", "id", "prompt", "prompt", text);
    reader r = {p, options};
    int status = p && json ? read_line(&r, json, 1, where, e) : no_memory(where, e);
    json_decref(json);
    if (status)
        osv_prompts_free(p);
    else
        *out = p;
    return status;
}

void osv_prompts_free(osv_prompts *p)
{
    if (!p) return;
    for (int i = 0; i < p->count; i++) osv_prompt_line_free(&p->line[i]);
    free(p->line);
    free(p);
}
