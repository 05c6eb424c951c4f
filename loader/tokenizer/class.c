/* What transformers' AutoTokenizer (version 5) makes of a directory differs from its tokenizer.json, and it
 * is the ids of transformers that users compare with. The rules, applied to the tree of tokenizer.json before
 * it is read (other files are made into such a tree first):
 *
 *   - `tokenizer_class` of tokenizer_config.json (else of config.json, else what `model_type` goes with)
 *     chooses who builds the tokenizer. LlamaTokenizer, GemmaTokenizer, Qwen2Tokenizer and GPT2Tokenizer take
 *     vocabulary, merges and post-processor from tokenizer.json and bring everything else themselves. All
 *     other classes take the file as it is; so does LlamaTokenizer for a byte-level file (Llama 3), and so
 *     does every class in a model whose own class is the generic one (Mistral, Phi 3, Granite, OLMo 2).
 *   - LlamaTokenizer puts the dummy space in front of the first piece only, with `legacy` in front of every
 *     one, with `add_prefix_space: false` nowhere, and never where a space is already. (Llama 2's own file
 *     puts one there all the same: " hello" has one id more.) Characters it does not know are dropped.
 *   - `added_tokens_decoder`, the named special tokens (`bos_token`, ...) and `additional_special_tokens`
 *     are added to the added tokens of the file, or replace their flags.
 *   - `add_bos_token` and `add_eos_token` have no effect where there is a tokenizer.json: the
 *     post-processor decides. Elsewhere they decide, and both are off unless they are on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "loader/tokenizer/parts.h"

static int no_memory(const char *path, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the tokenizer's parts", path);
}

/* An optional file of the directory that holds an object; an empty object where it is missing. */
static int read_optional(json_t **out, const char *dir, const char *name, osv_error *e)
{
    char *path;
    *out = NULL;
    OSV_TRY(osv_path_join(&path, dir, name, e));
    int status = osv_json_read_optional(out, path, e);
    if (!status && !*out && !(*out = json_object())) status = no_memory(path, e);
    free(path);
    return status;
}

/* A component of this type anywhere below. */
static bool has_type(const json_t *node, const char *type)
{
    const char *name = json_string_value(json_object_get(node, "type"));
    if (name && strcmp(name, type) == 0) return true;
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach((json_t *)node, key, value) if (has_type(value, type)) return true;
    json_array_foreach(node, i, value) if (has_type(value, type)) return true;
    return false;
}

static bool starts_with(const char *text, const char *start)
{
    return text && strncmp(text, start, strlen(start)) == 0;
}

typedef struct {
    const char *name;
    osv_tok_class_kind kind;
} entry;

/* "LlamaTokenizerFast" is LlamaTokenizer. */
static osv_tok_class_kind kind_of(const char *name)
{
    static const entry known[] = {{"LlamaTokenizer", OSV_TOK_CLASS_LLAMA},
                                  {"GemmaTokenizer", OSV_TOK_CLASS_GEMMA},
                                  {"Qwen2Tokenizer", OSV_TOK_CLASS_QWEN2},
                                  {"GPT2Tokenizer", OSV_TOK_CLASS_GPT2}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t bytes = strlen(known[i].name);
        if (strncmp(name, known[i].name, bytes) == 0 && (!name[bytes] || strcmp(name + bytes, "Fast") == 0))
            return known[i].kind;
    }
    return OSV_TOK_CLASS_FILE;
}

/* The class that goes with a model; NULL where transformers has none for it. */
static const osv_tok_class_kind *kind_of_model(const char *model)
{
    /* Those whose names begin like this; the first one counts. */
    static const entry known[] = {
        {"gemma", OSV_TOK_CLASS_GEMMA},   {"qwen2", OSV_TOK_CLASS_QWEN2},  {"qwen3_5", OSV_TOK_CLASS_FILE},
        {"qwen3", OSV_TOK_CLASS_QWEN2},   {"gpt2", OSV_TOK_CLASS_GPT2},    {"starcoder2", OSV_TOK_CLASS_GPT2},
        {"mistral", OSV_TOK_CLASS_FILE},  {"mixtral", OSV_TOK_CLASS_FILE}, {"ministral", OSV_TOK_CLASS_FILE},
        {"phi3", OSV_TOK_CLASS_FILE},     {"phimoe", OSV_TOK_CLASS_FILE},  {"granite", OSV_TOK_CLASS_FILE},
        {"stablelm", OSV_TOK_CLASS_FILE}, {"olmo2", OSV_TOK_CLASS_FILE},   {"olmo3", OSV_TOK_CLASS_FILE}};
    static const osv_tok_class_kind phi = OSV_TOK_CLASS_GPT2;
    if (!model) return NULL;
    if (strcmp(model, "phi") == 0) return &phi;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (starts_with(model, known[i].name)) return &known[i].kind;
    return NULL;
}

