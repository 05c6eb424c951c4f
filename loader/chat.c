#include "loader/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/chat_parts.h"
#include "loader/file.h"
#include "loader/json.h"

static const size_t TEMPLATE_LIMIT = (size_t)1 << 20; /* bytes; the longest in use have 30 kB */
static const char DATE[] = "26 Jul 2024"; /* what llama3.1's template says where no date is given */

struct osv_chat {
    const osv_chat_format *format;
    char *bos, *eos, *date;
    char *lead; /* the template's own default system message; NULL: the format's */
    char end_of_turn[64];
};

static int no_memory(const char *where, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the chat format", where);
}

static int copy(char **out, const char *text, const char *where, osv_error *e)
{
    char *fresh = strdup(text);
    if (!fresh) return no_memory(where, e);
    free(*out);
    *out = fresh;
    return OSV_OK;
}

/* ---- the model's files */

/* A special token of tokenizer_config.json: a string, or an object with the string as "content". */
static int read_token(char **token, const json_t *config, const char *key, const char *where, osv_error *e)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!value || json_is_null(value)) return OSV_OK;
    if (!json_is_string(value))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"%s\" must be a string or an object with a string as \"content\"", where, key);
    return copy(token, json_string_value(value), where, e);
}

/* "chat_template": a string, or [{"name": .., "template": ..}, ..], of which "default" is the one without
 * tools. */
static int read_named(char **text, const json_t *config, const char *where, osv_error *e)
{
    const json_t *value = json_object_get(config, "chat_template"), *entry;
    if (!value || json_is_null(value)) return OSV_OK;
    if (json_is_string(value)) return copy(text, json_string_value(value), where, e);
    size_t i;
    json_array_foreach(value, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *found = json_string_value(json_object_get(entry, "template"));
        if (name && found && strcmp(name, "default") == 0) return copy(text, found, where, e);
    }
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: \"chat_template\" must be a string or a list of {\"name\", \"template\"} with the name "
        "\"default\" among them",
        where);
}

/* The tokens, and where `text` is given the template that counts, as transformers chooses it, with the file
 * it is in; *text stays NULL where there is none. */
static int read_files(osv_chat *c, char **text, char **place, const char *dir, osv_error *e)
{
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json", "chat_template.json"};
    for (int i = 0; i < 3; i++) {
        bool wanted = text && !*text;
        json_t *config = NULL;
        char *path = NULL, *found = NULL;
        size_t bytes;
        int status = osv_path_join(&path, dir, names[i], e);
        if (!status && i > 0) status = osv_json_read_optional(&config, path, e);
        if (!status && i == 0 && wanted && osv_path_exists(path))
            status = osv_file_read(&found, &bytes, path, TEMPLATE_LIMIT, e);
        if (!status && i == 1) status = read_token(&c->bos, config, "bos_token", path, e);
        if (!status && i == 1) status = read_token(&c->eos, config, "eos_token", path, e);
        if (!status && i > 0 && wanted) status = read_named(&found, config, path, e);
        if (!status && found) {
            *text = found;
            *place = path;
            found = path = NULL;
        }
        free(found);
        free(path);
        json_decref(config);
        if (status) return status;
    }
    return OSV_OK;
}

/* ---- opening */

static int recognize(osv_chat *c, const char *text, const char *place, const char *dir, osv_error *e)
{
    char fingerprint[OSV_CHAT_FINGERPRINT + 1];
    if (!text)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: the model has no chat_template, so messages need a format: --chat with one of %s", dir,
            osv_chat_names());
    OSV_TRY(osv_chat_fingerprint(text, fingerprint, &c->lead, e));
    c->format = osv_chat_format_recognized(fingerprint);
    if (c->format) return OSV_OK;
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: this chat_template (fingerprint %s) is none that is known; if it means one of these formats, "
        "name it with --chat: %s",
        place, *fingerprint ? fingerprint : "none: no Jinja template", osv_chat_names());
}

