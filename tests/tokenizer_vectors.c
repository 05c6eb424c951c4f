/* Real tokenizers against vectors that others made, and the files of one tokenizer against each other: where
 * OSV_TEST_DATA says that the data is there. */
#include "tokenizer_check.h"

/* A folder with files of the data under other names: "name=place,name=place"; "name:text" is written. */
static osv_tokenizer *open_data(const char *data, const char *files)
{
    char list[1024], place[1024], *state;
    snprintf(list, sizeof list, "%s", files);
    temp_close();
    temp_open();
    for (char *file = strtok_r(list, ";", &state); file; file = strtok_r(NULL, ";", &state)) {
        char *equals = strchr(file, '='), *text = strchr(file, '~');
        if (text) {
            *text = '\0';
            temp_text(file, text + 1);
            continue;
        }
        cr_assert(equals != NULL);
        *equals = '\0';
        snprintf(place, sizeof place, "%s/%s", data, equals + 1);
        if (access(place, R_OK) != 0) cr_skip_test("%s is not there", place);
        cr_assert_eq(symlink(place, temp_path(file)), 0);
    }
    return open_tokenizer(temp_dir);
}

#define JSON(place)  "tokenizer.json=tokenizers/" place
#define MODEL(place) "tokenizer.model=tokenizers/" place
#define CONFIG(text) ";tokenizer_config.json~" text
#define LLAMA3 \
    MODEL("llama3/tokenizer.model") ";tokenizer_config.json=tokenizers/llama3/tokenizer_config.json"
#define LLAMA31 MODEL("llama3/tokenizer.model") ";config.json~{\"rope_scaling\": {\"rope_type\": \"llama3\"}}"
#define QWEN2                                                                        \
    "vocab.json=tokenizers/qwen2/vocab.json;merges.txt=tokenizers/qwen2/merges.txt;" \
    "config.json=tokenizers/qwen2/config.json;"                                      \
    "tokenizer_config.json=tokenizers/qwen2/tokenizer_config.json"
#define QWEN2_OLDER                                                                  \
    "vocab.json=tokenizers/qwen2/vocab.json;merges.txt=tokenizers/qwen2/merges.txt;" \
    "config.json=tokenizers/qwen2/config.json;"                                      \
    "added_tokens.json=tokenizers/qwen2/added_tokens.json;"                          \
    "special_tokens_map.json=tokenizers/qwen2/special_tokens_map.json"

#define JS(name) "test-vectors/transformers.js/" name

static const struct {
    const char *files, *vectors, *key;
    int bos, eos; /* put around the ids here where a row has them: the file has no template for them */
} known[] = {
    {JSON("llama2/tokenizer.json"), JS("llama.json"), "Xenova/llama-tokenizer", -1, -1},
    {JSON("llama2/tokenizer.json"), "test-vectors/belladoreai/llama1-2.json", NULL, -1, -1},
    {MODEL("llama2/tokenizer.model"), JS("llama.json"), "Xenova/llama-tokenizer", 1, -1},
    {MODEL("llama2/tokenizer.model"), "test-vectors/belladoreai/llama1-2.json", NULL, 1, -1},
    {JSON("gpt2/tokenizer.json"), JS("gpt2.json"), "Xenova/gpt2", -1, -1},
    {JSON("gpt2/tokenizer.json"), JS("gpt2.json"), "openai-community/gpt2", -1, -1},
    {JSON("gpt2/tokenizer.json"), JS("falcon.json"), "tiiuae/falcon-rw-1b", -1, -1}, /* GPT-2's vocabulary */
    {LLAMA3, JS("llama.json"), "Xenova/llama3-tokenizer", -1, -1},
    {LLAMA3, JS("llama.json"), "Xenova/llama3-tokenizer-new", 128000, -1},
    {LLAMA31, JS("llama.json"), "Xenova/llama3-tokenizer", -1, -1},
    {LLAMA31, "test-vectors/belladoreai/llama3.json", NULL, 128000, 128001},
    {QWEN2, JS("qwen2.json"), "Xenova/Qwen1.5-0.5B-Chat", -1, -1},
    {QWEN2_OLDER, JS("qwen2.json"), "Xenova/Qwen1.5-0.5B-Chat", -1, -1},
};

static const char *const without_vocabulary[][2] = {
    {JS("falcon.json"), "tiiuae/falcon-7b"},
    {JS("gemma.json"), "Xenova/gemma2-tokenizer"},
    {JS("gpt2.json"), "Xenova/gpt-4"},
    {JS("gpt2.json"), "Xenova/gpt-4o"},
    {JS("gpt2.json"), "Xenova/claude-tokenizer"},
    {JS("gpt2.json"), "bigcode/santacoder"},
    {JS("gpt2.json"), "Xenova/CodeGPT-tokenizer"},
    {JS("gpt2.json"), "huggingface-course/codeparrot-ds"},
    {JS("llama.json"), "Xenova/TinyLLama-v0"},
    {JS("llama.json"), "Xenova/deepseek-coder-1.3b-instruct"},
    {JS("llama.json"), "Xenova/tamillama_tiny_30m"},
    {JS("t5.json"), "Xenova/t5-small"},
    {JS("t5.json"), "Xenova/t5-tokenizer-new"},
    {JS("t5.json"), "Xenova/LaMini-Flan-T5-783M"},
    {JS("t5.json"), "google-t5/t5-small"},
    {"test-vectors/go-sentencepiece/gemma12.json", NULL},
};

