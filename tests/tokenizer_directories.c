/* Directories without a tokenizer.json: sentencepiece and tiktoken models, vocab.json with merges.txt,
 * against what transformers and sentencepiece make of them (golden/make_tokenizer_files_golden.py); broken
 * ones. */
#include <limits.h>

#include "tokenizer_check.h"
#include "tools/text_stream.h"

/* ---- golden directories */

static const char *const base_files[] = {"tokenizer.model", "vocab.json", "merges.txt"};

/* The files of a row of cases.json in the temporary folder. */
static osv_tokenizer *open_row(const json_t *row)
{
    char place[512];
    const char *name;
    json_t *content;
    temp_close();
    temp_open();
    for (size_t i = 0; i < sizeof base_files / sizeof *base_files; i++) {
        snprintf(place, sizeof place, "%s/tokenizer_files/%s/%s", OSV_GOLDEN,
                 json_string_value(json_object_get(row, "base")), base_files[i]);
        if (access(place, R_OK) == 0) cr_assert_eq(symlink(place, temp_path(base_files[i])), 0);
    }
    json_object_foreach(json_object_get(row, "files"), name, content)
        temp_text(name, json_string_value(content));
    return open_tokenizer(temp_dir);
}

/* A name for messages. */
static const char *label(const json_t *row, size_t i)
{
    static char text[128];
    snprintf(text, sizeof text, "directory %zu (%s, %s)", i, json_string_value(json_object_get(row, "base")),
             json_string_value(json_object_get(row, "class")));
    return text;
}

Test(tokenizer_directories, golden, .init = temp_open, .fini = temp_close)
{
    json_t *root = read_json(OSV_GOLDEN "/tokenizer_files/cases.json"), *row, *one;
    size_t i, k, texts = 0;
    json_array_foreach(json_object_get(root, "directories"), i, row)
    {
        osv_tokenizer *t = open_row(row);
        const char *name = label(row, i);
        json_array_foreach(json_object_get(row, "cases"), k, one)
        {
            check_ids(t, json_array_get(one, 0), PLAIN, json_array_get(one, 1), name);
            check_ids(t, json_array_get(one, 0), SPECIAL, json_array_get(one, 2), name);
            check_text(t, json_array_get(one, 2), false, json_array_get(one, 3), name);
            check_text(t, json_array_get(one, 2), true, json_array_get(one, 4), name);
            texts++;
        }
        json_array_foreach(json_object_get(row, "continuations"), k, one)
        {
            check_ids(t, json_array_get(one, 0), CONTINUATION, json_array_get(one, 1), name);
            texts++;
        }
        osv_tokenizer_close(t);
    }
    cr_expect(texts >= 1000, "%zu texts", texts);
    json_decref(root);
}

/* Where the decoder loses nothing, decoding gives the text back, and encoding that the ids. */
Test(tokenizer_directories, there_and_back, .init = temp_open, .fini = temp_close)
{
    json_t *root = read_json(OSV_GOLDEN "/tokenizer_files/cases.json"), *row, *one;
    size_t i, k, texts = 0;
    json_array_foreach(json_object_get(root, "directories"), i, row)
    {
        if (!json_is_true(json_object_get(row, "lossless"))) continue;
        osv_tokenizer *t = open_row(row);
        bool spaces = strncmp(json_string_value(json_object_get(row, "base")), "spm", 3) == 0;
        json_array_foreach(json_object_get(row, "cases"), k, one)
        {
            const json_t *text = json_array_get(one, 0);
            const char *s = json_string_value(text);
            if (spaces && strstr(s, "\xe2\x96\x81")) continue; /* what stands for a space becomes one */
            osv_ids ids = encode(t, s, json_string_length(text), PLAIN);
            size_t bytes;
            char *back = decode(t, ids.data, ids.count, false, &bytes);
            cr_expect(bytes == json_string_length(text) && memcmp(back, s, bytes) == 0,
                      "%s: \"%s\" becomes \"%s\"", label(row, i), s, back);
            osv_ids again = encode(t, back, bytes, PLAIN);
            cr_expect(again.count == ids.count &&
                          (ids.count == 0 ||
                           memcmp(again.data, ids.data, (size_t)ids.count * sizeof *ids.data) == 0),
                      "%s: \"%s\" has other ids again", label(row, i), s);
            osv_ids_free(&again);
            osv_ids_free(&ids);
            free(back);
            texts++;
        }
        osv_tokenizer_close(t);
    }
    cr_expect(texts >= 300, "%zu texts", texts);
    json_decref(root);
}

