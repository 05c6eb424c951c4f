/* normalizer, pre_tokenizer and decoder of tokenizer.json -> lists of steps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/tokenizer/parts.h"

#define WHERE 512

/* GPT-2's expression, which ByteLevel applies by itself unless told otherwise. */
static const char GPT2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Whitespace: words and runs of what is neither word nor space, with the word characters of Rust's regex. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"
static const char WORDS[] = "[" WORD "]+|[^" WORD "\\s]+";

typedef int (*read_one)(osv_tokenizer *t, const json_t *node, const char *type, const char *where,
                        osv_error *e);

/* A component, or a Sequence of components under `list_key`, in any depth. */
static int read_list(osv_tokenizer *t, const json_t *node, const char *list_key, read_one one,
                     const char *where, osv_error *e)
{
    const char *type;
    if (!json_is_object(node)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an object or null", where);
    OSV_TRY(osv_json_string(node, "type", true, &type, where, e));
    if (strcmp(type, "Sequence") != 0) return one(t, node, type, where, e);
    const json_t *list = json_object_get(node, list_key);
    if (!json_is_array(list))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an array", where, list_key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[WHERE];
        snprintf(place, sizeof place, "%s.%s[%zu]", where, list_key, i);
        OSV_TRY(read_list(t, json_array_get(list, i), list_key, one, place, e));
    }
    return OSV_OK;
}

static int unknown(const char *type, const char *what, const char *known, const char *where, osv_error *e)
{
    char shown[64];
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s \"%s\" is not supported (supported: %s)", where, what,
                    osv_tok_show(type, strlen(type), shown), known);
}

static int copy(char **to, size_t *bytes, const char *text, osv_error *e)
{
    *to = strdup(text);
    *bytes = strlen(text);
    return *to ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for %zu bytes", *bytes);
}

/* {"String": ".."} or {"Regex": ".."} */
static int read_pattern(osv_tok_pattern **out, const json_t *node, const char *where, osv_error *e)
{
    char shown[64];
    const json_t *pattern = json_object_get(node, "pattern");
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    if (!literal == !regex)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"pattern\" must be {\"String\": ..} or {\"Regex\": ..}, not %s", where,
                        pattern ? osv_json_show(pattern, shown, sizeof shown) : "nothing");
    if (!(literal ? literal : regex)[0]) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"pattern\" is empty", where);
    if (literal) return osv_tok_pattern_literal(out, literal, strlen(literal), e);
    return osv_tok_pattern_regex(out, regex, where, e);
}

/* A string of one character. */
static int read_character(const char **out, const json_t *node, const char *key, const char *where,
                          osv_error *e)
{
    size_t length;
    OSV_TRY(osv_json_string(node, key, true, out, where, e));
    if (**out && (osv_tok_char(*out, &length), length) == strlen(*out)) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be one character", where, key);
}

/* ---- normalizers */

int osv_tok_add_normalizer(osv_tokenizer *t, osv_tok_normalizer **out, osv_error *e)
{
    void *items = t->normalizers;
    OSV_TRY(osv_tok_grow(&items, sizeof *t->normalizers, t->normalizer_count, 1, &t->normalizer_room, e));
    t->normalizers = items;
    *out = &t->normalizers[t->normalizer_count++];
    **out = (osv_tok_normalizer){0};
    return OSV_OK;
}

/* A table in base64. */
static int read_charsmap(osv_tok_normalizer *n, const json_t *node, const char *where, osv_error *e)
{
    const char *text;
    n->graphemes = true;
    OSV_TRY(osv_json_string(node, "precompiled_charsmap", true, &text, where, e));
    osv_tok_text data = {0};
    int status = osv_tok_base64(&data, text, strlen(text), where, e);
    if (!status) status = osv_tok_charsmap_read(&n->charsmap, data.data, data.bytes, where, e);
    free(data.data);
    return status;
}

