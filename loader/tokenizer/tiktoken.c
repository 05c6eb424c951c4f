/* tokenizer.model of tiktoken: a line for each piece, its bytes in base64 and its rank, which is its id. The
 * file has neither the special tokens nor the expression that divides a text. Both are known for Llama 3; a
 * Llama model whose tokenizer_config.json lists the tokens is read like it, as transformers does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

#define LLAMA3_PIECES 128000
#define LLAMA3_TOKENS 256

static const char LLAMA3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                             "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

typedef struct {
    const char *base64;
    size_t count;
    int rank;
} line;

/* The line at text[*at] and what comes after it; false where it is no such line. */
static bool next_line(const char *text, size_t bytes, size_t *at, line *l)
{
    const char *start = text + *at, *end = memchr(start, '\n', bytes - *at);
    size_t count = end ? (size_t)(end - start) : bytes - *at;
    *at += count + (end != NULL);
    if (count && start[count - 1] == '\r') count--;
    const char *space = memchr(start, ' ', count);
    if (!space || space == start || space + 1 == start + count) return false;
    *l = (line){start, (size_t)(space - start), 0};
    for (const char *c = space + 1; c < start + count; c++) {
        if (*c < '0' || *c > '9' || l->rank >= OSV_TOK_ID_LIMIT) return false;
        l->rank = 10 * l->rank + (*c - '0');
    }
    return true;
}

bool osv_tok_tiktoken_is(const char *text, size_t bytes)
{
    size_t at = 0;
    line l;
    if (bytes == 0 || !next_line(text, bytes, &at, &l)) return false;
    for (size_t i = 0; i < l.count; i++)
        if ((unsigned char)l.base64[i] <= ' ' || (unsigned char)l.base64[i] > '~') return false;
    return true;
}

/* Bytes as pieces of the byte alphabet. */
static int spell(osv_tok_text *out, const osv_tok_text *bytes, osv_error *e)
{
    out->bytes = 0;
    OSV_TRY(osv_tok_text_reserve(out, 2 * bytes->bytes, e));
    for (size_t i = 0; i < bytes->bytes; i++) {
        uint32_t c = osv_tok_byte_char((unsigned char)bytes->data[i]);
        if (c >= 0x80) {
            out->data[out->bytes++] = (char)(0xc0 | c >> 6);
            c = 0x80 | (c & 0x3f);
        }
        out->data[out->bytes++] = (char)c;
    }
    return OSV_OK;
}

static int read_line(osv_tokenizer *t, const line *l, osv_tok_text *raw, osv_tok_text *piece,
                     const char *where, osv_error *e)
{
    osv_tok_vocab *v = &t->vocab;
    char shown[64];
    raw->bytes = 0;
    OSV_TRY(osv_tok_base64(raw, l->base64, l->count, where, e));
    OSV_TRY(spell(piece, raw, e));
    if (osv_tok_table_find(&v->model, v, piece->data, piece->bytes,
                           osv_tok_hash(piece->data, piece->bytes)) >= 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: piece \"%s\" is there twice", where,
                        osv_tok_show(piece->data, piece->bytes, shown));
    OSV_TRY(osv_tok_vocab_set(v, l->rank, piece->data, piece->bytes, where, e));
    return osv_tok_table_put(&v->model, v, l->rank, e);
}

static int read_pieces(osv_tokenizer *t, const char *text, size_t bytes, osv_error *e)
{
    osv_tok_text raw = {0}, piece = {0};
    int status = OSV_OK, number = 1;
    char where[512];
    for (size_t at = 0; at < bytes && !status; number++) {
        line l;
        if (text[at] == '\n') { /* an empty line, as at the end of some files */
            at++;
            continue;
        }
        snprintf(where, sizeof where, "%s:%d", t->path, number);
        status = next_line(text, bytes, &at, &l)
                     ? read_line(t, &l, &raw, &piece, where, e)
                     : OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be a piece in base64 and its rank", where);
    }
    free(raw.data);
    free(piece.data);
    if (!status && t->vocab.model.count != t->vocab.size)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: %zu pieces, but ranks up to %zu", t->path,
                          t->vocab.model.count, t->vocab.size - 1);
    return status;
}

static int make_merges(osv_tokenizer *t, osv_error *e)
{
    size_t count = t->vocab.size;
    osv_tok_place *place = calloc(count, sizeof *place);
    if (!place) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for %zu pieces", t->path, count);
    for (size_t i = 0; i < count; i++) place[i].id = (int)i;
    int status = osv_tok_merges_make(t, place, count, OSV_TOK_TIES_LOW_LEFT, e);
    free(place);
    return status;
}

