/* For suites about tokenizers: ids and texts against JSON, with messages. */
#ifndef OSV_TESTS_TOKENIZER_CHECK_H
#define OSV_TESTS_TOKENIZER_CHECK_H

#include <jansson.h>

#include "files.h"
#include "loader/tokenizer.h"

static inline json_t *read_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error); /* texts with NUL are among the cases */
    cr_assert(root != NULL, "%s:%d: %s", path, error.line, error.text);
    return root;
}

static inline osv_tokenizer *open_tokenizer(const char *dir)
{
    osv_error e = {0};
    osv_tokenizer *t = NULL;
    cr_assert_eq(osv_tokenizer_open(&t, dir, &e), OSV_OK, "%s", e.text);
    return t;
}

typedef enum { PLAIN, SPECIAL, CONTINUATION } mode;

static inline osv_ids encode(const osv_tokenizer *t, const char *text, size_t bytes, mode how)
{
    osv_error e = {0};
    osv_ids ids = {0};
    int status = how == CONTINUATION ? osv_tokenizer_encode_continuation(t, text, bytes, &ids, &e)
                                     : osv_tokenizer_encode(t, text, bytes, how == SPECIAL, &ids, &e);
    cr_assert_eq(status, OSV_OK, "%s", e.text);
    return ids;
}

static inline bool ids_equal(const osv_ids *ids, const json_t *expected)
{
    if (!json_is_array(expected) || json_array_size(expected) != (size_t)ids->count) return false;
    for (int i = 0; i < ids->count; i++)
        if (json_integer_value(json_array_get(expected, (size_t)i)) != ids->data[i]) return false;
    return true;
}

static inline void check_ids(const osv_tokenizer *t, const json_t *text, mode how, const json_t *expected,
                             const char *name)
{
    osv_ids ids = encode(t, json_string_value(text), json_string_length(text), how);
    if (!ids_equal(&ids, expected)) {
        char *want = json_dumps(expected, JSON_COMPACT), got[512] = "";
        for (int i = 0; i < ids.count && strlen(got) < 480; i++)
            sprintf(got + strlen(got), "%d,", ids.data[i]);
        cr_expect_fail("%s, mode %d: \"%s\": expected %s, got %s", name, how, json_string_value(text), want,
                       got);
        free(want);
    }
    osv_ids_free(&ids);
}

static inline char *decode(const osv_tokenizer *t, const int *ids, int count, bool skip, size_t *bytes)
{
    osv_error e = {0};
    char *text = NULL;
    cr_assert_eq(osv_tokenizer_decode(t, ids, count, skip, &text, bytes, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(text[*bytes], '\0');
    return text;
}

static inline void check_text(const osv_tokenizer *t, const json_t *ids, bool skip, const json_t *expected,
                              const char *name)
{
    if (json_is_null(expected)) return; /* the reference writes it in a way of its own */
    int *data = calloc(json_array_size(ids) + 1, sizeof *data);
    for (size_t i = 0; i < json_array_size(ids); i++)
        data[i] = (int)json_integer_value(json_array_get(ids, i));
    size_t bytes;
    char *text = decode(t, data, (int)json_array_size(ids), skip, &bytes);
    cr_expect(bytes == json_string_length(expected) && memcmp(text, json_string_value(expected), bytes) == 0,
              "%s: decoded \"%s\", expected \"%s\"", name, text, json_string_value(expected));
    free(text);
    free(data);
}

static inline const char *test_data(void)
{
    const char *data = getenv("OSV_TEST_DATA");
    if (!data) cr_skip_test("OSV_TEST_DATA is not set: real tokenizers and their vectors are not compared");
    return data;
}

#endif