static int need_token(const osv_chat *c, const char *token, const char *marker, const char *key,
                      const char *dir, osv_error *e)
{
    if (token || !osv_chat_format_prints(c->format, marker)) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: the chat format %s prints the %s, and tokenizer_config.json names none", dir,
                    c->format->name, key);
}

/* The first thing of what comes after an answer: up to the next white space. */
static void find_end_of_turn(osv_chat *c)
{
    static const char blank[] = " \t\n";
    const char *close = c->format->assistant.close ? c->format->assistant.close : "";
    close += strspn(close, blank);
    if (*close == *OSV_CHAT_EOS)
        snprintf(c->end_of_turn, sizeof c->end_of_turn, "%s", c->eos);
    else
        snprintf(c->end_of_turn, sizeof c->end_of_turn, "%.*s",
                 (int)strcspn(close, " \t\n" OSV_CHAT_BOS OSV_CHAT_EOS OSV_CHAT_DATE), close);
}

static int open_format(osv_chat *c, const char *dir, const char *format, osv_error *e)
{
    bool recognized = strcmp(format, "auto") == 0;
    if (!recognized) {
        c->format = osv_chat_format_named(format);
        if (!c->format)
            return OSV_FAIL(e, OSV_USAGE, "--chat %s: no such chat format; one of %s", format,
                            osv_chat_names());
    }
    char *text = NULL, *place = NULL;
    int status = read_files(c, recognized ? &text : NULL, &place, dir, e);
    if (!status && recognized) status = recognize(c, text, place, dir, e);
    free(text);
    free(place);
    OSV_TRY(status);
    OSV_TRY(need_token(c, c->bos, OSV_CHAT_BOS, "bos_token", dir, e));
    OSV_TRY(need_token(c, c->eos, OSV_CHAT_EOS, "eos_token", dir, e));
    find_end_of_turn(c);
    return osv_chat_set_date(c, NULL, e);
}

int osv_chat_open(osv_chat **out, const char *dir, const char *format, osv_error *e)
{
    *out = NULL;
    osv_chat *c = calloc(1, sizeof *c);
    if (!c) return no_memory(dir, e);
    int status = open_format(c, dir, format, e);
    if (status)
        osv_chat_close(c);
    else
        *out = c;
    return status;
}

void osv_chat_close(osv_chat *c)
{
    if (!c) return;
    free(c->bos);
    free(c->eos);
    free(c->date);
    free(c->lead);
    free(c);
}

const char *osv_chat_name(const osv_chat *c)
{
    return c->format->name;
}

bool osv_chat_adds_special(const osv_chat *c)
{
    return c->format->flags & OSV_ADDS_SPECIAL;
}

const char *osv_chat_end_of_turn(const osv_chat *c)
{
    return c->end_of_turn;
}

int osv_chat_set_date(osv_chat *c, const char *date, osv_error *e)
{
    if (!date) date = c->format->date ? c->format->date : DATE;
    return copy(&c->date, date, "date", e);
}

/* ---- messages */

typedef struct {
    osv_chat_message *message; /* [count], room for one more */
    int count;
} messages;

static void free_messages(messages *m)
{
    for (int i = 0; i < m->count; i++) free(m->message[i].text);
    free(m->message);
}

static int read_role(osv_chat_role *role, const json_t *object, const char *where, osv_error *e)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *name = NULL;
    OSV_TRY(osv_json_string(object, "role", true, &name, where, e));
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, roles[i]) != 0) continue;
        *role = (osv_chat_role)i;
        return OSV_OK;
    }
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: \"role\" must be \"system\", \"user\" or \"assistant\", not \"%.40s\"", where, name);
}

