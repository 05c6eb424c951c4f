#include "loader/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "loader/random_model.h"
#include "loader/tokenizer/parts.h"

#define MODEL_LIMIT ((size_t)1 << 28) /* Gemma 3's, the largest in use, has 5 MB */
#define TEXT_LIMIT  ((size_t)1 << 30) /* positions and lengths of words are kept in 32 bits */

/* "tokenizer.json, BPE, byte-level" */
static void describe(osv_tokenizer *t, const char *files)
{
    bool byte_level = false; /* somewhere in the steps */
    for (size_t i = 0; i < t->splitter_count; i++) byte_level |= t->splitters[i].kind == OSV_TOK_BYTE_LEVEL;
    for (size_t i = 0; i < t->decoder_count; i++)
        byte_level |= t->decoders[i].kind == OSV_TOK_DECODE_BYTE_LEVEL;
    const char *kind = byte_level ? "byte-level" : t->bpe.byte_fallback ? "byte fallback" : "characters";
    snprintf(t->about, sizeof t->about, "%s, BPE, %s", files, kind);
}

static int read_tree(osv_tokenizer *t, const osv_tok_class *c, json_t *root, osv_error *e)
{
    OSV_TRY(osv_tok_class_apply(c, root, &t->added.split_special, e));
    OSV_TRY(osv_tok_read(t, root, e));
    return c->converted ? osv_tok_read_ends(t, osv_tok_class_bos(c), osv_tok_class_eos(c), e) : OSV_OK;
}

static int open_json(osv_tokenizer *t, const char *dir, osv_error *e)
{
    json_t *root;
    osv_tok_class c;
    OSV_TRY(osv_json_read(&root, t->path, e));
    int status = osv_tok_class_open(&c, dir, t->path, root, e);
    if (!status) status = read_tree(t, &c, root, e);
    osv_tok_class_close(&c);
    json_decref(root);
    if (!status) describe(t, "tokenizer.json");
    return status;
}

/* What is not tokenizer.json: each fills a tree like it, `text` being what t->path holds. */
static int convert(osv_tokenizer *t, osv_tok_class *c, json_t *root, const char *text, size_t bytes,
                   osv_error *e)
{
    const char *what = "vocab.json and merges.txt";
    if (!text) {
        OSV_TRY(osv_tok_vocab_merges_read(t, c, root, e));
    } else if (osv_tok_tiktoken_is(text, bytes)) {
        what = "tokenizer.model of tiktoken";
        OSV_TRY(osv_tok_tiktoken_read(t, c, root, text, bytes, e));
    } else {
        what = "tokenizer.model of sentencepiece";
        OSV_TRY(osv_tok_sentencepiece_read(t, c, root, text, bytes, e));
    }
    OSV_TRY(read_tree(t, c, root, e));
    describe(t, what);
    return OSV_OK;
}

static int open_converted(osv_tokenizer *t, const char *dir, bool model, osv_error *e)
{
    osv_tok_class c;
    char *text = NULL;
    size_t bytes = 0;
    json_t *root = json_object();
    int status = root ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "no memory for a tokenizer");
    if (!status && model) status = osv_file_read(&text, &bytes, t->path, MODEL_LIMIT, e);
    if (status) {
        json_decref(root);
        return status;
    }
    status = osv_tok_class_open(&c, dir, t->path, NULL, e);
    if (!status) status = convert(t, &c, root, text, bytes, e);
    osv_tok_class_close(&c);
    json_decref(root);
    free(text);
    return status;
}

/* True where `dir` has the file; its path is kept in t. */
static int has(bool *found, osv_tokenizer *t, const char *dir, const char *name, osv_error *e)
{
    free(t->path);
    OSV_TRY(osv_path_join(&t->path, dir, name, e));
    *found = osv_path_exists(t->path);
    return OSV_OK;
}

static int open_dir(osv_tokenizer *t, const char *dir, osv_error *e)
{
    bool found, merges;
    OSV_TRY(has(&found, t, dir, "tokenizer.json", e));
    if (found) return open_json(t, dir, e);
    OSV_TRY(has(&found, t, dir, "tokenizer.model", e));
    if (found) return open_converted(t, dir, true, e);
    OSV_TRY(has(&merges, t, dir, "merges.txt", e));
    OSV_TRY(has(&found, t, dir, "vocab.json", e));
    if (found && merges) return open_converted(t, dir, false, e);
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: no tokenizer; looked for tokenizer.json, tokenizer.model, vocab.json with merges.txt%s. "
        "Text needs a tokenizer (token ids do not)",
        dir,
        found    ? " (merges.txt is missing)"
        : merges ? " (vocab.json is missing)"
                 : "");
}

