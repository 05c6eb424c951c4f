/* What transformers' AutoTokenizer (version 5) makes of a directory differs from its tokenizer.json, and it
 * is the ids of transformers that users compare with. The rules, applied to the tree of tokenizer.json before
 * it is read:
 *
 *   - `tokenizer_class` of tokenizer_config.json (else of config.json; a Gemma model without one gets
 *     GemmaTokenizer) chooses who builds the tokenizer. LlamaTokenizer and GemmaTokenizer take vocabulary,
 *     merges and post-processor from tokenizer.json and bring everything else themselves. All other
 *     classes take the file as it is; so does LlamaTokenizer for a byte-level file (Llama 3) or in a
 *     Mistral model.
 *   - LlamaTokenizer puts the dummy space in front of the first piece only, with `legacy` in front of every
 *     one, with `add_prefix_space: false` nowhere, and never where a space is already. (Llama 2's own file
 *     puts one there all the same: " hello" has one id more.) Characters it does not know are dropped.
 *   - `added_tokens_decoder`, the named special tokens (`bos_token`, ...) and `additional_special_tokens`
 *     are added to the added tokens of the file, or replace their flags.
 *   - `add_bos_token` and `add_eos_token` have no effect where there is a tokenizer.json: the
 *     post-processor decides. */
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

typedef enum { AS_IT_IS, LLAMA, GEMMA } class;

static class class_of(const json_t *root, const json_t *config, const json_t *model_config)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    const char *model = json_string_value(json_object_get(model_config, "model_type"));
    if (!name) name = json_string_value(json_object_get(model_config, "tokenizer_class"));
    if (!name) return starts_with(model, "gemma") ? GEMMA : AS_IT_IS;
    if (strcmp(name, "GemmaTokenizer") == 0 || strcmp(name, "GemmaTokenizerFast") == 0) return GEMMA;
    if (strcmp(name, "LlamaTokenizer") != 0 && strcmp(name, "LlamaTokenizerFast") != 0) return AS_IT_IS;
    bool mistral = starts_with(model, "mistral") || starts_with(model, "mixtral") ||
                   starts_with(model, "ministral");
    bool byte_level = has_type(json_object_get(root, "pre_tokenizer"), "ByteLevel") ||
                      has_type(json_object_get(root, "decoder"), "ByteLevel") ||
                      has_type(json_object_get(root, "post_processor"), "ByteLevel");
    return mistral || byte_level ? AS_IT_IS : LLAMA;
}

/* The text of a token: a string, or an object with flags; NULL for anything else. */
static const char *content_of(const json_t *token)
{
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

/* ---- the parts that the classes bring themselves */

static int rebuild(json_t *root, const json_t *config, class which, const char *path, osv_error *e)
{
    bool llama = which == LLAMA;
    bool prefix = llama && !json_is_false(json_object_get(config, "add_prefix_space"));
    bool legacy = json_is_true(json_object_get(config, "legacy"));
    const char *unk = content_of(json_object_get(config, "unk_token"));
    json_t *decoders = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern",
                                 "String", "▁", "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (prefix)
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                                  "start", 1, "stop", 0));
    json_t *decoder = json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders);
    json_t *normalizer =
        llama ? json_null()
              : json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", "▁");
    const char *scheme = !prefix ? "never" : legacy ? "always" : "first";
    json_t *splitter = llama ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", "▁",
                                         "prepend_scheme", scheme, "split", 0)
                             : json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "String",
                                         " ", "behavior", "MergedWithPrevious", "invert", 0);
    int failed = json_object_set_new(root, "decoder", decoder) |
                 json_object_set_new(root, "normalizer", normalizer) |
                 json_object_set_new(root, "pre_tokenizer", splitter);
    json_t *model = json_object_get(root, "model");
    if (!json_is_object(model))
        return failed ? no_memory(path, e) : OSV_OK; /* reading it will say what is wrong */
    failed |= json_object_set_new(model, "fuse_unk", json_true()) |
              json_object_set_new(model, "byte_fallback", json_true());
    failed |= json_object_set_new(model, "unk_token", llama ? json_null() : json_string(unk ? unk : "<unk>"));
    json_object_del(model, "ignore_merges");
    return failed ? no_memory(path, e) : OSV_OK;
}

/* ---- added tokens */

typedef struct {
    json_t *tokens, *names; /* array; object of their contents, to find them */
    const char *path;
    osv_error *e;
} list;

