#include "tools/inspect_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/config_keys.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/random_model.h"
#include "loader/stop_ids.h"
#include "loader/store.h"
#include "tools/inspect_config.h"
#include "tools/program.h"
#include "tools/text.h"

enum { NAME_ROOM = 256, LIST_SHOWN = 8, LABEL_WIDTH = 24 };

/* ---- the parts ---- */

static void add_ignored(void *context, const char *key, const json_t *value, const char *reason)
{
    json_array_append_new(context,
                          json_pack("{s:s, s:O, s:s}", "key", key, "value", value, "reason", reason));
}

/* Keys of config.json that nothing reads. */
static int ignored_json(json_t **out, const char *dir, osv_error *e)
{
    *out = json_array();
    if (osv_random_is(dir)) return OSV_OK;
    char *path;
    json_t *config;
    OSV_TRY(osv_path_join(&path, dir, "config.json", e));
    int status = osv_json_read(&config, path, e);
    if (!status) osv_config_ignored(config, add_ignored, *out);
    json_decref(config);
    free(path);
    return status;
}

/* Files and tensors in the folder; without weights why there are none. */
static json_t *weights_json(const char *dir)
{
    osv_store store;
    osv_error missing = {0};
    if (osv_random_is(dir)) return json_pack("{s:s}", "made", "at random, in memory");
    if (osv_store_open(&store, dir, &missing)) return json_pack("{s:o}", "none", osv_text_json(missing.text));
    json_int_t bytes = 0;
    for (int i = 0; i < store.count; i++) bytes += (json_int_t)store.stored[i].tensor->bytes;
    json_t *json =
        json_pack("{s:i, s:i, s:I}", "files", store.files, "tensors", store.count, "all_bytes", bytes);
    osv_store_close(&store);
    return json;
}

static json_t *token_json(const osv_tokenizer *t, int id)
{
    const char *piece = osv_tokenizer_piece(t, id);
    return json_pack("{s:i, s:o}", "id", id, "piece", osv_text_json(piece));
}

static int tokens_json(json_t **out, const osv_tokenizer *t, const osv_ids *ids)
{
    *out = json_array();
    for (int i = 0; i < ids->count; i++) json_array_append_new(*out, token_json(t, ids->data[i]));
    return *out ? OSV_OK : OSV_DEVICE;
}

static int tokenizer_json(json_t **out, const tool_model *m, osv_error *e)
{
    const osv_tokenizer *t = m->tokenizer;
    osv_ids opening = {0}, end = {0};
    json_t *opens = NULL, *ends = NULL, *special = json_array();
    if (!t) {
        json_decref(special);
        *out = json_pack("{s:o}", "none", osv_text_json(m->error_of_tokenizer.text));
        return OSV_OK;
    }
    int status = osv_tokenizer_encode(t, "", 0, true, &opening, e);
    if (!status) status = osv_stop_ids_read(&end, m->dir, m->config.V, e);
    if (!status) {
        tokens_json(&opens, t, &opening);
        tokens_json(&ends, t, &end);
        for (int id = -1; (id = osv_tokenizer_next_special(t, id)) >= 0;)
            json_array_append_new(special, token_json(t, id));
        *out = json_pack("{s:s, s:i, s:o, s:o, s:o}", "source", osv_tokenizer_about(t), "size",
                         osv_tokenizer_size(t), "added_to_a_text", opens, "ends_a_text", ends, "special",
                         special);
    } else {
        json_decref(special);
    }
    osv_ids_free(&opening);
    osv_ids_free(&end);
    return status;
}

static json_t *chat_json(const tool_model *m)
{
    if (!m->chat) return json_pack("{s:o}", "none", osv_text_json(m->error_of_chat.text));
    return json_pack("{s:s, s:s, s:b}", "format", osv_chat_name(m->chat), "end_of_turn",
                     osv_chat_end_of_turn(m->chat), "tokenizer_adds_special", osv_chat_adds_special(m->chat));
}

static int make(json_t **out, const inspect_jobs *j, osv_error *e)
{
    const tool_model *m = &j->setup.m;
    json_t *ignored = NULL, *parameters = NULL, *memory = NULL, *tokenizer = NULL;
    int status = ignored_json(&ignored, m->dir, e);
    if (!status) status = inspect_parameters_json(&parameters, &m->config, e);
    if (!status) status = inspect_memory_json(&memory, j, e);
    if (!status) status = tokenizer_json(&tokenizer, m, e);
    if (status) {
        json_decref(ignored);
        json_decref(parameters);
        json_decref(memory);
        return status;
    }
    *out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "model", m->name, "config",
                     inspect_config_json(&m->config), "ignored", ignored, "parameters", parameters, "files",
                     weights_json(m->dir), "memory", memory, "tokenizer", tokenizer, "chat", chat_json(m));
    return *out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
}

/* ---- as text ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* "largest_bin_bytes" -> "largest bin" */
static const char *label(char *out, size_t room, const char *key)
{
    osv_show_name(out, room, key);
    if (ends_with(out, "_bytes")) out[strlen(out) - strlen("_bytes")] = '\0';
    for (char *c = out; *c; c++)
        if (*c == '_') *c = ' ';
    return out;
}

static void print_value(FILE *out, const char *key, const json_t *value);