static osv_tok_class_kind choose(const osv_tok_class *c, const json_t *root)
{
    const char *model = json_string_value(json_object_get(c->model_config, "model_type"));
    const osv_tok_class_kind *own = kind_of_model(model);
    if (!c->name) return own ? *own : OSV_TOK_CLASS_FILE;
    osv_tok_class_kind kind = kind_of(c->name);
    /* Directories of Qwen 2 that name another class are known to be wrong. */
    if (model && strcmp(model, "qwen2") == 0) return OSV_TOK_CLASS_QWEN2;
    if (own && *own == OSV_TOK_CLASS_FILE) return OSV_TOK_CLASS_FILE;
    bool byte_level = has_type(json_object_get(root, "pre_tokenizer"), "ByteLevel") ||
                      has_type(json_object_get(root, "decoder"), "ByteLevel") ||
                      has_type(json_object_get(root, "post_processor"), "ByteLevel");
    return kind == OSV_TOK_CLASS_LLAMA && byte_level ? OSV_TOK_CLASS_FILE : kind;
}

/* The text of a token: a string, or an object with flags; NULL for anything else. */
static const char *content_of(const json_t *token)
{
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

/* ---- the parts that the classes bring themselves */

/* Qwen 2's, one digit at a time; Llama 3's has up to three. */
static const char QWEN2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                            "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static json_t *byte_level(bool prefix, bool regex)
{
    return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix, "use_regex", regex);
}

json_t *osv_tok_byte_level_splitter(const char *regex, bool prefix)
{
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                     "Split", "pattern", "Regex", regex, "behavior", "Isolated", "invert", 0,
                     byte_level(prefix, false));
}

json_t *osv_tok_space_decoder(bool bytes, int strip)
{
    json_t *decoders =
        json_pack("[{s:s, s:{s:s}, s:s}]", "type", "Replace", "pattern", "String", "▁", "content", " ");
    if (bytes) json_array_append_new(decoders, json_pack("{s:s}", "type", "ByteFallback"));
    if (bytes || strip) json_array_append_new(decoders, json_pack("{s:s}", "type", "Fuse"));
    if (strip)
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                                  "start", strip, "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders);
}

/* Llama and Gemma. */
static int rebuild_spaces(json_t *root, const osv_tok_class *c)
{
    bool llama = c->kind == OSV_TOK_CLASS_LLAMA;
    bool prefix = llama && !json_is_false(json_object_get(c->config, "add_prefix_space"));
    bool legacy = json_is_true(json_object_get(c->config, "legacy"));
    const char *scheme = !prefix ? "never" : legacy ? "always" : "first";
    json_t *splitter = llama ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", "▁",
                                         "prepend_scheme", scheme, "split", 0)
                             : json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "String",
                                         " ", "behavior", "MergedWithPrevious", "invert", 0);
    json_t *normalizer =
        llama ? json_null()
              : json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", "▁");
    return json_object_set_new(root, "decoder", osv_tok_space_decoder(true, prefix)) |
           json_object_set_new(root, "normalizer", normalizer) |
           json_object_set_new(root, "pre_tokenizer", splitter);
}

/* Qwen 2 and GPT-2. */
static int rebuild_bytes(json_t *root, const osv_tok_class *c)
{
    bool qwen2 = c->kind == OSV_TOK_CLASS_QWEN2;
    bool prefix = json_is_true(json_object_get(c->config, "add_prefix_space"));
    return json_object_set_new(root, "decoder", byte_level(true, true)) |
           json_object_set_new(root, "normalizer", qwen2 ? json_pack("{s:s}", "type", "NFC") : json_null()) |
           json_object_set_new(root, "pre_tokenizer",
                               qwen2 ? osv_tok_byte_level_splitter(QWEN2, prefix) : byte_level(prefix, true));
}

static int rebuild(json_t *root, const osv_tok_class *c, osv_error *e)
{
    bool spaces = c->kind == OSV_TOK_CLASS_LLAMA || c->kind == OSV_TOK_CLASS_GEMMA;
    int failed = spaces ? rebuild_spaces(root, c) : rebuild_bytes(root, c);
    json_t *model = json_object_get(root, "model");
    if (!json_is_object(model))
        return failed ? no_memory(c->path, e) : OSV_OK; /* reading it will say what is wrong */
    const char *unk = content_of(json_object_get(c->config, "unk_token"));
    failed |=
        json_object_set_new(model, "fuse_unk", json_boolean(spaces)) |
        json_object_set_new(model, "byte_fallback", json_boolean(spaces)) |
        json_object_set_new(model, "unk_token",
                            c->kind == OSV_TOK_CLASS_GEMMA ? json_string(unk ? unk : "<unk>") : json_null());
    json_object_del(model, "ignore_merges");
    return failed ? no_memory(c->path, e) : OSV_OK;
}