/* Takes over `token`, which may be NULL after a failed allocation. */
static int append(list *l, json_t *token)
{
    const char *content = content_of(token); /* reading will refuse a token without one */
    int failed = json_array_append_new(l->tokens, token);
    if (!failed && content) failed = json_object_set_new(l->names, content, json_true());
    return failed ? no_memory(l->path, l->e) : OSV_OK;
}

/* A special token by name, if it is not there yet; with the flags of the object, if it is one. */
static int add_special(list *l, const json_t *named)
{
    const char *content = content_of(named);
    if (!content || json_object_get(l->names, content)) return OSV_OK;
    json_t *token = json_is_object(named) ? json_copy((json_t *)named) : json_object();
    json_object_del(token, "id");
    int failed = json_object_set_new(token, "content", json_string(content)) |
                 json_object_set_new(token, "special", json_true());
    if (!json_object_get(token, "normalized"))
        failed |= json_object_set_new(token, "normalized", json_false());
    if (!failed) return append(l, token);
    json_decref(token);
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

/* bos_token and the like, in the order in which new ids are given; then tokens with names of the model's own.
 */
static int add_named(list *l, const json_t *config, class which)
{
    static const char *const llama[] = {"<s>", "</s>", "<unk>", NULL, NULL, NULL, NULL};
    static const char *const gemma[] = {"<bos>", "<eos>", "<unk>", NULL, "<pad>", NULL, "<mask>"};
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
        const char *fallback = which == LLAMA ? llama[i] : which == GEMMA ? gemma[i] : NULL;
        const json_t *named = json_object_get(config, standard[i]);
        json_t *made = named || !fallback ? NULL : json_string(fallback);
        int status = add_special(l, made ? made : named);
        json_decref(made);
        if (status) return status;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        size_t length = strlen(key);
        bool token = length > 6 && strcmp(key + length - 6, "_token") == 0 && !is_standard(key);
        if (token) OSV_TRY(add_special(l, value));
    }
    const json_t *extra = json_object_get(config, "extra_special_tokens");
    if (json_array_size(extra) == 0 && json_object_size(extra) == 0)
        extra = json_object_get(config, "additional_special_tokens");
    size_t i;
    json_object_foreach((json_t *)extra, key, value) OSV_TRY(add_special(l, value));
    json_array_foreach(extra, i, value) OSV_TRY(add_special(l, value));
    return OSV_OK;
}

static int apply(json_t *root, json_t *config, const json_t *model_config, const char *dir, const char *path,
                 bool *split_special, osv_error *e)
{
    class which = class_of(root, config, model_config);
    if (which != AS_IT_IS) OSV_TRY(rebuild(root, config, which, path, e));
    *split_special = json_is_true(json_object_get(config, "split_special_tokens"));

    const json_t *numbered = json_object_get(config, "added_tokens_decoder");
    if (!json_is_object(
            numbered)) { /* directories from before that key keep the names in a file of their own */
        json_t *map;
        OSV_TRY(read_optional(&map, dir, "special_tokens_map.json", e));
        int failed = json_object_update(config, map);
        json_decref(map);
        if (failed) return no_memory(path, e);
    }
    json_t *own = json_object_get(root, "added_tokens");
    if (own && !json_is_array(own) && !json_is_null(own))
        return OSV_OK; /* reading it will say what is wrong */
    bool keep = which == AS_IT_IS || !json_is_object(numbered);
    list l = {json_array(), json_object(), path, e};
    int status = l.tokens && l.names ? OSV_OK : no_memory(path, e);
    for (size_t i = 0; keep && i < json_array_size(own) && !status; i++)
        status = append(&l, json_incref(json_array_get(own, i)));
    if (!status && json_is_object(numbered)) status = add_numbered(&l, numbered);
    if (!status) status = add_named(&l, config, which);
    if (!status && json_object_set(root, "added_tokens", l.tokens)) status = no_memory(path, e);
    json_decref(l.tokens);
    json_decref(l.names);
    return status;
}

int osv_tok_apply_class(json_t *root, const char *dir, const char *path, bool *split_special, osv_error *e)
{
    json_t *config = NULL, *model_config = NULL;
    *split_special = false;
    if (!json_is_object(root)) return OSV_OK; /* reading it will say what is wrong */
    int status = read_optional(&config, dir, "tokenizer_config.json", e);
    if (!status) status = read_optional(&model_config, dir, "config.json", e);
    if (!status) status = apply(root, config, model_config, dir, path, split_special, e);
    json_decref(config);
    json_decref(model_config);
    return status;
}