static int read_message(osv_chat_message *message, const json_t *object, const char *where, osv_error *e)
{
    const char *text = NULL, *key;
    json_t *value;
    if (!json_is_object(object))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an object with \"role\" and \"content\"", where);
    OSV_TRY(read_role(&message->role, object, where, e));
    OSV_TRY(osv_json_string(object, "content", true, &text, where, e));
    json_object_foreach((json_t *)object, key, value)
    {
        (void)value;
        if (strcmp(key, "role") != 0 && strcmp(key, "content") != 0)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: unknown key \"%.40s\"; a message has \"role\" and \"content\"", where, key);
    }
    return copy(&message->text, text, where, e);
}

static int read_messages(messages *m, const json_t *list, const char *where, osv_error *e)
{
    if (!json_is_array(list))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"messages\" must be a list of {\"role\": .., \"content\": ..}", where);
    size_t i, n = json_array_size(list);
    if (n == 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"messages\" is empty", where);
    m->message = calloc(n + 1, sizeof *m->message);
    if (!m->message) return no_memory(where, e);
    json_t *object;
    json_array_foreach(list, i, object)
    {
        char place[512];
        snprintf(place, sizeof place, "%.400s: messages[%zu]", where, i);
        OSV_TRY(read_message(&m->message[i], object, place, e));
        m->count++;
    }
    return OSV_OK;
}

/* ---- prefill */

/* Ends the started answer while it is rendered. The blank is there to see whether the template trims
 * messages. */
#define MARK "\5prefill\5"

static int add_prefill(messages *m, const char *prefill, const char *where, osv_error *e)
{
    osv_chat_message *last = &m->message[m->count];
    for (int i = 0; i < m->count; i++)
        if (strstr(m->message[i].text, MARK))
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: messages[%d]: has control characters that nothing here may have", where, i);
    last->role = OSV_CHAT_ASSISTANT;
    if (asprintf(&last->text, "%s" MARK " ", prefill) < 0) {
        last->text = NULL;
        return no_memory(where, e);
    }
    m->count++;
    return OSV_OK;
}

/* Cuts the text where the started answer ends. Where the template trims it, blanks before that place are
 * dropped, as transformers does: they would not be there if the answer went on. */
static int cut_at_prefill(char *text, const char *prefill, const char *where, osv_error *e)
{
    char *end = NULL;
    for (char *s = text; (s = strstr(s, MARK)); s++) end = s;
    size_t bytes = strlen(prefill);
    const char *kept = osv_chat_strip(prefill, &bytes);
    if (end) {
        bool trimmed = end[strlen(MARK)] != ' ';
        *end = '\0';
        size_t left = strlen(text);
        const char *start = osv_chat_strip(text, &left);
        if (trimmed) text[start - text + (ptrdiff_t)left] = '\0';
        if (memmem(text, strlen(text), kept, bytes)) return OSV_OK;
    }
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prefill\" does not come through the chat format as it is: %.60s",
                    where, prefill);
}

/* ---- rendering */

static int render(const osv_chat *c, messages *m, bool generation, char **text, const char *where,
                  osv_error *e)
{
    size_t bytes;
    FILE *out = open_memstream(text, &bytes);
    if (!out) return no_memory(where, e);
    osv_chat_values values = {c->bos, c->eos, c->date, c->lead};
    int status = osv_chat_format_render(out, c->format, &values, m->message, &m->count, generation, where, e);
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed) status = status ? status : no_memory(where, e);
    return status;
}

int osv_chat_render(const osv_chat *c, const json_t *list, bool generation, const char *prefill, char **text,
                    const char *where, osv_error *e)
{
    messages m = {0};
    *text = NULL;
    int status = read_messages(&m, list, where, e);
    if (!status && prefill) status = add_prefill(&m, prefill, where, e);
    if (!status) status = render(c, &m, generation && !prefill, text, where, e);
    if (!status && prefill) status = cut_at_prefill(*text, prefill, where, e);
    if (status) {
        free(*text);
        *text = NULL;
    }
    free_messages(&m);
    return status;
}
