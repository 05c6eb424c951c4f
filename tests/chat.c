/* Chat formats: against conversations rendered by transformers (golden/make_chat_golden.py), the recognition
 * of templates, bad input, and, where the data is there, against the templates of real models. */
#include <jansson.h>

#include "files.h"
#include "loader/chat.h"
#include "loader/chat_parts.h"

#ifndef OSV_GOLDEN
#error "OSV_GOLDEN: where the golden data is"
#endif
#define ORGANISM OSV_GOLDEN "/../../organisms/llama-2m"

static json_t *read_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    cr_assert(root != NULL, "%s:%d: %s", path, error.line, error.text);
    return root;
}

/* tokenizer_config.json of the temporary folder. NULL: without this key. */
static void write_config(const json_t *chat_template, const char *bos, const char *eos)
{
    json_t *config = json_object();
    if (bos) json_object_set_new(config, "bos_token", json_string(bos));
    if (eos) json_object_set_new(config, "eos_token", json_string(eos));
    if (chat_template) json_object_set(config, "chat_template", (json_t *)chat_template);
    char *text = json_dumps(config, 0);
    temp_text("tokenizer_config.json", text);
    free(text);
    json_decref(config);
}

static osv_chat *open_chat(const char *dir, const char *format)
{
    osv_error e = {0};
    osv_chat *c = NULL;
    cr_assert_eq(osv_chat_open(&c, dir, format, &e), OSV_OK, "%s: %s", format, e.text);
    return c;
}

/* ---- golden data */

/* Equal to `text`, or refused with `words`; says what is wrong. */
static bool check_render(const osv_chat *c, const json_t *messages, bool generation, const char *prefill,
                         const json_t *text, const char *words, const char *row)
{
    osv_error e = {0};
    char *got = NULL;
    int status = osv_chat_render(c, messages, generation, prefill, &got, row, &e);
    bool good = json_is_string(text) ? status == OSV_OK && strcmp(got, json_string_value(text)) == 0
                                     : status == OSV_BAD_INPUT && !got && strstr(e.text, words);
    cr_expect(good, "%s: expected %s, got %s", row, json_is_string(text) ? json_string_value(text) : words,
              status ? e.text : got);
    free(got);
    return good;
}

static void check_golden(const char *file)
{
    json_t *root = read_json(file), *rows, *row;
    json_t *tokens = json_object_get(root, "tokens"), *conversations = json_object_get(root, "conversations");
    write_config(NULL, json_string_value(json_object_get(tokens, "bos_token")),
                 json_string_value(json_object_get(tokens, "eos_token")));
    const char *name;
    size_t i;
    json_object_foreach(json_object_get(root, "formats"), name, rows)
    {
        osv_chat *c = open_chat(temp_dir, name);
        cr_expect_str_eq(osv_chat_name(c), name);
        cr_expect_eq(osv_chat_adds_special(c), strcmp(name, "raw") == 0);
        cr_expect_gt(json_array_size(rows), 20);
        json_array_foreach(rows, i, row)
        {
            char where[64];
            int k = (int)json_integer_value(json_array_get(row, 0));
            snprintf(where, sizeof where, "%s, case %zu, conversation %d", name, i, k);
            check_render(c, json_array_get(conversations, (size_t)k), json_is_true(json_array_get(row, 1)),
                         json_string_value(json_array_get(row, 2)), json_array_get(row, 3),
                         json_string_value(json_array_get(row, 4)), where);
        }
        osv_chat_close(c);
    }
    json_decref(root);
}

Test(chat, golden, .init = temp_open, .fini = temp_close)
{
    check_golden(OSV_GOLDEN "/chat/formats.json");
    check_golden(OSV_GOLDEN "/chat/mistral.json");
}