int osv_tokenizer_open(osv_tokenizer **out, const char *dir, osv_error *e)
{
    *out = NULL;
    if (osv_random_is(dir)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: a random model has none", dir);
    osv_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return OSV_FAIL(e, OSV_DEVICE, "no memory for a tokenizer");
    int status = open_dir(t, dir, e);
    if (status)
        osv_tokenizer_close(t);
    else
        *out = t;
    return status;
}

void osv_tokenizer_close(osv_tokenizer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->normalizer_count; i++) {
        osv_tok_pattern_free(t->normalizers[i].pattern);
        free(t->normalizers[i].content);
        osv_tok_charsmap_free(t->normalizers[i].charsmap);
    }
    for (size_t i = 0; i < t->splitter_count; i++) osv_tok_pattern_free(t->splitters[i].pattern);
    for (size_t i = 0; i < t->decoder_count; i++) {
        osv_tok_pattern_free(t->decoders[i].pattern);
        free(t->decoders[i].content);
    }
    free(t->normalizers);
    free(t->splitters);
    free(t->decoders);
    free(t->template_ids);
    osv_tok_added_free(&t->added);
    osv_tok_bpe_free(&t->bpe);
    osv_tok_vocab_free(&t->vocab);
    free(t->path);
    free(t);
}

const char *osv_tokenizer_about(const osv_tokenizer *t)
{
    return t->about;
}

const char *osv_tokenizer_path(const osv_tokenizer *t)
{
    return t->path;
}

int osv_tokenizer_size(const osv_tokenizer *t)
{
    return (int)t->vocab.size;
}

const char *osv_tokenizer_piece(const osv_tokenizer *t, int id)
{
    if (id < 0 || (size_t)id >= t->vocab.size || t->vocab.pieces[id].bytes < 0) return NULL;
    return t->vocab.text.data + t->vocab.pieces[id].offset;
}

int osv_tokenizer_next_special(const osv_tokenizer *t, int id)
{
    while (++id < osv_tokenizer_size(t)) {
        int added = t->vocab.pieces[id].bytes < 0 ? -1 : t->vocab.pieces[id].added;
        if (added >= 0 && t->added.tokens[added].special) return id;
    }
    return -1;
}

/* From the user's text to w->text and w->spans: tokens cut out before and after normalizing. */
static int normalize(const osv_tokenizer *t, osv_tok_work *w, const char *text, size_t bytes, osv_error *e)
{
    osv_tok_span whole = {0, bytes, -1, true};
    OSV_TRY(osv_tok_added_cut(t, &t->added.raw, text, whole, &w->next_spans, e));
    for (size_t i = 0; i < w->next_spans.count; i++) {
        osv_tok_span span = w->next_spans.data[i];
        if (span.id >= 0) {
            OSV_TRY(osv_tok_span_add(&w->spans, 0, 0, span.id, false, e));
            continue;
        }
        osv_tok_span made = {w->text.bytes, 0, -1, span.first};
        bool prefix = !(w->continuation && span.first);
        OSV_TRY(osv_tok_normalize(t, w, text + span.start, span.end - span.start, prefix, &w->text, e));
        made.end = w->text.bytes;
        OSV_TRY(osv_tok_added_cut(t, &t->added.normalized, w->text.data, made, &w->spans, e));
    }
    return OSV_OK;
}

static int encode_text(const osv_tokenizer *t, bool continuation, const char *text, size_t bytes,
                       osv_ids *ids, osv_error *e)
{
    osv_tok_work w = {.continuation = continuation};
    int status = normalize(t, &w, text, bytes, e);
    if (!status) status = osv_tok_split(t, &w, e);
    for (size_t i = 0; i < w.spans.count && !status; i++) {
        osv_tok_span span = w.spans.data[i];
        status = span.id >= 0 ? osv_ids_push(ids, span.id, e) : osv_tok_bpe_encode(t, &w, span, ids, e);
    }
    osv_tok_work_free(&w);
    return status;
}

static int check_text(const char *text, size_t bytes, osv_error *e)
{
    if (bytes > TEXT_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "a text of %zu bytes, at most %zu are encoded at once", bytes,
                        TEXT_LIMIT);
    size_t bad = osv_utf8_check(text, bytes);
    if (bad < bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT, "the text is not UTF-8 at byte %zu (0x%02x)", bad,
                        (unsigned char)text[bad]);
    return OSV_OK;
}

int osv_tokenizer_encode(const osv_tokenizer *t, const char *text, size_t bytes, bool special, osv_ids *ids,
                         osv_error *e)
{
    OSV_TRY(check_text(text, bytes, e));
    if (!special || t->template_count == 0) return encode_text(t, false, text, bytes, ids, e);
    for (size_t i = 0; i < t->template_count; i++) {
        int id = t->template_ids[i];
        OSV_TRY(id < 0 ? encode_text(t, false, text, bytes, ids, e) : osv_ids_push(ids, id, e));
    }
    return OSV_OK;
}

int osv_tokenizer_encode_continuation(const osv_tokenizer *t, const char *text, size_t bytes, osv_ids *ids,
                                      osv_error *e)
{
    OSV_TRY(check_text(text, bytes, e));
    return encode_text(t, true, text, bytes, ids, e);
}