/* ---- special tokens */

static int append(json_t *tokens, const char *content, const char *path, osv_error *e)
{
    json_t *token = json_pack("{s:s, s:b, s:b}", "content", content, "special", 1, "normalized", 0);
    if (json_array_append_new(tokens, token))
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for a token", path);
    return OSV_OK;
}

/* Those of added_tokens_decoder, with names in the gaps. */
static int listed(const osv_tokenizer *t, const osv_tok_class *c, json_t *tokens, osv_error *e)
{
    const json_t *decoder = json_object_get(c->config, "added_tokens_decoder");
    const char *key;
    json_t *value;
    long base = (long)t->vocab.size, last = -1;
    json_object_foreach((json_t *)decoder, key, value)
    {
        long id = strtol(key, NULL, 10);
        if (id >= OSV_TOK_ID_LIMIT)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tokenizer_config.json: id %ld of an added token", t->path,
                            id);
        if (id > last) last = id;
    }
    for (long id = base; id <= last; id++) {
        char name[32], gap[64];
        snprintf(name, sizeof name, "%ld", id);
        snprintf(gap, sizeof gap, "<|reserved_token_%ld|>", id);
        const char *content = json_string_value(json_object_get(json_object_get(decoder, name), "content"));
        OSV_TRY(append(tokens, content ? content : gap, t->path, e));
    }
    return OSV_OK;
}

/* Llama 3's, as published with the models; 3.1 gave names to some of the reserved ones. */
static int published(const osv_tokenizer *t, const osv_tok_class *c, json_t *tokens, osv_error *e)
{
    static const char *const first[2][11] = {
        {"<|begin_of_text|>", "<|end_of_text|>", NULL, NULL, NULL, NULL, "<|start_header_id|>",
         "<|end_header_id|>", NULL, "<|eot_id|>", NULL},
        {"<|begin_of_text|>", "<|end_of_text|>", NULL, NULL, "<|finetune_right_pad_id|>", NULL,
         "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"}};
    /* 3.1 and later scale their rotary angles. */
    bool later = json_is_object(json_object_get(c->model_config, "rope_scaling"));
    for (int i = 0, reserved = 0; i < LLAMA3_TOKENS; i++) {
        char name[64];
        const char *content = i < 11 ? first[later][i] : NULL;
        if (!content) snprintf(name, sizeof name, "<|reserved_special_token_%d|>", reserved++);
        OSV_TRY(append(tokens, content ? content : name, t->path, e));
    }
    return OSV_OK;
}

static int add_tokens(const osv_tokenizer *t, const osv_tok_class *c, json_t *tokens, osv_error *e)
{
    const char *model = json_string_value(json_object_get(c->model_config, "model_type"));
    bool names = json_object_size(json_object_get(c->config, "added_tokens_decoder")) > 0;
    if (names && model && strcmp(model, "llama") == 0) return listed(t, c, tokens, e);
    if (t->vocab.size == LLAMA3_PIECES) return names ? listed(t, c, tokens, e) : published(t, c, tokens, e);
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: a tiktoken file of %zu pieces, which has neither its special tokens nor the expression "
        "that divides a text; both are known for Llama 3 (%d pieces) and for Llama models with an "
        "added_tokens_decoder in tokenizer_config.json. A tokenizer.json has all of it",
        t->path, t->vocab.size, LLAMA3_PIECES);
}

int osv_tok_tiktoken_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, const char *text, size_t bytes,
                          osv_error *e)
{
    OSV_TRY(read_pieces(t, text, bytes, e));
    json_t *tokens = json_array();
    json_t *model = json_pack("{s:s, s:b}", "type", "BPE", "ignore_merges", 1);
    json_t *decoder = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space", 1);
    int failed = json_object_set(root, "added_tokens", tokens) |
                 json_object_set_new(root, "pre_tokenizer", osv_tok_byte_level_splitter(LLAMA3, false)) |
                 json_object_set_new(root, "decoder", decoder) | json_object_set_new(root, "model", model);
    int status = failed ? OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the tokenizer's parts", t->path)
                        : add_tokens(t, c, tokens, e);
    json_decref(tokens);
    c->kind = OSV_TOK_CLASS_FILE; /* whatever the class, it takes this as it is */
    return status ? status : make_merges(t, e);
}