/* Text that is given out token by token is the text of all of them, wherever the prompt ends. */
static void check_stream(const osv_tokenizer *t, const json_t *expected, size_t prompt, const char *name)
{
    osv_error e = {0};
    int count = (int)json_array_size(expected), ids[4096];
    cr_assert(count <= 4096);
    for (int i = 0; i < count; i++) ids[i] = (int)json_integer_value(json_array_get(expected, (size_t)i));
    text_stream s;
    char given[32768] = "", *whole;
    size_t bytes, total = 0, whole_bytes;
    const char *text;
    cr_assert_eq(text_stream_open(&s, t, ids, (int)prompt, &e), OSV_OK, "%s", e.text);
    for (int i = (int)prompt; i <= count; i++) {
        int status = i < count ? text_stream_push(&s, ids[i], &text, &bytes, &e)
                               : text_stream_end(&s, &text, &bytes, &e);
        cr_assert_eq(status, OSV_OK, "%s", e.text);
        cr_assert(total + bytes <= sizeof given);
        memcpy(given + total, text, bytes);
        total += bytes;
    }
    text_stream_close(&s);
    cr_assert_eq(text_of_continuation(&whole, &whole_bytes, t, ids, (int)prompt, ids + prompt,
                                      count - (int)prompt, &e),
                 OSV_OK, "%s", e.text);
    cr_expect(total == whole_bytes && memcmp(given, whole, total) == 0,
              "%s, prompt of %zu: \"%.*s\" is not \"%s\"", name, prompt, (int)total, given, whole);
    free(whole);
}

Test(tokenizer_directories, streams, .init = temp_open, .fini = temp_close)
{
    json_t *root = read_json(OSV_GOLDEN "/tokenizer_files/cases.json"), *row, *one;
    size_t i, k;
    json_array_foreach(json_object_get(root, "directories"), i, row)
    {
        osv_tokenizer *t = open_row(row);
        json_array_foreach(json_object_get(row, "cases"), k, one)
        {
            const json_t *ids = json_array_get(one, 2);
            size_t count = json_array_size(ids);
            check_stream(t, ids, 0, label(row, i));
            check_stream(t, ids, count / 3, label(row, i));
            check_stream(t, ids, count, label(row, i));
        }
        osv_tokenizer_close(t);
    }
    json_decref(root);
}

Test(tokenizer_directories, about, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *base, *about, *path;
    } rows[] = {
        {"spm_llama", "tokenizer.model of sentencepiece, BPE, byte fallback", "tokenizer.model"},
        {"spm_rules", "tokenizer.model of sentencepiece, BPE, characters", "tokenizer.model"},
        {"tiktoken", "tokenizer.model of tiktoken, BPE, byte-level", "tokenizer.model"},
        {"vocab_merges", "vocab.json and merges.txt, BPE, byte-level", "vocab.json"},
    };
    json_t *root = read_json(OSV_GOLDEN "/tokenizer_files/cases.json"), *row;
    size_t i;
    int seen = 0;
    json_array_foreach(json_object_get(root, "directories"), i, row)
    {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            if (strcmp(json_string_value(json_object_get(row, "base")), rows[r].base) != 0) continue;
            osv_tokenizer *t = open_row(row);
            cr_expect_str_eq(osv_tokenizer_about(t), rows[r].about);
            cr_expect_str_eq(osv_tokenizer_path(t), temp_path(rows[r].path));
            osv_tokenizer_close(t);
            seen |= 1 << r;
        }
    }
    cr_expect_eq(seen, 15);
    json_decref(root);
}

