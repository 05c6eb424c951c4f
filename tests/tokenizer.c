/* The tokenizer against what the tokenizers library and transformers make of the same texts
 * (golden/make_tokenizer_golden.py), on hostile texts, and on the text of a trained model where the data is
 * there. */
#include <time.h>

#include "tokenizer_check.h"

/* What comes out of decoding comes out again when it is encoded and decoded once more. */
static void check_stable(const osv_tokenizer *t, const json_t *text, const char *name)
{
    osv_ids ids = encode(t, json_string_value(text), json_string_length(text), PLAIN);
    size_t bytes, again_bytes;
    char *first = decode(t, ids.data, ids.count, false, &bytes);
    osv_ids_free(&ids);
    ids = encode(t, first, bytes, PLAIN);
    char *again = decode(t, ids.data, ids.count, false, &again_bytes);
    cr_expect(again_bytes == bytes && memcmp(first, again, bytes) == 0, "%s: \"%s\" becomes \"%s\"", name,
              first, again);
    osv_ids_free(&ids);
    free(first);
    free(again);
}

/* `stable`: without a dummy prefix (which grows at every added token inside a text) or lossy normalizers. */
static void check_golden(const char *name, bool stable)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tokenizer/%s", OSV_GOLDEN, name);
    osv_tokenizer *t = open_tokenizer(path);
    cr_expect(strncmp(osv_tokenizer_path(t), path, strlen(path)) == 0);
    const char *kind = strcmp(name, "llama3") == 0 || strcmp(name, "gpt2") == 0 ? "byte-level"
                                                                                : "byte fallback";
    char about[96];
    snprintf(about, sizeof about, "tokenizer.json, BPE, %s", kind);
    cr_expect_str_eq(osv_tokenizer_about(t), about);
    strcat(path, "/cases.json");
    json_t *root = read_json(path), *cases = json_object_get(root, "cases"), *row;
    cr_assert(json_array_size(cases) >= 150);
    size_t i;
    json_array_foreach(cases, i, row)
    {
        const json_t *text = json_array_get(row, 0), *special = json_array_get(row, 2);
        check_ids(t, text, PLAIN, json_array_get(row, 1), name);
        check_ids(t, text, SPECIAL, special, name);
        check_text(t, special, false, json_array_get(row, 3), name);
        check_text(t, special, true, json_array_get(row, 4), name);
        if (stable) check_stable(t, text, name);
    }
    cases = json_object_get(root, "continuations");
    cr_assert(json_array_size(cases) >= 40);
    json_array_foreach(cases, i, row)
        check_ids(t, json_array_get(row, 0), CONTINUATION, json_array_get(row, 1), name);
    json_decref(root);
    osv_tokenizer_close(t);
}

Test(tokenizer, llama3)
{
    check_golden("llama3", true);
}
Test(tokenizer, llama2)
{
    check_golden("llama2", false);
}
Test(tokenizer, gemma)
{
    check_golden("gemma", true);
}
Test(tokenizer, gpt2)
{
    check_golden("gpt2", true);
}
Test(tokenizer, metaspace)
{
    check_golden("metaspace", false);
}

/* Directories in which a tokenizer_config.json changes what the file says. */
Test(tokenizer, classes, .init = temp_open, .fini = temp_close)
{
    json_t *root = read_json(OSV_GOLDEN "/tokenizer/classes.json"), *row, *content, *one;
    size_t i, k;
    const char *name;
    json_array_foreach(json_object_get(root, "directories"), i, row)
    {
        const char *base = json_string_value(json_object_get(row, "base"));
        char place[512], label[64];
        snprintf(place, sizeof place, "%s/tokenizer/%s/tokenizer.json", OSV_GOLDEN, base);
        snprintf(label, sizeof label, "directory %zu (%s)", i, base);
        cr_assert_eq(symlink(place, temp_path("tokenizer.json")), 0);
        json_object_foreach(json_object_get(row, "files"), name, content)
            temp_text(name, json_string_value(content));
        osv_tokenizer *t = open_tokenizer(temp_dir);
        json_array_foreach(json_object_get(row, "cases"), k, one)
        {
            check_ids(t, json_array_get(one, 0), PLAIN, json_array_get(one, 1), label);
            check_ids(t, json_array_get(one, 0), SPECIAL, json_array_get(one, 2), label);
        }
        osv_tokenizer_close(t);
        remove(temp_path("tokenizer.json"));
        json_object_foreach(json_object_get(row, "files"), name, content) remove(temp_path(name));
    }
    json_decref(root);
}