static void check_row(const osv_tokenizer *t, const json_t *row, int bos, int eos, const char *name)
{
    json_t *expected = json_copy(json_object_get(row, "ids"));
    size_t count = json_array_size(expected);
    const json_t *with_bos = json_object_get(row, "bos"), *with_eos = json_object_get(row, "eos");
    bool decode_only = json_is_true(json_object_get(row, "decode"));
    if (json_is_false(with_bos) || decode_only) bos = -1; /* those of the text itself */
    if (json_is_false(with_eos) || decode_only) eos = -1;
    if (eos >= 0 && count && json_integer_value(json_array_get(expected, count - 1)) == eos)
        json_array_remove(expected, count - 1);
    if (bos >= 0 && count && json_integer_value(json_array_get(expected, 0)) == bos)
        json_array_remove(expected, 0);
    check_ids(t, json_object_get(row, "text"), SPECIAL, expected, name);
    json_decref(expected);
    const json_t *decoded = json_object_get(row, decode_only ? "text" : "decoded");
    /* One row is decoded with transformers' clean-up of spaces, which is not the tokenizer's; a text after
     * BOS keeps its dummy prefix in other decoders than the one of a sentencepiece file alone. */
    if (!decoded || bos == 1 || strstr(json_string_value(decoded), "'ll!!to")) return;
    check_text(t, json_object_get(row, "ids"), false, decoded, name);
}

Test(tokenizer_vectors, known, .init = temp_open, .fini = temp_close)
{
    const char *data = test_data();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        osv_tokenizer *t = open_data(data, known[i].files);
        char path[512], name[256];
        snprintf(path, sizeof path, "%s/%s", data, known[i].vectors);
        snprintf(name, sizeof name, "%s by %.60s", known[i].vectors, known[i].files);
        json_t *root = read_json(path), *rows = known[i].key ? json_object_get(root, known[i].key) : root,
               *row;
        const char *key;
        size_t k, count = 0;
        json_array_foreach(rows, k, row) check_row(t, row, known[i].bos, known[i].eos, name), count++;
        json_object_foreach(rows, key, row) check_row(t, row, known[i].bos, known[i].eos, name), count++;
        cr_expect(count >= 12, "%s: %zu rows", name, count);
        json_decref(root);
        osv_tokenizer_close(t);
    }
}

/* Every set of vectors is checked above, or named here. */
Test(tokenizer_vectors, without_vocabulary)
{
    const char *data = test_data();
    static const char *const files[] = {JS("falcon.json"), JS("gemma.json"), JS("gpt2.json"),
                                        JS("llama.json"),  JS("qwen2.json"), JS("t5.json")};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", data, files[f]);
        if (access(path, R_OK) != 0) cr_skip_test("%s is not there", path);
        json_t *root = read_json(path), *rows;
        const char *key;
        json_object_foreach(root, key, rows)
        {
            bool found = false;
            for (size_t i = 0; i < sizeof known / sizeof *known; i++)
                found |= strcmp(known[i].vectors, files[f]) == 0 && strcmp(known[i].key, key) == 0;
            for (size_t i = 0; i < sizeof without_vocabulary / sizeof *without_vocabulary; i++)
                found |= strcmp(without_vocabulary[i][0], files[f]) == 0 && without_vocabulary[i][1] &&
                         strcmp(without_vocabulary[i][1], key) == 0;
            cr_expect(found, "%s: %s is neither checked nor passed over", files[f], key);
        }
        json_decref(root);
    }
    char all[2048] = "";
    for (size_t i = 0; i < sizeof without_vocabulary / sizeof *without_vocabulary; i++) {
        const char *key = without_vocabulary[i][1];
        sprintf(all + strlen(all), "%s%s", i ? ", " : "", key ? key : without_vocabulary[i][0]);
    }
    cr_skip_test("vectors without a vocabulary in the data: %s", all);
}

