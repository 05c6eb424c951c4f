/* tokenizer.model of sentencepiece: a vocabulary with scores, and how texts are normalized.
 *
 * Where the directory names a class, the result is what transformers makes of it: spaces are written out, but
 * unless the class is LlamaTokenizer there is no dummy prefix, whatever the file says, and merges are ordered
 * by id. A directory that names none is read as sentencepiece reads the file: dummy prefix, extra spaces
 * removed, merges by score; its control tokens are found in texts all the same, as everywhere here. */
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "loader/tokenizer/parts.h"
#include "loader/tokenizer/protobuf.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* types of pieces */
enum { UNIGRAM = 1, BPE, WORD, CHAR };                             /* types of models */

typedef struct {
    const char *text;
    size_t bytes;
    float score;
    int type;
    const char *renamed; /* by added_tokens_decoder, or NULL */
} piece;

typedef struct {
    const char *text;
    size_t bytes;
} string;

typedef struct {
    osv_tokenizer *t;
    osv_tok_class *c;
    osv_error *e;
    piece *pieces; /* [count] */
    size_t count, room;
    int model, unk_id, bos_id, eos_id;
    bool byte_fallback, suffix, dummy_prefix, remove_spaces, escape_spaces, denormalizer;
    string unk, bos, eos, charsmap;
} spm;

static int broken(const spm *s, const char *what)
{
    return OSV_FAIL(s->e, OSV_BAD_INPUT, "%s: %s", s->t->path, what);
}

static osv_protobuf inside(const osv_protobuf_field *f)
{
    const unsigned char *at = (const unsigned char *)f->bytes;
    return (osv_protobuf){.at = at, .end = at ? at + f->count : at, .broken = !at};
}

static int read_piece(spm *s, const osv_protobuf_field *field)
{
    osv_protobuf p = inside(field);
    osv_protobuf_field f;
    piece made = {.type = NORMAL};
    while (osv_protobuf_next(&p, &f)) {
        if (f.number == 1 && f.bytes) made.text = f.bytes, made.bytes = f.count;
        if (f.number == 2 && !f.bytes) memcpy(&made.score, &(uint32_t){(uint32_t)f.value}, sizeof made.score);
        if (f.number == 3 && !f.bytes) made.type = (int)f.value;
    }
    if (p.broken) return broken(s, "a piece that is no protocol buffer");
    char shown[64];
    size_t good = made.text ? osv_utf8_check(made.text, made.bytes) : 0;
    if (made.bytes == 0 || good < made.bytes || memchr(made.text, '\0', made.bytes))
        return OSV_FAIL(s->e, OSV_BAD_INPUT, "%s: piece %zu (\"%s\") is empty or no text", s->t->path,
                        s->count, osv_tok_show(made.text ? made.text : "", good, shown));
    if (made.score != made.score)
        return OSV_FAIL(s->e, OSV_BAD_INPUT, "%s: piece %zu has no score", s->t->path, s->count);
    void *pieces = s->pieces;
    OSV_TRY(osv_tok_grow(&pieces, sizeof made, s->count, 1, &s->room, s->e));
    s->pieces = pieces;
    s->pieces[s->count++] = made;
    return OSV_OK;
}

static int read_trainer(spm *s, const osv_protobuf_field *field)
{
    osv_protobuf p = inside(field);
    osv_protobuf_field f;
    while (osv_protobuf_next(&p, &f)) {
        string text = {f.bytes, f.count};
        switch (f.number) {
        case 3: s->model = (int)f.value; break;
        case 24: s->suffix = f.value; break;
        case 35: s->byte_fallback = f.value; break;
        case 40: s->unk_id = (int)f.value; break;
        case 41: s->bos_id = (int)f.value; break;
        case 42: s->eos_id = (int)f.value; break;
        case 45: s->unk = text; break;
        case 46: s->bos = text; break;
        case 47: s->eos = text; break;
        default: break;
        }
    }
    return p.broken ? broken(s, "a trainer_spec that is no protocol buffer") : OSV_OK;
}