static int read_normalizer(osv_tokenizer *t, const json_t *node, const char *type, const char *where,
                           osv_error *e)
{
    static const char *const names[] = {"NFC",     "NFD",     "NFKC",  "NFKD",       "Lowercase",
                                        "Replace", "Prepend", "Strip", "Precompiled"};
    osv_tok_normalizer *n;
    OSV_TRY(osv_tok_add_normalizer(t, &n, e));
    size_t kind = 0;
    while (kind < sizeof names / sizeof *names && strcmp(type, names[kind]) != 0) kind++;
    if (kind == sizeof names / sizeof *names)
        return unknown(type, "normalizer",
                       "NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, Precompiled, Sequence",
                       where, e);
    n->kind = (osv_tok_normalizer_kind)kind;
    const char *content = NULL;
    if (n->kind == OSV_TOK_REPLACE) {
        OSV_TRY(read_pattern(&n->pattern, node, where, e));
        OSV_TRY(osv_json_string(node, "content", true, &content, where, e));
    } else if (n->kind == OSV_TOK_PREPEND) {
        OSV_TRY(osv_json_string(node, "prepend", true, &content, where, e));
    } else if (n->kind == OSV_TOK_STRIP) {
        OSV_TRY(osv_json_bool(node, "strip_left", true, &n->left, where, e));
        OSV_TRY(osv_json_bool(node, "strip_right", true, &n->right, where, e));
    } else if (n->kind == OSV_TOK_CHARSMAP) {
        return read_charsmap(n, node, where, e);
    }
    return content ? copy(&n->content, &n->bytes, content, e) : OSV_OK;
}

int osv_tok_read_normalizers(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e)
{
    return json_is_null(node) || !node ? OSV_OK
                                       : read_list(t, node, "normalizers", read_normalizer, where, e);
}

/* ---- pre-tokenizer */

static int read_behavior(osv_tok_splitter *s, const json_t *node, bool required, const char *where,
                         osv_error *e)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *behavior = names[OSV_TOK_ISOLATED];
    OSV_TRY(osv_json_string(node, "behavior", required, &behavior, where, e));
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(behavior, names[i]) != 0) i++;
    if (i == sizeof names / sizeof *names)
        return unknown(behavior, "behavior",
                       "Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous", where, e);
    s->behavior = (osv_tok_behavior)i;
    return OSV_OK;
}

static int read_split(osv_tok_splitter *s, const json_t *node, const char *where, osv_error *e)
{
    s->kind = OSV_TOK_SPLIT;
    OSV_TRY(read_behavior(s, node, true, where, e));
    OSV_TRY(osv_json_bool(node, "invert", true, &s->invert, where, e));
    return read_pattern(&s->pattern, node, where, e);
}

/* A division by an expression that the file does not spell. */
static int read_regex(osv_tok_splitter *s, const char *regex, osv_tok_behavior behavior, bool invert,
                      const char *where, osv_error *e)
{
    s->kind = OSV_TOK_SPLIT;
    s->behavior = behavior;
    s->invert = invert;
    return osv_tok_pattern_regex(&s->pattern, regex, where, e);
}

static int read_digits(osv_tok_splitter *s, const json_t *node, const char *where, osv_error *e)
{
    bool each = false;
    OSV_TRY(osv_json_bool(node, "individual_digits", false, &each, where, e));
    return read_regex(s, "\\p{N}", each ? OSV_TOK_ISOLATED : OSV_TOK_CONTIGUOUS, false, where, e);
}

static int read_punctuation(osv_tok_splitter *s, const json_t *node, const char *where, osv_error *e)
{
    OSV_TRY(read_behavior(s, node, false, where, e));
    return read_regex(s, "[\\p{P}!-/:-@\\[-`{-~]", s->behavior, false, where, e);
}

static int read_byte_level(osv_tok_splitter *s, const json_t *node, const char *where, osv_error *e)
{
    bool prefix = true, use_regex = true;
    s->kind = OSV_TOK_BYTE_LEVEL;
    OSV_TRY(osv_json_bool(node, "add_prefix_space", true, &prefix, where, e));
    OSV_TRY(osv_json_bool(node, "use_regex", false, &use_regex, where, e));
    s->prepend = prefix ? OSV_TOK_PREPEND_ALWAYS : OSV_TOK_PREPEND_NEVER;
    return use_regex ? osv_tok_pattern_regex(&s->pattern, GPT2, where, e) : OSV_OK;
}

/* prepend_scheme, or in older files add_prefix_space. */
static int read_scheme(osv_tok_prepend_scheme *out, const json_t *node, const char *where, osv_error *e)
{
    static const char *const names[] = {"never", "first", "always"};
    const char *scheme = NULL;
    bool prefix = true;
    OSV_TRY(osv_json_string(node, "prepend_scheme", false, &scheme, where, e));
    OSV_TRY(osv_json_bool(node, "add_prefix_space", false, &prefix, where, e));
    *out = prefix ? OSV_TOK_PREPEND_ALWAYS : OSV_TOK_PREPEND_NEVER;
    if (!scheme) return OSV_OK;
    int i = 0;
    while (i < 3 && strcmp(scheme, names[i]) != 0) i++;
    if (i == 3) return unknown(scheme, "prepend_scheme", "always, first, never", where, e);
    if (!prefix && i != OSV_TOK_PREPEND_NEVER)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"prepend_scheme\" is %s, but \"add_prefix_space\" is false",
                        where, names[i]);
    *out = (osv_tok_prepend_scheme)i;
    return OSV_OK;
}

