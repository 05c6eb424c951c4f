/* Broken and unknown tokenizer files: each is refused with the place and the reason; and what regular
 * expressions mean. */
#include <jansson.h>

#include "files.h"
#include "loader/tokenizer.h"

/* A complete small file, of which a row replaces one part. */
#define VOCAB       "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<s>\": 3, \" \": 4, \"c\": 5}"
#define MODEL       "{\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": [\"a b\"]}"
#define TOKEN(rest) "[{\"id\": 3, \"content\": \"<s>\", \"special\": true" rest "}]"

typedef struct {
    const char *name, *key, *value; /* the part and its replacement; NULL value: left out */
    const char *message;            /* in the message; NULL: the file is fine */
} row;

static int open_text(const char *json, osv_tokenizer **t, osv_error *e)
{
    temp_text("tokenizer.json", json);
    return osv_tokenizer_open(t, temp_dir, e);
}

static void check_row(const row *r)
{
    static const char *const parts[][2] = {
        {"version", "\"1.0\""},    {"added_tokens", TOKEN("")}, {"normalizer", "null"},
        {"pre_tokenizer", "null"}, {"post_processor", "null"},  {"decoder", "null"},
        {"model", MODEL}};
    char *json = malloc(strlen(r->value ? r->value : "") + 4096);
    strcpy(json, "{\"truncation\": {\"max_length\": 1}, \"padding\": null");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *value = strcmp(parts[i][0], r->key) == 0 ? r->value : parts[i][1];
        if (value) sprintf(json + strlen(json), ", \"%s\": %s", parts[i][0], value);
    }
    strcat(json, "}");
    osv_error e = {0};
    osv_tokenizer *t = NULL;
    int status = open_text(json, &t, &e);
    check_failure(r->name, status, &e, r->message ? OSV_BAD_INPUT : OSV_OK, r->message);
    if (r->message) {
        cr_expect_null(t);
        cr_expect(strstr(e.text, "tokenizer.json") != NULL, "%s: \"%s\" names no file", r->name, e.text);
        cr_expect(strstr(e.text, r->key) != NULL, "%s: \"%s\" does not say %s", r->name, e.text, r->key);
    }
    osv_tokenizer_close(t);
    free(json);
}

#define BPE(rest)     "{\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": []" rest "}"
#define MERGES(list)  "{\"vocab\": " VOCAB ", \"merges\": [" list "]}"
#define VOCABULARY(v) "{\"type\": \"BPE\", \"vocab\": " v ", \"merges\": []}"