/* Meta's own test: ids of texts and of dialogs, as their format writes them out. */
Test(tokenizer_vectors, llama3_of_meta, .init = temp_open, .fini = temp_close)
{
    const char *data = test_data();
    osv_tokenizer *t = open_data(data, LLAMA3);
    char path[512];
    snprintf(path, sizeof path, "%s/test-vectors/meta-llama3/test_tokenizer.json", data);
    json_t *root = read_json(path), *row, *message;
    size_t i, k;
    json_array_foreach(root, i, row)
    {
        const char *kind = json_string_value(json_object_get(row, "kind"));
        json_t *ids = json_object_get(row, "ids");
        char text[2048] = "";
        if (strcmp(kind, "dialog") == 0) strcat(text, "<|begin_of_text|>");
        json_array_foreach(json_object_get(row, "messages"), k, message) sprintf(
            text + strlen(text), "<|start_header_id|>%s<|end_header_id|>\n\n%s<|eot_id|>",
            json_string_value(json_array_get(message, 0)), json_string_value(json_array_get(message, 1)));
        if (strcmp(kind, "dialog") == 0) strcat(text, "<|start_header_id|>assistant<|end_header_id|>\n\n");
        if (strcmp(kind, "encode") == 0)
            sprintf(text, "<|begin_of_text|>%s<|end_of_text|>",
                    json_string_value(json_object_get(row, "text")));
        if (strcmp(kind, "decode") == 0) strcpy(text, json_string_value(json_object_get(row, "text")));
        json_t *made = json_string(text);
        check_ids(t, made, PLAIN, ids, kind);
        check_text(t, ids, false, made, kind);
        json_decref(made);
    }
    cr_expect_eq(i, 4);
    json_decref(root);
    osv_tokenizer_close(t);
}

/* ---- files of one tokenizer against each other, on the texts of the golden data */

/* Tokens that not all files know, and after which a prefix may be put. */
static bool has_token(const json_t *text)
{
    static const char *const tokens[] = {"<s>", "</s>", "<unk>", "<|im_", "[INST]"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (memmem(json_string_value(text), json_string_length(text), tokens[i], strlen(tokens[i])))
            return true;
    return false;
}

static void compare(const osv_tokenizer *a, const osv_tokenizer *b, bool prefix_differs, const char *name)
{
    json_t *root = read_json(OSV_GOLDEN "/tokenizer_files/cases.json"), *row, *one;
    size_t i, k, texts = 0;
    json_array_foreach(json_object_get(root, "directories"), i, row)
        json_array_foreach(json_object_get(row, "cases"), k, one)
    {
        const json_t *text = json_array_get(one, 0);
        const char *s = json_string_value(text);
        bool blank = *s == ' ' || strncmp(s, "\xe2\x96\x81", 3) == 0;
        if (has_token(text) || (blank && prefix_differs)) continue;
        osv_ids x = encode(a, s, json_string_length(text), PLAIN),
                y = encode(b, s, json_string_length(text), PLAIN);
        cr_expect(x.count == y.count &&
                      (x.count == 0 || memcmp(x.data, y.data, (size_t)x.count * sizeof(int)) == 0),
                  "%s: \"%s\": %d ids and %d", name, s, x.count, y.count);
        osv_ids_free(&x);
        osv_ids_free(&y);
        texts++;
    }
    cr_expect(texts > 700, "%zu texts", texts);
    json_decref(root);
}

Test(tokenizer_vectors, model_and_json_agree, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *name, *json, *model;
        bool prefix_differs; /* the JSON puts no dummy prefix where a blank is; sentencepiece does */
    } rows[] = {
        {"Llama 2", JSON("llama2/tokenizer.json"), MODEL("llama2/tokenizer.model"), false},
        {"Mistral v1", JSON("mistral/tokenizer_v01.json"), MODEL("mistral/tokenizer.model.v1"), true},
        {"Mistral v3", JSON("mistral/tokenizer_v03.json"),
         MODEL("mistral/mistral_instruct_tokenizer_240323.model.v3"), true},
        {"Minueza", JSON("minueza-32m-chat/tokenizer.json"), MODEL("minueza-32m-chat/tokenizer.model"),
         false},
    };
    const char *data = test_data();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_tokenizer *a = open_data(data, rows[i].json), *b = open_data(data, rows[i].model);
        compare(a, b, rows[i].prefix_differs, rows[i].name);
        osv_tokenizer_close(a);
        osv_tokenizer_close(b);
    }
}

/* All models of the data can be read, and give texts back. */
Test(tokenizer_vectors, models_there_and_back, .init = temp_open, .fini = temp_close)
{
    static const char *const rows[] = {
        MODEL("llama2/tokenizer.model"),
        MODEL("mistral/tokenizer.model.v1"),
        MODEL("mistral/mistral_instruct_tokenizer_240216.model.v2"),
        MODEL("mistral/mistral_instruct_tokenizer_240323.model.v3"),
        MODEL("mistral/mistral_instruct_tokenizer_241114.model.v7"),
        MODEL("minueza-32m-chat/tokenizer.model"),
        LLAMA3,
        QWEN2,
    };
    static const char text[] = "Hello world, 12 \xf0\x9f\xa6\x99 \xe6\xbc\xa2\xe5\xad\x97 caf\xc3\xa9\n\tx";
    const char *data = test_data();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_tokenizer *t = open_data(data, rows[i]);
        osv_ids ids = encode(t, text, sizeof text - 1, SPECIAL);
        size_t bytes;
        char *back = decode(t, ids.data, ids.count, true, &bytes);
        cr_expect_str_eq(back, text, "%s: \"%s\"", rows[i], back);
        free(back);
        osv_ids_free(&ids);
        osv_tokenizer_close(t);
    }
}