/* ---- texts that are long, odd or wrong */

static const char *const names[] = {"llama3", "llama2", "gemma", "gpt2", "metaspace"};

static osv_tokenizer *open_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tokenizer/%s", OSV_GOLDEN, name);
    return open_tokenizer(path);
}

/* A text of `bytes` bytes made of one string; the ids of half of it, twice, cost less than 8 times those of
 * the whole. */
static void check_long(const osv_tokenizer *t, const char *unit, size_t bytes, const char *name)
{
    char *text = malloc(bytes);
    size_t length = strlen(unit);
    for (size_t i = 0; i < bytes; i++) text[i] = unit[i % length];
    bytes -= bytes % length;
    osv_ids ids = encode(t, text, bytes, PLAIN);
    size_t decoded;
    char *back = decode(t, ids.data, ids.count, false, &decoded);
    size_t extra = decoded > bytes ? decoded - bytes : 0; /* a dummy prefix may come back */
    if (strcmp(name, "metaspace") != 0)                   /* that one changes the text */
        cr_expect(extra <= 1 && decoded >= bytes && memcmp(back + extra, text, bytes) == 0,
                  "%s: %zu bytes of \"%s\"", name, bytes, unit);
    free(back);
    osv_ids_free(&ids);
    free(text);
}

Test(tokenizer, a_megabyte_without_end)
{
    static const char *const units[] = {
        "a", " ", "\n", "abcdefghij", "é", "\xe6\xbc\xa2", "1", "<s", "\xf0\x9f\xa6\x99", " a", "\t\r\n"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        osv_tokenizer *t = open_golden(names[n]);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            check_long(t, units[i], (size_t)1 << (i < 3 ? 20 : 17), names[n]);
        osv_tokenizer_close(t);
    }
}

/* Merging a long word must not be quadratic: 16 times the text, at most 64 times the time (n log n: 20). */
Test(tokenizer, long_words_cost_n_log_n)
{
    osv_tokenizer *t = open_golden("gpt2");
    double seconds[2];
    for (int k = 0; k < 2; k++) {
        size_t bytes = (size_t)1 << (k ? 21 : 17);
        char *text = malloc(bytes);
        unsigned seed = 1;
        for (size_t i = 0; i < bytes; i++)
            text[i] = "etaoinshrdlu"[(seed = seed * 1103515245u + 12345u) >> 16 & 7];
        struct timespec from, to;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        osv_ids ids = encode(t, text, bytes, PLAIN);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        seconds[k] = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        osv_ids_free(&ids);
        free(text);
    }
    cr_expect(seconds[1] < 64 * seconds[0] + 0.01, "%g s and %g s", seconds[0], seconds[1]);
    osv_tokenizer_close(t);
}

Test(tokenizer, invalid_utf8_is_named_with_its_place)
{
    static const struct {
        const char *text;
        size_t bytes, bad;
    } rows[] = {
        {"abc\xff", 4, 3},         {"\x80", 1, 0},          {"ab\xc0\xafz", 5, 2},
        {"\xe6\xbc", 2, 0},        {"a\xed\xa0\x80", 4, 1}, {"\xf4\x90\x80\x80", 4, 0},
        {"ok \xf0\x9f\xa6", 6, 3}, {"a\0b\xfe", 4, 3},
    };
    osv_tokenizer *t = open_golden("llama3");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_error e = {0};
        osv_ids ids = {0};
        char place[32];
        snprintf(place, sizeof place, "at byte %zu ", rows[i].bad);
        int status = osv_tokenizer_encode(t, rows[i].text, rows[i].bytes, true, &ids, &e);
        check_failure("encode", status, &e, OSV_BAD_INPUT, place);
        e = (osv_error){0};
        status = osv_tokenizer_encode_continuation(t, rows[i].text, rows[i].bytes, &ids, &e);
        check_failure("continuation", status, &e, OSV_BAD_INPUT, place);
        osv_ids_free(&ids);
    }
    osv_tokenizer_close(t);
}