static int read_normalizer(spm *s, const osv_protobuf_field *field, bool denormalizer)
{
    osv_protobuf p = inside(field);
    osv_protobuf_field f;
    while (osv_protobuf_next(&p, &f)) {
        if (denormalizer) {
            s->denormalizer |= f.number == 2 && f.count;
            continue;
        }
        if (f.number == 2 && f.bytes) s->charsmap = (string){f.bytes, f.count};
        if (f.number == 3) s->dummy_prefix = f.value;
        if (f.number == 4) s->remove_spaces = f.value;
        if (f.number == 5) s->escape_spaces = f.value;
    }
    return p.broken ? broken(s, "a normalizer_spec that is no protocol buffer") : OSV_OK;
}

static int read_model(spm *s, const char *text, size_t bytes)
{
    osv_protobuf_field file = {.bytes = text, .count = bytes}, f;
    osv_protobuf p = inside(&file);
    while (osv_protobuf_next(&p, &f)) {
        if (f.number >= 1 && f.number <= 5 && !f.bytes) p.broken = true;
        if (p.broken) break;
        if (f.number == 1) OSV_TRY(read_piece(s, &f));
        if (f.number == 2) OSV_TRY(read_trainer(s, &f));
        if (f.number == 3) OSV_TRY(read_normalizer(s, &f, false));
        if (f.number == 5) OSV_TRY(read_normalizer(s, &f, true));
    }
    if (p.broken) return broken(s, "neither a sentencepiece model nor lines of tiktoken");
    if (s->count == 0) return broken(s, "a sentencepiece model without pieces");
    static const char *const names[] = {"of no known type", "UNIGRAM", "BPE", "WORD", "CHAR"};
    if (s->model != BPE)
        return OSV_FAIL(s->e, OSV_BAD_INPUT, "%s: a sentencepiece model %s is not supported, expected BPE",
                        s->t->path, names[s->model >= UNIGRAM && s->model <= CHAR ? s->model : 0]);
    for (size_t i = 0; i < s->count; i++)
        if (s->pieces[i].type == UNUSED) return broken(s, "pieces that are marked unused are not supported");
    if (s->suffix) return broken(s, "\"treat_whitespace_as_suffix\" is not supported");
    if (s->denormalizer) return broken(s, "a denormalizer_spec is not supported");
    return OSV_OK;
}

/* ---- vocabulary and merges */

static bool has(const osv_tok_vocab *v, const char *text, size_t bytes)
{
    return osv_tok_table_find(&v->model, v, text, bytes, osv_tok_hash(text, bytes)) >= 0;
}

static bool is(const piece *p, const char *name)
{
    size_t bytes = strlen(name);
    return p->bytes == bytes && memcmp(p->text, name, bytes) == 0;
}

/* Where no class has rules of its own, transformers gives pieces the names that added_tokens_decoder has for
 * their ids, such as those that a fine-tuning put in the place of reserved ones. */
static void rename_pieces(spm *s)
{
    const json_t *decoder = json_object_get(s->c->config, "added_tokens_decoder");
    const char *key;
    json_t *value;
    if (s->c->bare || s->c->kind != OSV_TOK_CLASS_FILE) return;
    json_object_foreach((json_t *)decoder, key, value)
    {
        const char *name = json_string_value(json_object_get(value, "content"));
        char *end;
        unsigned long id = strtoul(key, &end, 10);
        if (!name || !*name || *end || id >= s->count) continue;
        bool taken = is(&s->pieces[id], name);
        for (size_t i = 0; i < s->count && !taken; i++) taken = is(&s->pieces[i], name);
        if (!taken) s->pieces[id].renamed = name;
    }
}