/* A tokenizer.json goes before a tokenizer.model, and that before vocab.json. */
Test(tokenizer_directories, order, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *file, *place, *about;
    } rows[] = {
        {"vocab.json", "tokenizer_files/vocab_merges/vocab.json", NULL},
        {"merges.txt", "tokenizer_files/vocab_merges/merges.txt", "vocab.json and"},
        {"tokenizer.model", "tokenizer_files/spm_llama/tokenizer.model", "tokenizer.model of"},
        {"tokenizer.json", "tokenizer/gpt2/tokenizer.json", "tokenizer.json, BPE"},
    };
    temp_text("config.json", "{\"model_type\": \"gpt2\"}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char place[512];
        snprintf(place, sizeof place, "%s/%s", OSV_GOLDEN, rows[i].place);
        cr_assert_eq(symlink(place, temp_path(rows[i].file)), 0);
        if (!rows[i].about) continue;
        osv_tokenizer *t = open_tokenizer(temp_dir);
        cr_expect_eq(strncmp(osv_tokenizer_about(t), rows[i].about, strlen(rows[i].about)), 0, "%s",
                     osv_tokenizer_about(t));
        osv_tokenizer_close(t);
    }
}

/* ---- broken files */

/* A protocol buffer, field by field. */
typedef struct {
    char data[4096];
    size_t bytes;
} buffer;

static void put_number(buffer *b, int field, int value)
{
    b->data[b->bytes++] = (char)(field << 3 & 0x7f);
    if (field >= 16) b->data[b->bytes - 1] |= (char)0x80, b->data[b->bytes++] = (char)(field >> 4);
    b->data[b->bytes++] = (char)value; /* below 128 */
}

static void put_bytes(buffer *b, int field, const void *bytes, size_t count)
{
    b->data[b->bytes++] = (char)(field << 3 | 2);
    b->data[b->bytes++] = (char)count;
    memcpy(b->data + b->bytes, bytes, count);
    b->bytes += count;
}

static void put_piece(buffer *b, const char *text, float score, int type)
{
    buffer piece = {.bytes = 0};
    put_bytes(&piece, 1, text, strlen(text));
    piece.data[piece.bytes++] = 2 << 3 | 5;
    memcpy(piece.data + piece.bytes, &score, 4);
    piece.bytes += 4;
    put_number(&piece, 3, type);
    put_bytes(b, 1, piece.data, piece.bytes);
}

static void put_pieces(buffer *b)
{
    put_piece(b, "<unk>", 0, 2);
    put_piece(b, "<s>", 0, 3);
    put_piece(b, "a", -1, 1);
    put_piece(b, "b", -2, 1);
    put_piece(b, "ab", 0, 1);
    put_piece(b, "\xe2\x96\x81", -3, 1);
}

static void put_trainer(buffer *b, int field, int value)
{
    buffer trainer = {.bytes = 0};
    put_number(&trainer, 3, 2);
    if (field) put_number(&trainer, field, value);
    put_bytes(b, 2, trainer.data, trainer.bytes);
}

static int open_buffer(const buffer *b, osv_tokenizer **t, osv_error *e)
{
    temp_write("tokenizer.model", b->data, b->bytes);
    *e = (osv_error){0};
    return osv_tokenizer_open(t, temp_dir, e);
}

static void refused(const char *name, const buffer *b, const char *message)
{
    osv_error e;
    osv_tokenizer *t;
    int status = open_buffer(b, &t, &e);
    check_failure(name, status, &e, OSV_BAD_INPUT, message);
    cr_expect(strstr(e.text, "tokenizer.model") != NULL, "%s: \"%s\" names no file", name, e.text);
    cr_expect_null(t);
}

