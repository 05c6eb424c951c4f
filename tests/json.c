#include "loader/json.h"

#include "files.h"

#define TEXT(s) s, sizeof(s) - 1

#define ZEROS "0000000000000000000000000000000000000000" /* 40 */

/* To add a case: name, text, what the message must say (NULL: it is fine). */
static const struct {
    const char *name, *text;
    size_t bytes;
    const char *piece;
} parse[] = {
    {"object", TEXT("{\"a\": [1, 2.5, null, \"\\u00e9\"]}"), NULL},
    {"array", TEXT("[]"), NULL},
    {"surrounded by blanks", TEXT("\r\n\t {} \n"), NULL},
    {"not NUL-terminated", "{}]", 2, NULL},
    {"empty", TEXT(""), "f:7:1: empty"},
    {"blank", TEXT(" \n"), "f:7:1: empty"},
    {"cut object", TEXT("{\"a\": 1"), "f:7:7: JSON: '}' expected"},
    {"third line", TEXT("{\n\n  \"a\" 1}"), "f:9:"},
    {"column", TEXT("{\"abc\": nope}"), "f:7:12: JSON: invalid token near 'nope'"},
    {"trailing text", TEXT("{} {}"), "end of file expected"},
    {"duplicate key", TEXT("{\"a\": 1, \"a\": 2}"), "duplicate object key near '\"a\"'"},
    {"duplicate key inside", TEXT("[{\"b\": {\"k\": 1, \"k\": 1}}]"), "duplicate object key"},
    {"byte order mark", TEXT("\xef\xbb\xbf{}"), "byte order mark"},
    {"invalid UTF-8", TEXT("{\"a\":\n\"x\xff\"}"), "f:8:3: invalid UTF-8 at byte 8 (0xff)"},
    {"overlong UTF-8", TEXT("[\"\xc0\xaf\"]"), "invalid UTF-8 at byte 2"},
    {"surrogate in UTF-8", TEXT("[\"\xed\xa0\x80\"]"), "invalid UTF-8 at byte 2"},
    {"beyond U+10FFFF", TEXT("[\"\xf4\x90\x80\x80\"]"), "invalid UTF-8 at byte 2"},
    {"UTF-8 cut by the end", TEXT("[\"\xe2\x82"), "invalid UTF-8 at byte 2"},
    {"lone surrogate escape", TEXT("[\"\\ud800\"]"), "invalid Unicode"},
    {"U+0000", TEXT("[\"\\u0000\"]"), "\\u0000 is not allowed"},
    {"raw NUL", TEXT("[\"\0\"]"), "f:7:"},
    {"control character", TEXT("[\"\n\"]"), "f:7:"},
    {"huge integer", TEXT("[99999999999999999999]"), NULL},
    {"error behind a huge integer", TEXT("[1000000000000000019884624838656, nope]"),
     "f:7:38: JSON: invalid token"},
    {"integer beyond a double", TEXT("[1" ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS "]"),
     "real number overflow"},
    {"string that does not end", TEXT("[\"99999999999999999999\\\""), "f:7:"},
    {"huge real", TEXT("[1e999]"), "real number overflow"},
    {"NaN", TEXT("[NaN]"), "invalid token"},
    {"single quotes", TEXT("{'a': 1}"), "f:7:"},
    {"trailing comma", TEXT("[1,]"), "f:7:"},
    {"scalar", TEXT("12"), "'[' or '{' expected"},
};

Test(json, parse)
{
    for (size_t i = 0; i < sizeof parse / sizeof *parse; i++) {
        osv_error e = {0};
        json_t *json;
        int status = osv_json_parse(&json, parse[i].text, parse[i].bytes, "f", 7, &e);
        check_failure(parse[i].name, status, &e, parse[i].piece ? OSV_BAD_INPUT : OSV_OK, parse[i].piece);
        cr_expect((json != NULL) == (status == OSV_OK), "%s", parse[i].name);
        json_decref(json);
    }
}

/* Half of all tokenizer_config.json have 10^30 as "model_max_length". */
Test(json, huge_integers_are_reals)
{
    static const char text[] =
        "{\"a\": 1000000000000000019884624838656, \"b\": -99999999999999999999,\n"
        "\"99999999999999999999\": \"\\\"99999999999999999999\", \"c\": 9223372036854775807,"
        " \"d\": 9223372036854775808, \"e\": 0.12345678901234567890123, \"f\": 12345678901234567890e1}";
    osv_error e = {0};
    json_t *json;
    cr_assert_eq(osv_json_parse(&json, text, sizeof text - 1, "f", 1, &e), OSV_OK, "%s", e.text);
    const struct {
        const char *key;
        double value;
    } reals[] = {{"a", 1e30},
                 {"b", -1e20},
                 {"d", 9223372036854775808.0},
                 {"e", 0.12345678901234568},
                 {"f", 1.2345678901234567e20}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const json_t *value = json_object_get(json, reals[i].key);
        cr_expect(json_is_real(value), "%s", reals[i].key);
        cr_expect_float_eq(json_real_value(value) / reals[i].value, 1, 1e-15, "%s", reals[i].key);
    }
    cr_expect_eq(json_integer_value(json_object_get(json, "c")), 9223372036854775807);
    cr_expect_str_eq(json_string_value(json_object_get(json, "99999999999999999999")),
                     "\"99999999999999999999");
    json_decref(json);
}