/* What a list says once and then again and again is printed once. */
static size_t period(const json_t *list)
{
    size_t n = json_array_size(list);
    for (size_t p = 1; 2 * p <= n; p++) {
        bool repeats = true;
        for (size_t i = p; i < n && repeats; i++)
            repeats = json_equal(json_array_get(list, i), json_array_get(list, i - p));
        if (repeats) return p;
    }
    return n;
}

static void print_list(FILE *out, const char *key, const json_t *list)
{
    size_t n = json_array_size(list), shown = period(list);
    bool repeats = shown < n;
    if (!repeats && shown > 3 * LIST_SHOWN) shown = LIST_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        if (i) fputs(", ", out);
        print_value(out, key, json_array_get(list, i));
    }
    if (n == 0) fputs("none", out);
    if (repeats) fputs(", and so on", out);
    if (!repeats && shown < n) fprintf(out, ", ... (%zu in all; --json has them)", n);
}

/* A token as piece and id, anything else as "kind llama3, factor 32". */
static void print_object(FILE *out, const json_t *object)
{
    const char *key, *comma = "", *piece = json_string_value(json_object_get(object, "piece"));
    json_t *value;
    char name[NAME_ROOM];
    if (json_object_get(object, "piece")) {
        fprintf(out, "%s (%d)", piece ? osv_show_name(name, sizeof name, piece) : "?",
                (int)json_integer_value(json_object_get(object, "id")));
        return;
    }
    json_object_foreach((json_t *)object, key, value)
    {
        fprintf(out, "%s%s ", comma, label(name, sizeof name, key));
        print_value(out, key, value);
        comma = ", ";
    }
}

static void print_value(FILE *out, const char *key, const json_t *value)
{
    char text[2048];
    if (json_is_integer(value) && ends_with(key, "_bytes"))
        fputs(osv_show_bytes(text, sizeof text, (size_t)json_integer_value(value)), out);
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fputs(osv_show_number(text, json_real_value(value)), out);
    else if (json_is_string(value))
        fputs(osv_show_name(text, sizeof text, json_string_value(value)), out);
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", out);
    else if (json_is_array(value))
        print_list(out, key, value);
    else if (json_is_object(value))
        print_object(out, value);
    else
        fputs("none", out);
}

static void print_ignored(FILE *out, const json_t *list)
{
    size_t i;
    json_t *entry;
    char name[NAME_ROOM], shown[40];
    json_array_foreach(list, i, entry)
    {
        osv_show_name(name, sizeof name, json_string_value(json_object_get(entry, "key")));
        const json_t *value = json_object_get(entry, "value");
        if (json_is_real(value))
            osv_show_number(shown, json_real_value(value));
        else
            osv_json_show(value, shown, sizeof shown);
        fprintf(out, "  %-*s %s: %s\n", LABEL_WIDTH, name, shown,
                json_string_value(json_object_get(entry, "reason")));
    }
    if (json_array_size(list) == 0) fputs("  nothing\n", out);
}

static void print_section(FILE *out, const char *title, const json_t *section)
{
    const char *key;
    json_t *value;
    char name[NAME_ROOM];
    bool color = osv_program_color();
    fprintf(out, "%s%s%s\n", color ? "\033[1m" : "", title, color ? "\033[0m" : "");
    if (json_is_array(section)) {
        print_ignored(out, section);
        return;
    }
    json_object_foreach((json_t *)section, key, value)
    {
        fprintf(out, "  %-*s ", LABEL_WIDTH, label(name, sizeof name, key));
        print_value(out, key, value);
        fputc('\n', out);
    }
}

static void print_text(FILE *out, const json_t *report, const inspect_options *o)
{
    static const char *const sections[][2] = {{"config", "config"},
                                              {"ignored", "ignored in config.json"},
                                              {"parameters", "parameters"},
                                              {"files", "files of weights"},
                                              {"memory", NULL},
                                              {"tokenizer", "tokenizer"},
                                              {"chat", "chat format"}};
    char name[NAME_ROOM], memory[NAME_ROOM];
    if (o->data)
        snprintf(memory, sizeof memory, "memory of a training run with this data");
    else
        snprintf(memory, sizeof memory,
                 "memory of a training run: one vector, a prompt of %d tokens, a completion of %d",
                 INSPECT_PROMPT, INSPECT_COMPLETION);
    fprintf(out, "%s\n",
            osv_show_name(name, sizeof name, json_string_value(json_object_get(report, "model"))));
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        print_section(out, sections[i][1] ? sections[i][1] : memory, json_object_get(report, sections[i][0]));
}

int inspect_report(const inspect_jobs *j, const inspect_options *o, osv_error *e)
{
    json_t *report;
    char *text = NULL;
    size_t bytes = 0;
    OSV_TRY(make(&report, j, e));
    FILE *out = open_memstream(&text, &bytes);
    int status = out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
    if (out) {
        if (!o->json)
            print_text(out, report, o);
        else if (json_dumpf(report, out, JSON_REAL_PRECISION(15)) || fputc('\n', out) < 0)
            status = OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
        if (fclose(out) && !status) status = OSV_FAIL(e, OSV_DEVICE, "out of memory for the report");
    }
    if (!status) status = osv_program_write(text, bytes, e);
    free(text);
    json_decref(report);
    return status;
}