Test(tokenizer_directories, broken_sentencepiece, .init = temp_open, .fini = temp_close)
{
    static const struct {
        int field, value;
        const char *message;
    } trainers[] = {{3, 1, "UNIGRAM is not supported"},
                    {3, 3, "WORD is not supported"},
                    {3, 9, "of no known type is not supported"},
                    {24, 1, "\"treat_whitespace_as_suffix\" is not"}};
    for (size_t i = 0; i < sizeof trainers / sizeof *trainers; i++) {
        buffer b = {.bytes = 0};
        put_pieces(&b);
        put_trainer(&b, trainers[i].field, trainers[i].value);
        refused("trainer", &b, trainers[i].message);
    }
    static const struct {
        const char *text;
        float score;
        int type;
        const char *message;
    } pieces[] = {{"a", 0, 1, "\"a\" is there twice"},
                  {"", 0, 1, "piece 6 (\"\") is empty or no text"},
                  {"\xff", 0, 1, "is empty or no text"},
                  {"c", 0.0f / 0.0f, 1, "piece 6 has no score"},
                  {"c", 0, 5, "marked unused"}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        buffer b = {.bytes = 0};
        put_pieces(&b);
        put_piece(&b, pieces[i].text, pieces[i].score, pieces[i].type);
        put_trainer(&b, 0, 0);
        refused("piece", &b, pieces[i].message);
    }
    buffer b = {.bytes = 0};
    put_trainer(&b, 0, 0);
    refused("no pieces", &b, "without pieces");
    put_pieces(&b);
    buffer table = {.bytes = 0};
    put_bytes(&table, 2, "\x08\0\0\0", 4);
    size_t before = b.bytes;
    put_bytes(&b, 3, table.data, table.bytes);
    refused("table", &b, "the table of characters is cut off");
    b.bytes = before;
    put_bytes(&b, 5, table.data, table.bytes);
    refused("denormalizer", &b, "denormalizer_spec");
    refused("empty", &(buffer){.bytes = 0}, "without pieces");
    refused("text", &(buffer){.data = "hello world\n", .bytes = 12}, "neither a sentencepiece model nor");
}

/* "ab" is one piece; the dummy prefix; a text that continues has none. */
Test(tokenizer_directories, small_sentencepiece, .init = temp_open, .fini = temp_close)
{
    buffer b = {.bytes = 0};
    osv_error e;
    osv_tokenizer *t;
    put_pieces(&b);
    put_trainer(&b, 0, 0);
    cr_assert_eq(open_buffer(&b, &t, &e), OSV_OK, "%s", e.text);
    osv_ids ids = encode(t, "ab <s>a", 7, SPECIAL);
    const int expected[] = {5, 4, 1, 5, 2}; /* the blank at the end of the first part is removed */
    cr_assert_eq(ids.count, 5);
    cr_expect_arr_eq(ids.data, expected, sizeof expected);
    osv_ids_free(&ids);
    ids = encode(t, " ab", 3, CONTINUATION);
    cr_assert_eq(ids.count, 2);
    cr_expect_arr_eq(ids.data, expected, 2 * sizeof(int));
    osv_ids_free(&ids);
    osv_tokenizer_close(t);
}

Test(tokenizer_directories, cut_sentencepiece, .init = temp_open, .fini = temp_close)
{
    char *text = malloc(65536);
    FILE *f = fopen(OSV_GOLDEN "/tokenizer_files/spm_rules/tokenizer.model", "rb");
    cr_assert(f != NULL);
    size_t bytes = fread(text, 1, 65536, f);
    fclose(f);
    cr_assert(bytes > 4000 && bytes < 65536);
    for (size_t at = 0; at < bytes; at += 1 + at / 9) {
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        temp_write("tokenizer.model", text, at);
        int status = osv_tokenizer_open(&t, temp_dir, &e);
        /* Pieces come first; what comes after the type of the model can be missing. */
        bool all = status == OSV_OK && at > bytes / 2;
        cr_expect(all || (status == OSV_BAD_INPUT && strstr(e.text, "tokenizer.model")), "%zu: %s", at,
                  e.text);
        osv_tokenizer_close(t);
    }
    free(text);
}

typedef struct {
    const char *name, *file, *text, *message;
} row;

/* Files one after the other; a row without a message only writes its file. */
static void check_rows(const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].text)
            temp_text(rows[i].file, rows[i].text);
        else
            remove(temp_path(rows[i].file));
        if (!rows[i].message) continue;
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        int status = osv_tokenizer_open(&t, temp_dir, &e);
        check_failure(rows[i].name, status, &e, *rows[i].message ? OSV_BAD_INPUT : OSV_OK,
                      *rows[i].message ? rows[i].message : NULL);
        osv_tokenizer_close(t);
    }
}