/* ---- added tokens */

typedef struct {
    json_t *tokens, *names; /* array; object of the same tokens by content */
    bool plain;             /* a special token loses the flags that it had */
    const char *path;
    osv_error *e;
} list;

/* Takes over `token`, which may be NULL after a failed allocation. A later token of the same content replaces
 * the flags of the one before. */
static int append(list *l, json_t *token)
{
    const char *content = content_of(token); /* reading will refuse a token without one */
    int failed = json_array_append_new(l->tokens, token);
    if (!failed && content) failed = json_object_set(l->names, content, token);
    return failed ? no_memory(l->path, l->e) : OSV_OK;
}

/* A special token by name, with the flags of the object, if it is one. Of a token that is there already the
 * flags stay; one that has a name is special all the same, unless tokenizer.json is taken as it is. */
static int add_special(list *l, const json_t *token, bool named)
{
    const char *content = content_of(token);
    if (!content) return OSV_OK;
    json_t *there = json_object_get(l->names, content);
    if (there && named && json_object_set_new(there, "special", json_true())) return no_memory(l->path, l->e);
    if (there && !l->plain) return OSV_OK;
    json_t *made = json_is_object(token) && !there ? json_copy((json_t *)token) : json_object();
    json_object_del(made, "id");
    int failed = json_object_set_new(made, "content", json_string(content));
    if (named || !json_object_get(made, "special"))
        failed |= json_object_set_new(made, "special", json_true());
    if (!json_object_get(made, "normalized")) failed |= json_object_set_new(made, "normalized", json_false());
    if (!failed) return append(l, made);
    json_decref(made);
    return no_memory(l->path, l->e);
}

static int by_number(const void *a, const void *b)
{
    long x = strtol(*(const char *const *)a, NULL, 10), y = strtol(*(const char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

/* {"0": {"content": "<unk>", ..}, ..} in the order of the numbers. */
static int add_numbered(list *l, const json_t *numbered)
{
    size_t count = json_object_size(numbered), n = 0;
    const char **keys = malloc((count + 1) * sizeof *keys);
    if (!keys) return no_memory(l->path, l->e);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)numbered, key, value) keys[n++] = key;
    qsort(keys, n, sizeof *keys, by_number);
    int status = OSV_OK;
    for (size_t i = 0; i < n && !status; i++) {
        json_t *token = json_copy(json_object_get(numbered, keys[i]));
        json_object_del(token, "id"); /* the content decides */
        status = append(l, token);
    }
    free(keys);
    return status;
}

static const char *const standard[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

static bool is_standard(const char *key)
{
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (strcmp(key, standard[i]) == 0) return true;
    return false;
}

/* Place of bos_token and eos_token among the standard ones. */
enum { BOS, EOS };

/* What a named token is where the configuration does not have the key. */
static const char *fallback(const osv_tok_class *c, size_t i)
{
    static const char *const names[][7] = {
        [OSV_TOK_CLASS_FILE] = {NULL},
        [OSV_TOK_CLASS_LLAMA] = {"<s>", "</s>", "<unk>"},
        [OSV_TOK_CLASS_GEMMA] = {"<bos>", "<eos>", "<unk>", NULL, "<pad>", NULL, "<mask>"},
        [OSV_TOK_CLASS_QWEN2] = {NULL, "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>"},
        [OSV_TOK_CLASS_GPT2] = {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>"},
    };
    return json_object_get(c->config, standard[i]) ? NULL : names[c->kind][i];
}

/* bos_token and the like, in the order in which new ids are given; then tokens with names of the model's own.
 */
static int add_named(list *l, const osv_tok_class *c)
{
    const json_t *config = c->config;
    bool fresh = c->converted || c->kind != OSV_TOK_CLASS_FILE;
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
        const char *name = fallback(c, i);
        json_t *made = name ? json_string(name) : NULL;
        int status = add_special(l, made ? made : json_object_get(config, standard[i]), fresh);
        json_decref(made);
        if (status) return status;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        size_t length = strlen(key);
        bool token = length > 6 && strcmp(key + length - 6, "_token") == 0 && !is_standard(key);
        if (token) OSV_TRY(add_special(l, value, fresh));
    }
    const json_t *extra = json_object_get(config, "extra_special_tokens");
    if (json_array_size(extra) == 0 && json_object_size(extra) == 0)
        extra = json_object_get(config, "additional_special_tokens");
    size_t i;
    json_object_foreach((json_t *)extra, key, value) OSV_TRY(add_special(l, value, false));
    json_array_foreach(extra, i, value) OSV_TRY(add_special(l, value, false));
    return OSV_OK;
}

/* added_tokens.json, {"<|end|>": 151645, ..}, in the notation of added_tokens_decoder. */
static int number(json_t *numbered, const osv_tok_class *c, const json_t *added, osv_error *e)
{
    char id[32], shown[64];
    const char *content;
    json_t *value;
    json_object_foreach((json_t *)added, content, value)
    {
        bool special = false;
        for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
            const char *named = content_of(json_object_get(c->config, standard[i]));
            special |= named && strcmp(named, content) == 0;
        }
        if (!json_is_integer(value))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s/added_tokens.json: \"%s\" must be an id", c->dir,
                            osv_tok_show(content, strlen(content), shown));
        snprintf(id, sizeof id, "%lld", (long long)json_integer_value(value));
        json_t *token =
            json_pack("{s:s, s:b, s:b}", "content", content, "special", special, "normalized", !special);
        if (json_object_set_new(numbered, id, token)) return no_memory(c->path, e);
    }
    return OSV_OK;
}