static int read_metaspace(osv_tok_splitter *s, const json_t *node, const char *where, osv_error *e)
{
    const char *replacement;
    bool split = true;
    s->kind = OSV_TOK_METASPACE;
    s->behavior = OSV_TOK_MERGED_WITH_NEXT;
    OSV_TRY(read_character(&replacement, node, "replacement", where, e));
    OSV_TRY(read_scheme(&s->prepend, node, where, e));
    OSV_TRY(osv_json_bool(node, "split", false, &split, where, e));
    s->replacement_bytes = strlen(replacement);
    memcpy(s->replacement, replacement, s->replacement_bytes);
    return split ? osv_tok_pattern_literal(&s->pattern, replacement, s->replacement_bytes, e) : OSV_OK;
}

static int read_splitter(osv_tokenizer *t, const json_t *node, const char *type, const char *where,
                         osv_error *e)
{
    void *items = t->splitters;
    OSV_TRY(osv_tok_grow(&items, sizeof *t->splitters, t->splitter_count, 1, &t->splitter_room, e));
    t->splitters = items;
    osv_tok_splitter *s = &t->splitters[t->splitter_count++];
    *s = (osv_tok_splitter){0};
    if (strcmp(type, "Split") == 0) return read_split(s, node, where, e);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(s, node, where, e);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(s, node, where, e);
    if (strcmp(type, "Digits") == 0) return read_digits(s, node, where, e);
    if (strcmp(type, "Punctuation") == 0) return read_punctuation(s, node, where, e);
    if (strcmp(type, "Whitespace") == 0) return read_regex(s, WORDS, OSV_TOK_REMOVED, true, where, e);
    if (strcmp(type, "WhitespaceSplit") == 0) return read_regex(s, "\\s", OSV_TOK_REMOVED, false, where, e);
    return unknown(type, "pre-tokenizer",
                   "Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, Sequence",
                   where, e);
}

int osv_tok_read_splitters(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e)
{
    return json_is_null(node) || !node ? OSV_OK
                                       : read_list(t, node, "pretokenizers", read_splitter, where, e);
}

/* ---- decoder */

static int read_decoder(osv_tokenizer *t, const json_t *node, const char *type, const char *where,
                        osv_error *e)
{
    static const char *const names[] = {"ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"};
    void *items = t->decoders;
    OSV_TRY(osv_tok_grow(&items, sizeof *t->decoders, t->decoder_count, 1, &t->decoder_room, e));
    t->decoders = items;
    osv_tok_decoder *d = &t->decoders[t->decoder_count++];
    *d = (osv_tok_decoder){0};
    size_t kind = 0;
    while (kind < sizeof names / sizeof *names && strcmp(type, names[kind]) != 0) kind++;
    if (kind == sizeof names / sizeof *names)
        return unknown(type, "decoder", "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence",
                       where, e);
    d->kind = (osv_tok_decoder_kind)kind;
    const char *content = NULL;
    if (d->kind == OSV_TOK_DECODE_REPLACE) {
        OSV_TRY(read_pattern(&d->pattern, node, where, e));
        OSV_TRY(osv_json_string(node, "content", true, &content, where, e));
    } else if (d->kind == OSV_TOK_DECODE_STRIP) {
        OSV_TRY(read_character(&content, node, "content", where, e));
        OSV_TRY(osv_json_int(node, "start", true, 0, OSV_TOK_ID_LIMIT, &d->start, where, e));
        OSV_TRY(osv_json_int(node, "stop", true, 0, OSV_TOK_ID_LIMIT, &d->stop, where, e));
    } else if (d->kind == OSV_TOK_DECODE_METASPACE) {
        osv_tok_prepend_scheme scheme;
        OSV_TRY(read_character(&content, node, "replacement", where, e));
        OSV_TRY(read_scheme(&scheme, node, where, e));
        d->start = scheme != OSV_TOK_PREPEND_NEVER;
    }
    return content ? copy(&d->content, &d->bytes, content, e) : OSV_OK;
}

int osv_tok_read_decoders(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e)
{
    if (json_is_null(node) || !node) return OSV_OK;
    t->has_decoder = true;
    return read_list(t, node, "decoders", read_decoder, where, e);
}