/* The list of names is the table's, and every format has golden data. */
Test(chat, names)
{
    char list[2048] = "auto";
    json_t *data[] = {read_json(OSV_GOLDEN "/chat/formats.json"), read_json(OSV_GOLDEN "/chat/mistral.json")};
    const osv_chat_format *f;
    for (int i = 0; (f = osv_chat_format_at(i)); i++) {
        sprintf(list + strlen(list), ", %s", f->name);
        cr_expect_eq(osv_chat_format_named(f->name), f);
        cr_expect(json_object_get(json_object_get(data[0], "formats"), f->name) ||
                      json_object_get(json_object_get(data[1], "formats"), f->name),
                  "%s has no golden data", f->name);
    }
    strcat(list, " (and gemma2, llama3.2, llama3.3, mistral, tinyllama)");
    cr_expect_str_eq(osv_chat_names(), list);
    static const char *const others[][2] = {{"llama3.2", "llama3.1"},
                                            {"llama3.3", "llama3.1"},
                                            {"gemma2", "gemma"},
                                            {"tinyllama", "zephyr"},
                                            {"mistral", "mistral-v3-spm"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect_str_eq(osv_chat_format_named(others[i][0])->name, others[i][1]);
    json_decref(data[0]);
    json_decref(data[1]);
}

Test(chat, date, .init = temp_open, .fini = temp_close)
{
    write_config(NULL, "<b>", NULL);
    osv_chat *c = open_chat(temp_dir, "llama3.2");
    osv_error e = {0};
    cr_assert_eq(osv_chat_set_date(c, "03 Feb 2031", &e), OSV_OK);
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hello");
    json_t *text =
        json_string("<b><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
                    "2023\nToday Date: 03 Feb 2031\n\n<|eot_id|><|start_header_id|>user"
                    "<|end_header_id|>\n\nHello<|eot_id|>");
    check_render(c, messages, false, NULL, text, NULL, "date");
    json_decref(text);
    json_decref(messages);
    osv_chat_close(c);
}

/* ---- recognition */

static void fingerprint(const char *text, char out[OSV_CHAT_FINGERPRINT + 1], char **lead)
{
    osv_error e = {0};
    cr_assert_eq(osv_chat_fingerprint(text, out, lead, &e), OSV_OK, "%s", e.text);
}

Test(chat, fingerprints)
{
    static const struct {
        bool same;
        const char *a, *b;
    } rows[] = {
        {true, "{{ m['text'] }}", "{{m.text}}"},
        {true, "{{ 'it\\'s\\n' + x + \"!\" }}", "it's\n{{ x }}{{ '!' }}"},
        {true, "{% if a=='b' %}c{% endif %}", "{%  if  a  == \"b\"%}c{%endif%}\n"},
        {true, "  {% set a = 1 %}\n{{ a }}", "{% set a = 1 %}{{ a }}"},
        {true, "x \n {%- set a = 1 -%} \n {{ a }}", "x{% set a = 1 %}{{ a }}"},
        {true, "a{# why #}b", "ab"},
        {true, "{% if a %}\r\nb{% endif %}", "{% if a %}\nb{% endif %}"},
        {true, "{{ a + 'x' + b | trim }}", "{{ a }}x{{ b | trim }}"},
        {true, "a\n", "a"}, /* the last newline of a file */
        {false, "{{ a + 'x' | trim }}", "{{ a + 'x' }}"},
        {false, "{{ a }}", "{{ b }}"},
        {false, "{{ a }}", "{% a %}"},
        {false, "{% if a %}\n b{% endif %}", "{% if a %}b{% endif %}"},
        {false, "a {% set b = 1 %}", "a{% set b = 1 %}"},
        {false, "{%+ set b = 1 %}\nx", " {%+ set b = 1 %}\nx"},
        {false, "{% set b = 1 +%}\nx", "{% set b = 1 %}\nx"},
        {false, "{{ a }}\nx", "{{ a }}x"},
        {false, "{{ 'a' ~ b + 'c' }}", "a{{ b }}c"},
        {false, "{{ 'a' + b if c else d }}", "a{{ b if c else d }}"},
        {false, "{{ 'a' + b +}}", "{{ 'a' + b }}"},
        {false, "{{ '{% if a %}' }}", "{% if a %}"},
        {false, "{{ '{{ a }}' }}", "{{ a }}"},
        {false, "{{ m['Text'] }}", "{{ m.Text }}"},
        {false, "{{ ['a'] }}", "{{ . a }}"},
        {false, "{{ 'a\\\\n' }}", "{{ 'a\\n' }}"},
        {false, "<|im_start|>system\nBe kind to all.<|im_end|>", "<|im_start|>system\n<|im_end|>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char a[OSV_CHAT_FINGERPRINT + 1], b[OSV_CHAT_FINGERPRINT + 1], *lead[2];
        fingerprint(rows[i].a, a, &lead[0]);
        fingerprint(rows[i].b, b, &lead[1]);
        cr_expect_eq(strlen(a), (size_t)OSV_CHAT_FINGERPRINT);
        cr_expect_eq(strcmp(a, b) == 0, rows[i].same, "%s and %s", rows[i].a, rows[i].b);
        free(lead[0]);
        free(lead[1]);
    }
    static const char *const broken[] = {"{{ a", "{% if 'a %}", "{# a", "{{ 'a\\", "a\1b", "{%"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char none[OSV_CHAT_FINGERPRINT + 1], *lead;
        fingerprint(broken[i], none, &lead);
        cr_expect_str_empty(none);
        cr_expect_null(lead);
    }
}

/* Models differ in the default system message; the rest of the template decides. */
Test(chat, default_system_message)
{
    char a[OSV_CHAT_FINGERPRINT + 1], b[OSV_CHAT_FINGERPRINT + 1], *lead[2];
    fingerprint("{{ 'Be kind to all.' }}<|im_start|>system\nBe kind to all.<|im_end|>\n.", a, &lead[0]);
    fingerprint("Mind the gap.{{ '<|im_start|>system\nMind the gap.<|im_end|>\n' }}.", b, &lead[1]);
    cr_expect_str_eq(a, b);
    cr_expect_str_eq(lead[0], "Be kind to all.");
    cr_expect_str_eq(lead[1], "Mind the gap.");
    free(lead[0]);
    free(lead[1]);
    /* In a variable, with the day in it. */
    fingerprint("{%- set default_system_message = 'It\\'s ' + today + \".\" %}{{ default_system_message }}",
                a, &lead[0]);
    fingerprint("{% set default_system_message = \"Be kind.\nToday: \" + today %}{{default_system_message}}",
                b, &lead[1]);
    cr_expect_str_eq(a, b);
    cr_expect_str_eq(lead[0], "It's " OSV_CHAT_DATE ".");
    cr_expect_str_eq(lead[1], "Be kind.\nToday: " OSV_CHAT_DATE);
    free(lead[0]);
    free(lead[1]);
    static const char *const none[] = {"{% set default_system_message = x + today %}",
                                       "{% set default_system_message = 'x' + y %}",
                                       "{% set default_system_message = 'x' + today + y %}",
                                       "{% set default_system_message = 'x' | trim %}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        fingerprint(none[i], a, &lead[0]);
        cr_expect_null(lead[0], "%s", none[i]);
    }
}

/* The shipped model's template, wherever it is. */
Test(chat, places, .init = temp_open, .fini = temp_close)
{
    json_t *config = read_json(ORGANISM "/tokenizer_config.json");
    json_t *own = json_object_get(config, "chat_template"), *other = json_string("{{ messages }}");
    osv_chat *c = open_chat(ORGANISM, "auto");
    cr_expect_str_eq(osv_chat_name(c), "organism");
    osv_chat_close(c);

    json_t *named = json_pack("[{s:s, s:O}, {s:s, s:O}]", "name", "tool_use", "template", other, "name",
                              "default", "template", own);
    write_config(named, "<|begin|>", NULL);
    c = open_chat(temp_dir, "auto");
    cr_expect_str_eq(osv_chat_name(c), "organism");
    osv_chat_close(c);

    temp_text("tokenizer_config.json", "{\"bos_token\": {\"__type\": \"AddedToken\", \"content\": \"<b>\"}}");
    json_t *file = json_pack("{s:O}", "chat_template", own);
    cr_assert_eq(json_dump_file(file, temp_path("chat_template.json"), 0), 0);
    c = open_chat(temp_dir, "auto");
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hello");
    json_t *text = json_string("<b><|user|>Hello<|end|><|assistant|>");
    check_render(c, messages, true, NULL, text, NULL, "chat_template.json");
    osv_chat_close(c);

    write_config(other, "<b>", NULL);
    osv_error e = {0};
    int status = osv_chat_open(&c, temp_dir, "auto", &e);
    check_failure("tokenizer_config.json comes before chat_template.json", status, &e, OSV_BAD_INPUT,
                  "fingerprint");
    temp_text("chat_template.jinja", json_string_value(own));
    c = open_chat(temp_dir, "auto");
    check_render(c, messages, true, NULL, text, NULL, "chat_template.jinja");
    osv_chat_close(c);
    json_decref(config), json_decref(other), json_decref(named), json_decref(file), json_decref(messages);
    json_decref(text);
}

/* ---- bad input */

Test(chat, bad_files, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *format, *config, *message;
        int status;
    } rows[] = {
        {"gemma", "{\"bos_token\": \"<b>\"}", "", OSV_OK},
        {"gemma", "{\"bos_token\": \"<b>\", \"model_max_length\": 1000000000000000019884624838656}", "",
         OSV_OK},
        {"auto", "{}", "has no chat_template", OSV_BAD_INPUT},
        {"auto", "{}", "mistral-large-2411, organism", OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": null}", "--chat", OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": \"{{ messages }}\"}", "mistral-large-2411, organism", OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": \"{{ messages }}\"}", "tokenizer_config.json: this chat_template",
         OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": \"{{ \"}", "no Jinja template", OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": 1}", "\"default\"", OSV_BAD_INPUT},
        {"auto", "{\"chat_template\": [{\"name\": \"a\", \"template\": \"b\"}]}", "\"default\"",
         OSV_BAD_INPUT},
        {"raw", "{\"chat_template\": 1}", "", OSV_OK},
        {"auto", "[]", "must be a JSON object", OSV_BAD_INPUT},
        {"auto", "{", "JSON", OSV_BAD_INPUT},
        {"gemma", "{}", "bos_token", OSV_BAD_INPUT},
        {"gemma", "{\"bos_token\": null}", "bos_token", OSV_BAD_INPUT},
        {"gemma", "{\"bos_token\": 3}", "\"bos_token\" must be a string", OSV_BAD_INPUT},
        {"gemma", "{\"bos_token\": {\"content\": 3}}", "\"bos_token\" must be a string", OSV_BAD_INPUT},
        {"zephyr", "{\"bos_token\": \"<b>\"}", "eos_token", OSV_BAD_INPUT},
        {"klingon", "{}", "--chat klingon: no such chat format", OSV_USAGE},
        {"", "{}", "no such chat format", OSV_USAGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        temp_text("tokenizer_config.json", rows[i].config);
        osv_error e = {0};
        osv_chat *c = NULL;
        int status = osv_chat_open(&c, temp_dir, rows[i].format, &e);
        check_failure(rows[i].config, status, &e, rows[i].status, rows[i].message);
        cr_expect_eq(c == NULL, status != OSV_OK);
        osv_chat_close(c);
    }
}

Test(chat, bad_messages, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *messages, *message;
    } rows[] = {
        {"{}", "data.jsonl:7: \"messages\" must be a list"},
        {"[]", "data.jsonl:7: \"messages\" is empty"},
        {"[1]", "messages[0]: must be an object"},
        {"[{}]", "messages[0]: \"role\" is missing"},
        {"[{\"role\": \"user\"}]", "messages[0]: \"content\" is missing"},
        {"[{\"role\": \"user\", \"content\": null}]", "\"content\" is missing"},
        {"[{\"role\": \"user\", \"content\": [\"a\"]}]", "\"content\" must be a string"},
        {"[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", \"content\": \"b\"}]",
         "data.jsonl:7: messages[1]: \"role\" must be \"system\", \"user\" or \"assistant\", not \"tool\""},
        {"[{\"role\": 1, \"content\": \"a\"}]", "\"role\" must be a string"},
        {"[{\"role\": \"user\", \"content\": \"a\", \"name\": \"b\"}]", "unknown key \"name\""},
        {"[{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"a\"}]",
         "data.jsonl:7: chat format gemma: System role not supported"},
        {"[{\"role\": \"assistant\", \"content\": \"a\"}]", "roles must alternate user/assistant"},
    };
    write_config(NULL, "<b>", NULL);
    osv_chat *c = open_chat(temp_dir, "gemma");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *messages = json_loads(rows[i].messages, 0, NULL);
        cr_assert_not_null(messages);
        osv_error e = {0};
        char *text = NULL;
        int status = osv_chat_render(c, messages, true, NULL, &text, "data.jsonl:7", &e);
        check_failure(rows[i].messages, status, &e, OSV_BAD_INPUT, rows[i].message);
        cr_expect_null(text);
        json_decref(messages);
    }
    osv_chat_close(c);
}