static int fill_vocabulary(spm *s)
{
    osv_tok_vocab *v = &s->t->vocab;
    char shown[64];
    rename_pieces(s);
    for (size_t i = 0; i < s->count; i++) {
        const piece *p = &s->pieces[i];
        if (p->renamed) {
            OSV_TRY(osv_tok_vocab_set(v, (int)i, p->renamed, strlen(p->renamed), s->t->path, s->e));
            OSV_TRY(osv_tok_table_put(&v->model, v, (int)i, s->e));
            continue;
        }
        if (has(v, p->text, p->bytes))
            return OSV_FAIL(s->e, OSV_BAD_INPUT, "%s: piece \"%s\" is there twice", s->t->path,
                            osv_tok_show(p->text, p->bytes, shown));
        OSV_TRY(osv_tok_vocab_set(v, (int)i, p->text, p->bytes, s->t->path, s->e));
        OSV_TRY(osv_tok_table_put(&v->model, v, (int)i, s->e));
    }
    return OSV_OK;
}

typedef struct {
    float score;
    int id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* sentencepiece itself merges by score, what is equal from the left, and only pieces of plain text. */
static int places_by_score(const spm *s, osv_tok_place *place, size_t *count)
{
    scored *order = malloc(s->count * sizeof *order);
    if (!order) return OSV_FAIL(s->e, OSV_DEVICE, "%s: no memory for %zu scores", s->t->path, s->count);
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->pieces[i].type == NORMAL) order[n++] = (scored){s->pieces[i].score, (int)i};
    qsort(order, n, sizeof *order, by_score);
    for (size_t i = 0; i < n; i++) {
        uint32_t before = i ? place[i - 1].rank : 0;
        place[i] = (osv_tok_place){order[i].id, before + (i && order[i].score != order[i - 1].score)};
    }
    *count = n;
    free(order);
    return OSV_OK;
}

static int make_merges(const spm *s)
{
    size_t n = s->count;
    osv_tok_place *place = calloc(n, sizeof *place);
    if (!place) return OSV_FAIL(s->e, OSV_DEVICE, "%s: no memory for %zu pieces", s->t->path, s->count);
    int status = OSV_OK;
    if (s->c->bare)
        status = places_by_score(s, place, &n);
    else
        for (size_t i = n = 0; i < s->count; i++)
            if (!s->pieces[i].renamed) place[n++].id = (int)i;
    if (!status)
        status = osv_tok_merges_make(s->t, place, n,
                                     s->c->bare ? OSV_TOK_TIES_EQUAL : OSV_TOK_TIES_SHORT_LEFT, s->e);
    free(place);
    return status;
}

/* ---- the rest of the tree */

static int no_memory(const spm *s)
{
    return OSV_FAIL(s->e, OSV_DEVICE, "%s: no memory for the tokenizer's parts", s->t->path);
}

/* Control and user-defined pieces become added tokens. Control pieces are special; sentencepiece
 * finds the user-defined ones in the normalized text. */
static int add_tokens(const spm *s, json_t *root)
{
    json_t *own = json_array(), *extra = json_array();
    int failed = !own || !extra;
    for (size_t i = 0; i < s->count; i++) {
        const piece *p = &s->pieces[i];
        if (p->type != CONTROL && p->type != USER_DEFINED) continue;
        bool user = p->type == USER_DEFINED && s->c->bare;
        json_t *token = json_pack("{s:s%, s:b, s:b}", "content", p->text, p->bytes, "special",
                                  p->type == CONTROL, "normalized", user);
        failed |= json_array_append_new(user ? own : extra, token);
    }
    failed |= json_object_set(root, "added_tokens", own) |
              json_object_set(s->c->config, "additional_special_tokens", extra);
    json_decref(own);
    json_decref(extra);
    s->t->added.bare = s->c->bare;
    return failed ? no_memory(s) : OSV_OK;
}

/* A named token that the configuration lacks: the file's. */
static int name(const spm *s, const char *key, int id, string own, const char *otherwise)
{
    if (id < 0 || json_object_get(s->c->config, key)) return OSV_OK;
    json_t *text = own.bytes ? json_stringn(own.text, own.bytes) : json_string(otherwise);
    return json_object_set_new(s->c->config, key, text) ? no_memory(s) : OSV_OK;
}