Test(json, nesting)
{
    enum { DEEP = 1000000 };
    char *text = malloc(DEEP);
    static const char *const open[] = {"[", "{\"a\":"};
    for (int kind = 0; kind < 2; kind++) {
        size_t step = strlen(open[kind]);
        for (size_t i = 0; i + step <= DEEP; i += step) memcpy(text + i, open[kind], step);
        osv_error e = {0};
        json_t *json;
        int status = osv_json_parse(&json, text, DEEP - DEEP % step, "f", 1, &e);
        check_failure(open[kind], status, &e, OSV_BAD_INPUT, "nested too deeply");
    }
    free(text);
}

Test(json, optional_files, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    json_t *json;
    cr_assert_eq(osv_json_read_optional(&json, temp_path("none.json"), &e), OSV_OK, "%s", e.text);
    cr_expect_null(json);
    cr_assert_eq(osv_json_read_optional(&json, temp_text("good.json", "{\"a\": 1}"), &e), OSV_OK, "%s",
                 e.text);
    cr_expect_eq(json_integer_value(json_object_get(json, "a")), 1);
    json_decref(json);
    check_failure("list", osv_json_read_optional(&json, temp_text("list.json", "[]"), &e), &e, OSV_BAD_INPUT,
                  "/list.json: must be a JSON object");
    cr_expect_null(json);
}

Test(json, files, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    json_t *json;
    cr_assert_eq(osv_json_read(&json, temp_text("good.json", "{\"a\": 1}"), &e), OSV_OK);
    cr_assert_eq(json_integer_value(json_object_get(json, "a")), 1);
    json_decref(json);

    check_failure("bad.json", osv_json_read(&json, temp_text("bad.json", "\n\n{]"), &e), &e, OSV_BAD_INPUT,
                  "/bad.json:3:");
    e = (osv_error){0};
    check_failure("missing", osv_json_read(&json, temp_path("missing"), &e), &e, OSV_BAD_INPUT,
                  "/missing: cannot open: No such file");
    e = (osv_error){0};
    check_failure("folder", osv_json_read(&json, temp_dir, &e), &e, OSV_BAD_INPUT, "is a folder");
}

enum getter { INT, NUMBER, BOOL, STRING };

/* To add a case: getter, value of key "k", required, what the message must say (NULL: it is fine). */
static const struct {
    enum getter getter;
    const char *value;
    bool required;
    const char *piece;
} getters[] = {
    {INT, "3", true, NULL},
    {INT, "null", false, NULL},
    {INT, "null", true, "f: \"k\" is missing"},
    {INT, "-1", true, "f: \"k\" must be an integer from 0 to 10, not -1"},
    {INT, "11", true, "not 11"},
    {INT, "9223372036854775807", true, "not 9223372036854775807"},
    {INT, "3.0", true, "not 3.0"},
    {INT, "\"3\"", true, "not \"3\""},
    {INT, "true", true, "not true"},
    {INT, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28]", true,
     "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23..."},
    {INT,
     "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3"
     "\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
     "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"",
     true, "\xc3\xa9..."},
    {NUMBER, "3", true, NULL},
    {NUMBER, "-2.5e-3", true, NULL},
    {NUMBER, "\"3\"", true, "\"k\" must be a number"},
    {BOOL, "false", true, NULL},
    {BOOL, "0", true, "\"k\" must be true or false, not 0"},
    {STRING, "\"x\"", true, NULL},
    {STRING, "{\"a\":1}", true, "\"k\" must be a string, not {\"a\":1}"},
};

Test(json, getters)
{
    for (size_t i = 0; i < sizeof getters / sizeof *getters; i++) {
        char text[512];
        int bytes = snprintf(text, sizeof text, "{\"k\": %s}", getters[i].value);
        osv_error e = {0};
        json_t *json;
        cr_assert_eq(osv_json_parse(&json, text, (size_t)bytes, "f", 1, &e), OSV_OK, "%s", e.text);
        int integer;
        double number;
        bool flag;
        const char *string;
        int status = OSV_OK;
        bool required = getters[i].required;
        switch (getters[i].getter) {
        case INT: status = osv_json_int(json, "k", required, 0, 10, &integer, "f", &e); break;
        case NUMBER: status = osv_json_number(json, "k", required, &number, "f", &e); break;
        case BOOL: status = osv_json_bool(json, "k", required, &flag, "f", &e); break;
        case STRING: status = osv_json_string(json, "k", required, &string, "f", &e); break;
        }
        check_failure(getters[i].value, status, &e, getters[i].piece ? OSV_BAD_INPUT : OSV_OK,
                      getters[i].piece);
        json_decref(json);
    }
}

Test(json, values_and_defaults)
{
    osv_error e = {0};
    json_t *json;
    const char *text = "{\"i\": 7, \"n\": 2, \"b\": true, \"s\": \"x\", \"null\": null}";
    cr_assert_eq(osv_json_parse(&json, text, strlen(text), "f", 1, &e), OSV_OK);
    int i = 1;
    double n = 1;
    bool b = false;
    const char *s = "default";
    cr_assert_eq(osv_json_int(json, "i", true, -5, 7, &i, "f", &e), OSV_OK);
    cr_assert_eq(osv_json_number(json, "n", true, &n, "f", &e), OSV_OK);
    cr_assert_eq(osv_json_bool(json, "b", true, &b, "f", &e), OSV_OK);
    cr_assert_eq(osv_json_string(json, "s", true, &s, "f", &e), OSV_OK);
    cr_assert(i == 7 && n == 2.0 && b && strcmp(s, "x") == 0);
    /* A missing key and a null leave the default. */
    cr_assert_eq(osv_json_int(json, "none", false, 0, 1, &i, "f", &e), OSV_OK);
    cr_assert_eq(osv_json_number(json, "null", false, &n, "f", &e), OSV_OK);
    cr_assert(i == 7 && n == 2.0);
    json_decref(json);
}