Test(tokenizer, empty_texts_and_no_ids)
{
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        osv_tokenizer *t = open_golden(names[n]);
        osv_ids ids = encode(t, NULL, 0, CONTINUATION);
        cr_expect_eq(ids.count, 0);
        osv_ids_free(&ids);
        size_t bytes;
        char *text = decode(t, NULL, 0, true, &bytes);
        cr_expect_eq(bytes, 0);
        free(text);
        osv_tokenizer_close(t);
    }
}

Test(tokenizer, pieces_and_ids_without_one)
{
    osv_tokenizer *t = open_golden("llama2");
    int size = osv_tokenizer_size(t);
    cr_expect_str_eq(osv_tokenizer_piece(t, 1), "<s>");
    cr_expect_str_eq(osv_tokenizer_piece(t, 3 + 0x0a), "<0x0A>");
    cr_expect_str_eq(osv_tokenizer_piece(t, size - 1), "<pad>");
    cr_expect_null(osv_tokenizer_piece(t, -1));
    cr_expect_null(osv_tokenizer_piece(t, size));
    const int odd[] = {-1, 3 + 'h', size, 2147483647, 3 + 'i', -2147483647 - 1};
    size_t bytes;
    char *text = decode(t, odd, 6, false, &bytes);
    cr_expect_str_eq(text, "hi");
    free(text);
    const int cut[] = {3 + 0xe6, 3 + 0xbc, 1,
                       3 + 0xe6, 3 + 0xbc, 3 + 0xa2}; /* half a character, and a whole one */
    text = decode(t, cut, 6, false, &bytes);
    cr_expect_str_eq(text, "\xef\xbf\xbd\xef\xbf\xbd<s>\xe6\xbc\xa2", "got \"%s\"", text);
    free(text);
    osv_tokenizer_close(t);
}

/* Ids are appended, and a tokenizer serves several threads at once. */
Test(tokenizer, appends_and_shares)
{
    osv_tokenizer *t = open_golden("gemma");
    osv_error e = {0};
    osv_ids one = encode(t, "the river", 9, SPECIAL);
    osv_ids both = encode(t, "the river", 9, SPECIAL);
    cr_assert_eq(osv_tokenizer_encode(t, "the river", 9, true, &both, &e), OSV_OK);
    cr_assert_eq(both.count, 2 * one.count);
    cr_expect_arr_eq(both.data + one.count, one.data, (size_t)one.count * sizeof(int));
    int wrong = 0;
#pragma omp parallel for reduction(+ : wrong) num_threads(4)
    for (int i = 0; i < 400; i++) {
        osv_error own = {0};
        osv_ids ids = {0};
        wrong += osv_tokenizer_encode(t, "the river", 9, true, &ids, &own) != OSV_OK ||
                 ids.count != one.count || memcmp(ids.data, one.data, (size_t)ids.count * sizeof(int)) != 0;
        osv_ids_free(&ids);
    }
    cr_expect_eq(wrong, 0);
    osv_ids_free(&one);
    osv_ids_free(&both);
    osv_tokenizer_close(t);
}

/* ---- data from elsewhere */

/* A trained model's own text: its prompt and its greedy continuation, both ways. */
Test(tokenizer, text_of_a_trained_model)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/tinystories-656k-hf", test_data());
    if (access(path, R_OK) != 0) cr_skip_test("%s is not there", path);
    osv_tokenizer *t = open_tokenizer(path);
    strcat(path, "/golden-numpy.json");
    json_t *root = read_json(path), *expected = json_object_get(root, "ids");
    int count = (int)json_array_size(expected);
    cr_assert(count > 20);
    int *data = calloc((size_t)count, sizeof *data);
    for (int i = 0; i < count; i++) data[i] = (int)json_integer_value(json_array_get(expected, (size_t)i));
    size_t bytes;
    char *text = decode(t, data, count, true, &bytes);
    cr_expect_eq(strncmp(text, "Once upon a time", 16), 0, "%s", text);
    osv_ids ids = encode(t, text, bytes, SPECIAL);
    cr_expect(ids_equal(&ids, expected));
    osv_ids_free(&ids);
    free(text);
    free(data);
    json_decref(root);
    osv_tokenizer_close(t);
}
