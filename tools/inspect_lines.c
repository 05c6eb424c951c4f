#include "tools/inspect_lines.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "loader/chat.h"
#include "loader/json.h"
#include "loader/json_lines.h"
#include "loader/tokenizer.h"
#include "tools/program.h"
#include "tools/text.h"

typedef struct {
    osv_tokenizer *tokenizer;
    osv_chat *chat;
} reader;

static int check_keys(const json_t *object, const char *const *known, const char *names, const char *where,
                      osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool is_known = false;
        for (int i = 0; known[i] && !is_known; i++) is_known = strcmp(key, known[i]) == 0;
        if (!is_known)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: unknown key \"%.80s\"; known are %s", where, key, names);
    }
    return OSV_OK;
}

/* {key: value}, which is given away. */
static int write_line(const char *key, json_t *value, osv_error *e)
{
    json_t *line = value ? json_pack("{s:o}", key, value) : NULL;
    char *text = line ? json_dumps(line, 0) : NULL;
    int status = text ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for a line");
    size_t bytes = text ? strlen(text) : 0;
    if (text) text[bytes] = '\n'; /* in the place of its NUL, so that a line is written whole */
    if (!status) status = osv_program_write(text, bytes + 1, e);
    free(text);
    json_decref(line);
    return status;
}

/* ---- text -> ids */

static int tokenize(void *context, json_t *object, int line, const char *where, osv_error *e)
{
    static const char *const known[] = {"text", "special", NULL};
    const reader *r = context;
    const char *text = NULL;
    bool special = false;
    osv_ids ids = {0};
    osv_error cause = {0};
    (void)line;
    OSV_TRY(check_keys(object, known, "text, special", where, e));
    OSV_TRY(osv_json_string(object, "text", true, &text, where, e));
    OSV_TRY(osv_json_bool(object, "special", false, &special, where, e));
    int status = osv_tokenizer_encode(r->tokenizer, text, strlen(text), special, &ids, &cause);
    if (status) status = OSV_FAIL(e, status, "%s: %s", where, cause.text);
    json_t *list = status ? NULL : json_array();
    for (int i = 0; !status && i < ids.count; i++) json_array_append_new(list, json_integer(ids.data[i]));
    osv_ids_free(&ids);
    return status ? status : write_line("ids", list, e);
}

/* ---- ids -> text */

static int read_ids(osv_ids *ids, const json_t *object, const char *where, osv_error *e)
{
    const json_t *list = json_object_get(object, "ids"), *value;
    char text[64];
    size_t i;
    if (!json_is_array(list))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"ids\" %s", where,
                        list ? "must be an array of token ids" : "is missing");
    json_array_foreach(list, i, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id > INT_MAX)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"ids\"[%zu] is %s, no token id", where, i,
                            osv_json_show(value, text, sizeof text));
        OSV_TRY(osv_ids_push(ids, (int)id, e));
    }
    return OSV_OK;
}

/* Without a decoder in the file bytes can come out that are no UTF-8. */
static json_t *decoded_json(char *text, size_t bytes)
{
    json_t *whole = json_stringn(text, bytes);
    return whole ? whole : osv_text_json(text);
}

static int check_ids(const osv_ids *ids, const osv_tokenizer *t, const char *where, osv_error *e)
{
    for (int i = 0; i < ids->count; i++)
        if (ids->data[i] >= osv_tokenizer_size(t))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"ids\"[%d] is %d, the tokenizer has %d", where, i,
                            ids->data[i], osv_tokenizer_size(t));
    return OSV_OK;
}

static int detokenize(void *context, json_t *object, int line, const char *where, osv_error *e)
{
    static const char *const known[] = {"ids", "skip_special", NULL};
    const reader *r = context;
    osv_ids ids = {0};
    bool skip = false;
    char *text = NULL;
    size_t bytes = 0;
    (void)line;
    OSV_TRY(check_keys(object, known, "ids, skip_special", where, e));
    OSV_TRY(osv_json_bool(object, "skip_special", false, &skip, where, e));
    int status = read_ids(&ids, object, where, e);
    if (!status) status = check_ids(&ids, r->tokenizer, where, e);
    if (!status) status = osv_tokenizer_decode(r->tokenizer, ids.data, ids.count, skip, &text, &bytes, e);
    if (!status) status = write_line("text", decoded_json(text, bytes), e);
    free(text);
    osv_ids_free(&ids);
    return status;
}

/* ---- messages -> text */

static int render(void *context, json_t *object, int line, const char *where, osv_error *e)
{
    static const char *const known[] = {"messages", "add_generation_prompt", "prefill", "date_string", NULL};
    const reader *r = context;
    const char *prefill = NULL, *date = NULL;
    bool generation = false;
    char *text = NULL;
    osv_error refused = {0};
    (void)line;
    OSV_TRY(check_keys(object, known, "messages, add_generation_prompt, prefill, date_string", where, e));
    OSV_TRY(osv_json_bool(object, "add_generation_prompt", false, &generation, where, e));
    OSV_TRY(osv_json_string(object, "prefill", false, &prefill, where, e));
    OSV_TRY(osv_json_string(object, "date_string", false, &date, where, e));
    const json_t *messages = json_object_get(object, "messages");
    if (!messages) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"messages\" is missing", where);
    OSV_TRY(osv_chat_set_date(r->chat, date, e));
    int status = osv_chat_render(r->chat, messages, generation, prefill, &text, where, &refused);
    if (status == OSV_BAD_INPUT) return write_line("error", osv_text_json(refused.text), e);
    if (status) return osv_error_set(e, status, refused.file, refused.line, "%s", refused.text);
    status = write_line("text", osv_text_json(text), e);
    free(text);
    return status;
}

/* ---- */

int inspect_lines(const inspect_options *o, osv_error *e)
{
    reader r = {0};
    int count;
    const char *path = o->tokenize ? o->tokenize : o->detokenize ? o->detokenize : o->render;
    osv_json_line *each = o->tokenize ? tokenize : o->detokenize ? detokenize : render;
    int status = o->render ? osv_chat_open(&r.chat, o->model, o->chat, e)
                           : osv_tokenizer_open(&r.tokenizer, o->model, e);
    if (!status) status = osv_json_lines(path, each, &r, &count, e);
    if (r.tokenizer) osv_tokenizer_close(r.tokenizer);
    osv_chat_close(r.chat);
    return status;
}