/* The numbered tokens of directories from before added_tokens_decoder, which keep the names in a file of
 * their own. */
static int read_older(osv_tok_class *c, osv_error *e)
{
    json_t *map = NULL, *added = NULL, *numbered = json_object();
    int status = numbered ? OSV_OK : no_memory(c->path, e);
    if (!status) status = read_optional(&map, c->dir, "special_tokens_map.json", e);
    if (!status && json_object_update(c->config, map)) status = no_memory(c->path, e);
    if (!status && c->converted) status = read_optional(&added, c->dir, "added_tokens.json", e);
    if (!status) status = number(numbered, c, added, e);
    if (!status && c->converted && json_object_set(c->config, "added_tokens_decoder", numbered))
        status = no_memory(c->path, e);
    json_decref(map);
    json_decref(added);
    json_decref(numbered);
    return status;
}

int osv_tok_class_open(osv_tok_class *c, const char *dir, const char *path, const json_t *root, osv_error *e)
{
    *c = (osv_tok_class){.dir = dir, .path = path, .converted = !root};
    OSV_TRY(read_optional(&c->config, dir, "tokenizer_config.json", e));
    OSV_TRY(read_optional(&c->model_config, dir, "config.json", e));
    c->numbered = json_is_object(json_object_get(c->config, "added_tokens_decoder"));
    if (!c->numbered) OSV_TRY(read_older(c, e));
    c->name = json_string_value(json_object_get(c->config, "tokenizer_class"));
    if (!c->name) c->name = json_string_value(json_object_get(c->model_config, "tokenizer_class"));
    c->kind = choose(c, root);
    c->bare = !c->name && c->kind == OSV_TOK_CLASS_FILE;
    return OSV_OK;
}

void osv_tok_class_close(osv_tok_class *c)
{
    json_decref(c->config);
    json_decref(c->model_config);
}

int osv_tok_class_apply(const osv_tok_class *c, json_t *root, bool *split_special, osv_error *e)
{
    *split_special = false;
    if (!json_is_object(root)) return OSV_OK; /* reading it will say what is wrong */
    if (c->kind != OSV_TOK_CLASS_FILE) OSV_TRY(rebuild(root, c, e));
    *split_special = json_is_true(json_object_get(c->config, "split_special_tokens"));
    const json_t *numbered = json_object_get(c->config, "added_tokens_decoder");
    json_t *own = json_object_get(root, "added_tokens");
    if (own && !json_is_array(own) && !json_is_null(own))
        return OSV_OK; /* reading it will say what is wrong */
    bool keep = c->kind == OSV_TOK_CLASS_FILE || !c->numbered;
    list l = {json_array(), json_object(), c->kind == OSV_TOK_CLASS_QWEN2, c->path, e};
    int status = l.tokens && l.names ? OSV_OK : no_memory(c->path, e);
    for (size_t i = 0; keep && i < json_array_size(own) && !status; i++)
        status = append(&l, json_incref(json_array_get(own, i)));
    if (!status && json_is_object(numbered)) status = add_numbered(&l, numbered);
    if (!status) status = add_named(&l, c);
    if (!status && json_object_set(root, "added_tokens", l.tokens)) status = no_memory(c->path, e);
    json_decref(l.tokens);
    json_decref(l.names);
    return status;
}

const char *osv_tok_class_bos(const osv_tok_class *c)
{
    const char *name = fallback(c, BOS);
    if (!json_is_true(json_object_get(c->config, "add_bos_token"))) return NULL;
    return name ? name : content_of(json_object_get(c->config, "bos_token"));
}

const char *osv_tok_class_eos(const osv_tok_class *c)
{
    const char *name = fallback(c, EOS);
    if (!json_is_true(json_object_get(c->config, "add_eos_token"))) return NULL;
    return name ? name : content_of(json_object_get(c->config, "eos_token"));
}