/* Every match of a regular expression, or of a literal, is replaced. */
static int add_replace(const spm *s, const char *regex, const char *literal, const char *content, bool start)
{
    osv_tok_normalizer *n;
    OSV_TRY(osv_tok_add_normalizer(s->t, &n, s->e));
    n->kind = OSV_TOK_REPLACE;
    n->start = start;
    n->bytes = strlen(content);
    n->content = strdup(content);
    if (!n->content) return no_memory(s);
    return regex ? osv_tok_pattern_regex(&n->pattern, regex, s->t->path, s->e)
                 : osv_tok_pattern_literal(&n->pattern, literal, strlen(literal), s->e);
}

static int add_prefix(const spm *s)
{
    osv_tok_normalizer *n;
    OSV_TRY(osv_tok_add_normalizer(s->t, &n, s->e));
    n->kind = OSV_TOK_PREPEND;
    n->content = strdup(s->escape_spaces ? "▁" : " ");
    n->bytes = n->content ? strlen(n->content) : 0;
    return n->content ? OSV_OK : no_memory(s);
}

static int add_charsmap(const spm *s)
{
    osv_tok_normalizer *n;
    OSV_TRY(osv_tok_add_normalizer(s->t, &n, s->e));
    n->kind = OSV_TOK_CHARSMAP;
    n->graphemes = !s->c->bare;
    return osv_tok_charsmap_read(&n->charsmap, s->charsmap.text, s->charsmap.bytes, s->t->path, s->e);
}

static int make_normalizers(const spm *s)
{
    bool own = s->c->bare;
    if (s->charsmap.bytes) OSV_TRY(add_charsmap(s));
    if (own && s->remove_spaces) OSV_TRY(add_replace(s, " +", NULL, " ", false));
    if (own && s->remove_spaces) OSV_TRY(add_replace(s, "\\A ", NULL, "", true));
    if (own && s->dummy_prefix) OSV_TRY(add_prefix(s));
    if (!own || s->escape_spaces) OSV_TRY(add_replace(s, NULL, " ", "▁", false));
    if (!own || !s->remove_spaces) return OSV_OK;
    /* At the end come last those that the text itself spells like this. */
    return add_replace(s, s->escape_spaces ? "▁+\\z" : " +\\z", NULL, "", false);
}

static int make_tree(const spm *s, json_t *root)
{
    json_t *unk = s->unk.bytes ? json_stringn(s->unk.text, s->unk.bytes) : json_string("<unk>");
    json_t *model = json_pack("{s:s, s:o, s:b, s:b}", "type", "BPE", "unk_token", unk, "fuse_unk", 1,
                              "byte_fallback", s->byte_fallback);
    int strip = !s->c->bare ? 0 : s->remove_spaces ? OSV_TOK_ID_LIMIT : s->dummy_prefix;
    if (json_object_set_new(root, "model", model) |
        json_object_set_new(root, "decoder", osv_tok_space_decoder(s->byte_fallback, strip)))
        return no_memory(s);
    OSV_TRY(add_tokens(s, root));
    if (s->c->kind != OSV_TOK_CLASS_FILE) return OSV_OK; /* it brings its own */
    OSV_TRY(make_normalizers(s));
    OSV_TRY(name(s, "bos_token", s->bos_id, s->bos, "<s>"));
    OSV_TRY(name(s, "eos_token", s->eos_id, s->eos, "</s>"));
    return name(s, "unk_token", s->unk_id, s->unk, "<unk>");
}

int osv_tok_sentencepiece_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, const char *text,
                               size_t bytes, osv_error *e)
{
    spm s = {.t = t,
             .c = c,
             .e = e,
             .model = UNIGRAM,
             .bos_id = 1,
             .eos_id = 2,
             .dummy_prefix = true,
             .remove_spaces = true,
             .escape_spaces = true};
    int status = read_model(&s, text, bytes);
    if (!status) status = fill_vocabulary(&s);
    if (!status) status = make_merges(&s);
    if (!status) status = make_tree(&s, root);
    free(s.pieces);
    return status;
}