Test(tokenizer_directories, broken_tiktoken, .init = temp_open, .fini = temp_close)
{
    static const row rows[] = {
        {"of no known model", "tokenizer.model", "YQ== 0\nYg== 1\nYWI= 2\n",
         "a tiktoken file of 3 pieces, which has neither its special tokens nor"},
        {"", "config.json", "{\"model_type\": \"llama\"}", "of 3 pieces"},
        {"names", "tokenizer_config.json",
         "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"added_tokens_decoder\": {\"3\": {\"content\": "
         "\"<|x|>\"}}}",
         ""},
        {"CRLF, empty line at the end", "tokenizer.model", "YQ== 0\r\nYg== 1\r\nYWI= 2\n\n", ""},
        {"no base64", "tokenizer.model", "YQ== 0\nYg=! 1\n", "tokenizer.model:2: \"Yg=!\" is not base64"},
        {"cut base64", "tokenizer.model", "YQ== 0\nYg= 1\n", "\"Yg=\" is not base64"},
        {"no rank", "tokenizer.model", "YQ== 0\nYg==\n", "tokenizer.model:2: must be a piece in base64 and"},
        {"rank of letters", "tokenizer.model", "YQ== 0\nYg== x\n", "tokenizer.model:2: must be"},
        {"huge rank", "tokenizer.model", "YQ== 0\nYg== 99999999999999999999\n", "tokenizer.model:2: must be"},
        {"twice", "tokenizer.model", "YQ== 0\nYQ== 1\n", "tokenizer.model:2: piece \"a\" is there twice"},
        {"one rank twice", "tokenizer.model", "YQ== 0\nYg== 0\n", "id 0 belongs to \"a\" and to \"b\""},
        {"gap", "tokenizer.model", "YQ== 0\nYg== 2\n", "2 pieces, but ranks up to 2"},
        {"", "tokenizer.model", "YQ== 0\nYg== 1\nYWI= 2\n", NULL},
        {"huge id", "tokenizer_config.json",
         "{\"tokenizer_class\": \"X\", \"added_tokens_decoder\": {\"999999999\": {\"content\": \"<|x|>\"}}}",
         "id 999999999 of an added token"},
    };
    check_rows(rows, sizeof rows / sizeof *rows);
    char *text = calloc(1, 16384);
    memset(text, 'Y', 8192); /* 6144 bytes, as 10240 of the byte alphabet */
    strcat(text, " 0\n");
    const row longest[] = {
        {"", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"1\": {\"content\": \"<|x|>\"}}}", NULL},
        {"a piece without end", "tokenizer.model", text, "has 10240 bytes, at most 4096 are read"}};
    check_rows(longest, 2);
    free(text);
}

Test(tokenizer_directories, broken_vocab_and_merges, .init = temp_open, .fini = temp_close)
{
    static const row rows[] = {
        {"no merges", "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}", "(merges.txt is missing)"},
        {"no class", "merges.txt", "#version: 0.2\r\na b\r\n", "here it is not said"},
        {"another class", "tokenizer_config.json", "{\"tokenizer_class\": \"BloomTokenizerFast\"}",
         "must be Qwen2Tokenizer or GPT2Tokenizer (\"tokenizer_class\" in tokenizer_config.json), here it is "
         "BloomTokenizerFast"},
        {"generic class", "tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
         "here it is PreTrainedTokenizerFast"},
        {"GPT-2", "tokenizer_config.json", "{\"tokenizer_class\": \"GPT2Tokenizer\"}", ""},
        {"half a merge", "merges.txt", "#version: 0.2\na b\nab\n", "merges[1]: must be \"left right\""},
        {"unknown merge", "merges.txt", "a b\na c\n", "merges[1]: \"c\" is not in the vocabulary"},
        {"no UTF-8", "merges.txt", "a b\na \xff\n", "merges.txt: not UTF-8 at byte 6"},
        {"", "merges.txt", "a b\n", NULL},
        {"no object", "vocab.json", "[\"a\"]", "must be an object"},
        {"no JSON", "vocab.json", "{\"a\": 0", "vocab.json:1:"},
        {"", "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}", NULL},
        {"added without id", "added_tokens.json", "{\"<x>\": \"3\"}",
         "added_tokens.json: \"<x>\" must be an id"},
        {"added", "added_tokens.json", "{\"<x>\": 3}", ""},
        {"no vocabulary", "vocab.json", NULL, "(vocab.json is missing)"},
    };
    check_rows(rows, sizeof rows / sizeof *rows);
}