Test(tokenizer_files, model, .init = temp_open, .fini = temp_close)
{
    static const row rows[] = {
        {"as it should be", "model", MODEL, NULL},
        {"no model", "model", NULL, "\"model\" must be an object"},
        {"model is a list", "model", "[]", "\"model\" must be an object"},
        {"unigram", "model", "{\"type\": \"Unigram\", \"vocab\": [[\"a\", -1.5]], \"unk_id\": 0}",
         "model type \"Unigram\""},
        {"no type, no merges", "model", "{\"vocab\": {}}", "model type \"(no type)\""},
        {"no type but merges", "model", MERGES("\"a b\""), NULL},
        {"type is a number", "model", "{\"type\": 3}", "\"type\" must be a string, not 3"},
        {"no vocabulary", "model", "{\"type\": \"BPE\", \"merges\": []}", "model.vocab"},
        {"vocabulary as a list", "model", VOCABULARY("[\"a\"]"), "model.vocab: must be an object"},
        {"id as text", "model", VOCABULARY("{\"a\": \"0\"}"), "\"a\" must be an id from 0"},
        {"negative id", "model", VOCABULARY("{\"a\": -1}"), "\"a\" must be an id from 0"},
        {"huge id", "model", VOCABULARY("{\"a\": 4000000000}"), "not 4000000000"},
        {"id beyond the limit", "model", VOCABULARY("{\"a\": 4194304}"), "not 4194304"},
        {"two pieces of one id", "model", VOCABULARY("{\"a\": 0, \"b\": 0}"),
         "id 0 belongs to \"a\" and to \"b\""},
        {"no merges", "model", "{\"type\": \"BPE\", \"vocab\": {}}", "\"merges\" must be an array"},
        {"unknown left half", "model", MERGES("\"a b\", \"x b\""),
         "merges[1]: \"x\" is not in the vocabulary"},
        {"unknown right half", "model", MERGES("[\"a\", \"x\"]"),
         "merges[0]: \"x\" is not in the vocabulary"},
        {"unknown result", "model", MERGES("\"b a\""), "the merged piece \"ba\" is not in the vocabulary"},
        {"empty half", "model", MERGES("\" b\""), "merges[0]: \"\" is not in the vocabulary"},
        {"one half", "model", MERGES("\"ab\""), "merges[0]: must be \"left right\""},
        {"three halves", "model", MERGES("\"a b c\""), "merges[0]: must be \"left right\""},
        {"list of one", "model", MERGES("[\"a\"]"), "merges[0]: must be \"left right\""},
        {"list of numbers", "model", MERGES("[1, 2]"), "merges[0]: must be \"left right\""},
        {"merge is a number", "model", MERGES("1"), "not 1"},
        {"a merge twice", "model", MERGES("\"a b\", [\"a\", \"b\"]"), NULL},
        {"version line", "model", MERGES("\"#version: 0.2\", \"a b\""), NULL},
        {"dropout", "model", BPE(", \"dropout\": 0.1"), "\"dropout\" 0.1"},
        {"dropout of nothing", "model", BPE(", \"dropout\": 0.0"), NULL},
        {"prefix", "model", BPE(", \"continuing_subword_prefix\": \"##\""),
         "\"continuing_subword_prefix\" is not supported"},
        {"suffix", "model", BPE(", \"end_of_word_suffix\": \"</w>\""),
         "\"end_of_word_suffix\" is not supported"},
        {"affixes of nothing", "model",
         BPE(", \"end_of_word_suffix\": \"\", \"continuing_subword_prefix\": null"), NULL},
        {"flag as a number", "model", BPE(", \"byte_fallback\": 1"),
         "\"byte_fallback\" must be true or false"},
        {"flag as text", "model", BPE(", \"ignore_merges\": \"yes\""),
         "\"ignore_merges\" must be true or false"},
        {"unknown token as a number", "model", BPE(", \"unk_token\": 0"), "\"unk_token\" must be a string"},
        {"unknown token outside", "model", BPE(", \"unk_token\": \"<unk>\""), NULL},
        {"version", "version", "\"2.0\"", "\"version\" must be \"1.0\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(&rows[i]);
}

#define SPLIT(p) "{\"type\": \"Split\", \"pattern\": " p ", \"behavior\": \"Isolated\", \"invert\": false}"

Test(tokenizer_files, normalizer_and_pre_tokenizer, .init = temp_open, .fini = temp_close)
{
    static const row rows[] = {
        {"unknown", "normalizer", "{\"type\": \"BertNormalizer\"}", "normalizer \"BertNormalizer\" is not"},
        {"table of nothing", "normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"\"}",
         "normalizer: the table of characters is cut off"},
        {"no table", "normalizer", "{\"type\": \"Precompiled\"}", "\"precompiled_charsmap\" is missing"},
        {"table in no base64", "normalizer",
         "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAA!\"}", "\"AAA!\" is not base64"},
        {"table of more than there is", "normalizer",
         "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"CAAAAAAAAAA=\"}", "is cut off"},
        {"table of an odd size", "normalizer",
         "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AwAAAAAAAAA=\"}", "is cut off"},
        {"table that replaces by no text", "normalizer",
         "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"BAAAAAAAAAD/\"}", "is not UTF-8"},
        {"table without entries", "normalizer",
         "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"BAAAAAAAAAA=\"}", NULL},
        {"unknown inside", "normalizer",
         "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Nmt\"}]}",
         "normalizer.normalizers[1]: normalizer \"Nmt\" is not"},
        {"no type", "normalizer", "{}", "\"type\" is missing"},
        {"a string", "normalizer", "\"NFC\"", "normalizer: must be an object or null"},
        {"left out", "normalizer", NULL, NULL},
        {"no list", "normalizer", "{\"type\": \"Sequence\"}", "\"normalizers\" must be an array"},
        {"replace nothing", "normalizer",
         "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}",
         "\"pattern\" is empty"},
        {"replace without pattern", "normalizer", "{\"type\": \"Replace\", \"content\": \"x\"}",
         "\"pattern\" must be"},
        {"replace by nothing known", "normalizer",
         "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}}", "\"content\" is missing"},
        {"both patterns", "normalizer",
         "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\", \"Regex\": \"a\"}, \"content\": \"\"}",
         "\"pattern\" must be"},
        {"bad expression", "normalizer",
         "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(a\"}, \"content\": \"\"}",
         "\"(a\" does not compile"},
        {"prepend without text", "normalizer", "{\"type\": \"Prepend\"}", "\"prepend\" is missing"},
        {"strip without sides", "normalizer", "{\"type\": \"Strip\", \"strip_left\": true}",
         "\"strip_right\" is missing"},
        {"unknown", "pre_tokenizer", "{\"type\": \"BertPreTokenizer\"}",
         "pre-tokenizer \"BertPreTokenizer\" is not"},
        {"unknown inside", "pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"UnicodeScripts\"}]}",
         "pre_tokenizer.pretokenizers[0]: pre-tokenizer \"UnicodeScripts\" is not"},
        {"digits", "pre_tokenizer", "{\"type\": \"Digits\", \"individual_digits\": 1}",
         "\"individual_digits\" must be true or false"},
        {"punctuation", "pre_tokenizer", "{\"type\": \"Punctuation\", \"behavior\": \"Kept\"}",
         "behavior \"Kept\" is not"},
        {"all that need no options", "pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": \"Punctuation\"}, "
         "{\"type\": \"Whitespace\"}, {\"type\": \"WhitespaceSplit\"}]}",
         NULL},
        {"no behavior", "pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"invert\": false}",
         "\"behavior\" is missing"},
        {"unknown behavior", "pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Kept\", \"invert\": false}",
         "behavior \"Kept\" is not"},
        {"no invert", "pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Isolated\"}",
         "\"invert\" is missing"},
        {"bad expression", "pre_tokenizer", SPLIT("{\"Regex\": \"a{2,1}\"}"),
         "does not compile: numbers out of order"},
        {"unknown property", "pre_tokenizer", SPLIT("{\"Regex\": \"\\\\p{Klingon}\"}"),
         "\"\\p{Klingon}\" does not compile"},
        {"open class", "pre_tokenizer", SPLIT("{\"Regex\": \"[a\"}"), "a class without end at byte 2"},
        {"class in a class", "pre_tokenizer", SPLIT("{\"Regex\": \"[a[b]]\"}"),
         "a class within a class at byte 2"},
        {"intersection", "pre_tokenizer", SPLIT("{\"Regex\": \"[a-z&&b]\"}"), "an intersection of classes"},
        {"range to a set", "pre_tokenizer", SPLIT("{\"Regex\": \"[a-\\\\s]\"}"),
         "a set as the end of a range"},
        {"named group", "pre_tokenizer", SPLIT("{\"Regex\": \"(?<n>a)\"}"), "this kind of group at byte 0"},
        {"option in the middle", "pre_tokenizer", SPLIT("{\"Regex\": \"a(?i)b|c\"}"),
         "this kind of group at byte 1"},
        {"unknown escape", "pre_tokenizer", SPLIT("{\"Regex\": \"a\\\\yb\"}"), "this escape at byte 1"},
        {"backslash at the end", "pre_tokenizer", SPLIT("{\"Regex\": \"a\\\\\"}"), "a backslash at the end"},
        {"closing too much", "pre_tokenizer", SPLIT("{\"Regex\": \"a)\"}"), "a closing parenthesis"},
        {"metaspace without character", "pre_tokenizer", "{\"type\": \"Metaspace\"}",
         "\"replacement\" is missing"},
        {"metaspace of two", "pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"__\"}",
         "\"replacement\" must be one character"},
        {"unknown scheme", "pre_tokenizer",
         "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}",
         "prepend_scheme \"last\" is not"},
        {"schemes at odds", "pre_tokenizer",
         "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"first\", "
         "\"add_prefix_space\": false}",
         "\"prepend_scheme\" is first, but"},
        {"byte level of half", "pre_tokenizer", "{\"type\": \"ByteLevel\"}",
         "\"add_prefix_space\" is missing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(&rows[i]);
}

#define TEMPLATE(single, tokens) \
    "{\"type\": \"TemplateProcessing\", \"single\": " single ", \"pair\": [], \"special_tokens\": " tokens "}"
#define BOS_THEN_TEXT                                                                                      \
    "[{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": " \
    "0}}]"

Test(tokenizer_files, the_rest, .init = temp_open, .fini = temp_close)
{
    static const row rows[] = {
        {"object", "added_tokens", "{}", "added_tokens: must be an array"},
        {"list of strings", "added_tokens", "[\"<s>\"]", "added_tokens[0]: must be an object"},
        {"no content", "added_tokens", "[{\"id\": 3}]", "added_tokens[0]: \"content\" is missing"},
        {"flag as text", "added_tokens", TOKEN(", \"lstrip\": \"no\""), "\"lstrip\" must be true or false"},
        {"huge id", "added_tokens", "[{\"id\": 99999999999, \"content\": \"<s>\"}]",
         "\"id\" must be an integer"},
        {"other id than the vocabulary's", "added_tokens", "[{\"id\": 4, \"content\": \"<s>\"}]",
         "token \"<s>\" says id 4, but its place gives 3"},
        {"gap", "added_tokens", "[{\"id\": 7, \"content\": \"<t>\"}]",
         "token \"<t>\" says id 7, but its place gives 6"},
        {"next one", "added_tokens", "[{\"id\": 6, \"content\": \"<t>\"}, {\"id\": 7, \"content\": \"<u>\"}]",
         NULL},
        {"twice", "added_tokens",
         "[{\"id\": 6, \"content\": \"<t>\"}, {\"id\": 6, \"content\": \"<t>\", \"lstrip\": true}]", NULL},
        {"null", "added_tokens", "null", NULL},
        {"empty content", "added_tokens", "[{\"id\": 6, \"content\": \"\"}]", NULL},
        {"unknown", "post_processor",
         "{\"type\": \"BertProcessing\", \"sep\": [\"a\", 0], \"cls\": [\"b\", 1]}",
         "post-processor \"BertProcessing\" is not"},
        {"unknown inside", "post_processor",
         "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"RobertaProcessing\"}]}",
         "post_processor.processors[0]: post-processor \"RobertaProcessing\" is not"},
        {"template", "post_processor",
         TEMPLATE(BOS_THEN_TEXT, "{\"<s>\": {\"id\": \"<s>\", \"ids\": [3], \"tokens\": [\"<s>\"]}}"), NULL},
        {"no ids for the token", "post_processor", TEMPLATE(BOS_THEN_TEXT, "{}"),
         "\"special_tokens\" has no ids for it"},
        {"id outside", "post_processor", TEMPLATE(BOS_THEN_TEXT, "{\"<s>\": {\"ids\": [6]}}"),
         "an id that is not in the vocabulary"},
        {"id as text", "post_processor", TEMPLATE(BOS_THEN_TEXT, "{\"<s>\": {\"ids\": [\"3\"]}}"),
         "an id that is not in the vocabulary"},
        {"second text", "post_processor", TEMPLATE("[{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}]", "{}"),
         "single[0] must be"},
        {"no text", "post_processor", TEMPLATE("[]", "{}"), "has the text 0 times"},
        {"no single", "post_processor", "{\"type\": \"TemplateProcessing\"}", "\"single\" must be an array"},
        {"unknown", "decoder", "{\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}",
         "decoder \"WordPiece\" is not"},
        {"unknown inside", "decoder",
         "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"CTC\"}]}",
         "decoder.decoders[1]: decoder \"CTC\" is not"},
        {"strip of two", "decoder", "{\"type\": \"Strip\", \"content\": \"ab\", \"start\": 1, \"stop\": 0}",
         "\"content\" must be one character"},
        {"strip backwards", "decoder",
         "{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}",
         "\"start\" must be an integer"},
        {"replace without content", "decoder", "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}}",
         "\"content\" is missing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(&rows[i]);
}

Test(tokenizer_files, directory, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *name, *file, *text, *message;
    } rows[] = {
        {"no file", NULL, NULL,
         "no tokenizer; looked for tokenizer.json, tokenizer.model, vocab.json with merges.txt. Text needs"},
        {"not JSON", "tokenizer.json", "{\"model\": \n tru}", "tokenizer.json:2:"},
        {"cut off", "tokenizer.json", "{\"model\": {\"vocab\": {\"a", "tokenizer.json:1:"},
        {"a piece twice", "tokenizer.json", "{\"model\": " VOCABULARY("{\"a\": 0, \"a\": 1}") "}",
         "duplicate object key"},
        {"a list", "tokenizer.json", "[]", "tokenizer.json: must be a JSON object"},
        {"empty", "tokenizer.json", "", "tokenizer.json:1:1: empty"},
        {"wrong configuration", "tokenizer_config.json", "[1]",
         "tokenizer_config.json: must be a JSON object"},
        {"broken configuration", "tokenizer_config.json", "{\"legacy\": yes}", "tokenizer_config.json:1:"},
        {"broken names", "special_tokens_map.json", "{", "special_tokens_map.json:1:"},
        {"broken token", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"0\": \"<s>\"}}",
         "added_tokens[1]: must be an object"},
        {"broken token's flag", "tokenizer_config.json",
         "{\"added_tokens_decoder\": {\"0\": {\"content\": \"<s>\", \"rstrip\": 1}}}",
         "\"rstrip\" must be true or false"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        if (rows[i].file)
            temp_text("tokenizer.json", "{\"added_tokens\": " TOKEN("") ", \"model\": " MODEL "}");
        if (rows[i].file) temp_text(rows[i].file, rows[i].text);
        int status = osv_tokenizer_open(&t, temp_dir, &e);
        check_failure(rows[i].name, status, &e, OSV_BAD_INPUT, rows[i].message);
        cr_expect_null(t);
        if (rows[i].file) remove(temp_path(rows[i].file));
    }
}

/* A cut anywhere in a real file is refused, never a crash. */
Test(tokenizer_files, cut_anywhere, .init = temp_open, .fini = temp_close)
{
    json_t *root = json_load_file(OSV_GOLDEN "/tokenizer/metaspace/tokenizer.json", 0, NULL);
    cr_assert(root != NULL);
    char *text = json_dumps(root, JSON_COMPACT);
    size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes; at += 1 + at / 7) {
        temp_write("tokenizer.json", text, at);
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        int status = osv_tokenizer_open(&t, temp_dir, &e);
        check_failure("cut", status, &e, OSV_BAD_INPUT, "tokenizer.json");
    }
    free(text);
    json_decref(root);
}

/* ---- regular expressions: "|" between the pieces of a text */

/* `splitter` becomes part of the tree. */
static void check_splitter(json_t *splitter, const char *text, const char *expected)
{
    json_t *root = json_pack("{s:{s:s, s:{}, s:[]}, s:o}", "model", "type", "BPE", "vocab", "merges",
                             "pre_tokenizer", splitter);
    const char *name = json_string_value(json_object_get(splitter, "type"));
    /* Each piece is in the vocabulary, and ignore_merges finds it; what is cut otherwise becomes nothing. */
    json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
    json_object_set_new(model, "ignore_merges", json_true());
    char pieces[256], *state, *names[32];
    int count = 0;
    snprintf(pieces, sizeof pieces, "%s", expected);
    for (char *p = strtok_r(pieces, "|", &state); p; p = strtok_r(NULL, "|", &state)) {
        if (!json_object_get(vocab, p))
            json_object_set_new(vocab, p, json_integer((json_int_t)json_object_size(vocab)));
        names[count++] = p;
    }
    char *json = json_dumps(root, 0);
    osv_error e = {0};
    osv_tokenizer *t = NULL;
    osv_ids ids = {0};
    cr_assert_eq(open_text(json, &t, &e), OSV_OK, "%s: %s", json, e.text);
    cr_assert_eq(osv_tokenizer_encode(t, text, strlen(text), false, &ids, &e), OSV_OK, "%s", e.text);
    bool same = ids.count == count;
    for (int i = 0; i < count && same; i++) same = strcmp(osv_tokenizer_piece(t, ids.data[i]), names[i]) == 0;
    cr_expect(same, "%s on \"%s\": %d pieces, expected %s", name, text, ids.count, expected);
    osv_ids_free(&ids);
    osv_tokenizer_close(t);
    free(json);
    json_decref(root);
}

static void check_pieces(const char *regex, const char *text, const char *expected)
{
    check_splitter(json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", regex,
                             "behavior", "Isolated", "invert", 0),
                   text, expected);
}

/* Results of the tokenizers library. */
Test(tokenizer_files, pre_tokenizers_without_expressions, .init = temp_open, .fini = temp_close)
{
    static const char *const rows[][3] = {
        {"{\"type\": \"Digits\", \"individual_digits\": false}", "ab12 3c\xc2\xbd", "ab|12| |3|c|\xc2\xbd"},
        {"{\"type\": \"Digits\", \"individual_digits\": true}", "ab12 3c\xd9\xa3\xd9\xa4",
         "ab|1|2| |3|c|\xd9\xa3|\xd9\xa4"},
        {"{\"type\": \"Punctuation\"}", "a,b...c$\xe2\x80\x9cx", "a|,|b|.|.|.|c|$|\xe2\x80\x9c|x"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}", "a,b...c", "a|,|b|...|c"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"Removed\"}", "a,b...c", "a|b|c"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"MergedWithPrevious\"}", "a,b..c", "a,|b.|.|c"},
        {"{\"type\": \"Whitespace\"}", "a-b  c_d.\xc2\xb2\n", "a|-|b|c_d|.\xc2\xb2"},
        {"{\"type\": \"WhitespaceSplit\"}", " a-b  c\n.\xe3\x80\x80x", "a-b|c|.|x"},
        {"{\"type\": \"Split\", \"pattern\": {\"String\": \"b\"}, \"behavior\": \"Isolated\", \"invert\": "
         "true}",
         "abbc", "a|b|b|c"},
        {"{\"type\": \"Split\", \"pattern\": {\"Regex\": \"b\"}, \"behavior\": \"Removed\", \"invert\": "
         "true}",
         "abbc", "b|b"},
        {"{\"type\": \"Split\", \"pattern\": {\"Regex\": \"b\"}, \"behavior\": \"MergedWithNext\", "
         "\"invert\": false}",
         "abbcb", "a|b|bc|b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_splitter(json_loads(rows[i][0], 0, NULL), rows[i][1], rows[i][2]);
}

/* Results of Oniguruma, by way of the tokenizers library. */
Test(tokenizer_files, expressions_mean_what_oniguruma_says, .init = temp_open, .fini = temp_close)
{
    static const char *const rows[][3] = {
        {"\\p{N}{1,3}+", "123456789", "123456789"},
        {"\\p{N}{1,3}", "12345678", "123|456|78"},
        {"\\d{2}?", "12345", "12|34|5"},
        {"a{,2}", "aaab", "aa|a|b"},
        {"\\s+",
         "a\xe1\xa0\x8e"
         "b \xc2\x85"
         "c\xc2\xa0"
         "d\xe2\x80\x8b"
         "e",
         "a\xe1\xa0\x8e"
         "b| \xc2\x85|c|\xc2\xa0|d\xe2\x80\x8b"
         "e"},
        {"\\w+",
         "a\xcc\x81"
         "b_\xe2\x92\xb6\xe2\x80\xbf\xe2\x80\x8dx\xc2\xb2"
         "c",
         "a\xcc\x81"
         "b_\xe2\x92\xb6\xe2\x80\xbf|\xe2\x80\x8d|x\xc2\xb2"
         "c"},
        {"\\h+", "abc123 xyz", "abc123| xyz"},
        {"[\\h-]+", "a-b xy-", "a-b| xy|-"},
        {"[^\\S\\n]+", "a \n b", "a| |\n| |b"},
        {"(?i:'s|k)", "'\xc5\xbf K \xe2\x84\xaa", "'\xc5\xbf| |K| |\xe2\x84\xaa"},
        {"(?m:a.b)", "a\nb", "a\nb"},
        {"a.b", "a\nb", "a\nb"},
        {"^a", "a\na", "a|\n|a"},
        {"a$", "a\na\n", "a|\n|a|\n"},
        {"\\p{Han}+", "\xe6\xbc\xa2\xe5\xad\x97\xe3\x80\x85\xe3\x80\x86\xe3\x80\x82",
         "\xe6\xbc\xa2\xe5\xad\x97\xe3\x80\x85|\xe3\x80\x86\xe3\x80\x82"},
        {"\\p{^L}+", "ab12", "ab|12"},
        {"\\u00e9", "a\xc3\xa9", "a|\xc3\xa9"},
        {"\\b", "ab cd", "ab| |cd"},
        {"[]a]", "]a", "]|a"},
        {"x*", "axxb", "a|xx|b"},
        {" ?", "a b", "a| |b"},
        {"(?<=a)b", "abb", "a|b|b"},
        {"{a}|\\{", "x{a}{", "x|{a}|{"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_pieces(rows[i][0], rows[i][1], rows[i][2]);
}

/* An expression that tries every way to divide a run of letters is stopped, with a message. */
Test(tokenizer_files, endless_backtracking, .init = temp_open, .fini = temp_close)
{
    static const char *const regexes[] = {"(?:a+)+$", "(?:a|a)*[bc]", "(?:(?:a*)*)*[bc]", "(?:a|aa)+$"};
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "{\"pre_tokenizer\": " SPLIT("{\"Regex\": \"%s\"}") ", \"model\": " MODEL "}", regexes[i]);
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        osv_ids ids = {0};
        cr_assert_eq(open_text(json, &t, &e), OSV_OK, "%s", e.text);
        char text[4097];
        memset(text, 'a', sizeof text);
        text[sizeof text - 1] = '!';
        int status = osv_tokenizer_encode(t, text, sizeof text, false, &ids, &e);
        check_failure(regexes[i], status, &e, OSV_BAD_INPUT, "gives up on this text at byte 0 of a piece");
        osv_ids_free(&ids);
        osv_tokenizer_close(t);
    }
}

/* The unknown token is only missed when it is needed. */
Test(tokenizer_files, unknown_token_outside_of_the_vocabulary, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_tokenizer *t = NULL;
    osv_ids ids = {0};
    cr_assert_eq(open_text("{\"model\": " BPE(", \"unk_token\": \"<unk>\"") "}", &t, &e), OSV_OK, "%s",
                 e.text);
    cr_expect_eq(osv_tokenizer_encode(t, "ab c", 4, false, &ids, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(ids.count, 4);
    int status = osv_tokenizer_encode(t, "a?", 2, false, &ids, &e);
    check_failure("unknown", status, &e, OSV_BAD_INPUT, "(U+003F), and the unknown token \"<unk>\"");
    osv_ids_free(&ids);
    osv_tokenizer_close(t);
}

/* Flags of added tokens: spaces taken at either side, whole words only. */
Test(tokenizer_files, flags_of_added_tokens, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *flags, *text;
        int count, ids[8];
    } rows[] = {
        {"", "a <s> b", 5, {0, 4, 3, 4, 1}},
        {", \"lstrip\": true", "a  <s> b", 4, {0, 3, 4, 1}},
        {", \"rstrip\": true", "a <s>  b", 4, {0, 4, 3, 1}},
        {", \"lstrip\": true, \"rstrip\": true", "<s>  <s> ", 2, {3, 3}},
        {", \"single_word\": true",
         "a<s> <s> <s>b",
         5,
         {0, 4, 3, 4, 1}}, /* the other two: characters it lacks */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"added_tokens\": " TOKEN("%s") ", \"model\": " MODEL "}",
                 rows[i].flags);
        osv_error e = {0};
        osv_tokenizer *t = NULL;
        osv_ids ids = {0};
        cr_assert_eq(open_text(json, &t, &e), OSV_OK, "%s", e.text);
        cr_assert_eq(osv_tokenizer_encode(t, rows[i].text, strlen(rows[i].text), false, &ids, &e), OSV_OK,
                     "%s", e.text);
        cr_expect_eq(ids.count, rows[i].count, "row %zu: %d ids", i, ids.count);
        for (int k = 0; k < rows[i].count && k < ids.count; k++)
            cr_expect_eq(ids.data[k], rows[i].ids[k], "row %zu, id %d: %d", i, k, ids.data[k]);
        osv_ids_free(&ids);
        osv_tokenizer_close(t);
    }
}
