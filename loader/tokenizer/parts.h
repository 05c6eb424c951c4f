/* What the files of the tokenizer share.
 *
 * The path of a text:  added tokens cut out -> normalizers -> normalized added tokens cut out ->
 * pre-tokenizer steps -> model (BPE) -> template. Each stage turns one text and its spans into the next; a
 * span is either an added token or a piece of text that the later stages may change and divide. Normalizers,
 * pre-tokenizer steps and decoder steps are lists of structs with a kind; a new family of tokenizers is a new
 * kind in one of the lists.
 *
 * Everything inside osv_tokenizer is owned by it and constant after opening. What changes during a call lives
 * in an osv_tok_work on the stack of that call, so one tokenizer serves several threads. */
#ifndef OSV_LOADER_TOKENIZER_PARTS_H
#define OSV_LOADER_TOKENIZER_PARTS_H

#include <jansson.h>
#include <stdint.h>

#include "loader/tokenizer.h"

/* Ids from here on are a mistake in the file: the largest vocabularies in use have 300,000 entries, and an
 * array over all ids has to fit into memory. */
#define OSV_TOK_ID_LIMIT (1 << 22)

/* ---- text.c: bytes, spans, characters */

typedef struct {
    char *data;
    size_t bytes, room;
} osv_tok_text;

typedef struct {
    size_t start, end; /* bytes of the current text; of no meaning for an added token */
    int id;            /* of an added token, or -1 */
    bool first;        /* begins where the user's text begins */
} osv_tok_span;

typedef struct {
    osv_tok_span *data; /* [count] */
    size_t count, room;
} osv_tok_spans;

/* Room for `more` bytes after the present ones. */
int osv_tok_text_reserve(osv_tok_text *text, size_t more, osv_error *e);
int osv_tok_text_add(osv_tok_text *text, const char *bytes, size_t count, osv_error *e);
/* Empty text spans are not kept: no stage has a use for them. */
int osv_tok_span_add(osv_tok_spans *spans, size_t start, size_t end, int id, bool first, osv_error *e);
/* `more` items more than `count` in an array of `size`d items; *room is what it has. */
int osv_tok_grow(void **items, size_t size, size_t count, size_t more, size_t *room, osv_error *e);

/* The character at `s` (valid UTF-8) and its length. */
static inline uint32_t osv_tok_char(const char *s, size_t *length)
{
    const unsigned char *c = (const unsigned char *)s;
    if (c[0] < 0x80) {
        *length = 1;
        return c[0];
    }
    if (c[0] < 0xe0) {
        *length = 2;
        return (uint32_t)(c[0] & 0x1f) << 6 | (c[1] & 0x3fu);
    }
    if (c[0] < 0xf0) {
        *length = 3;
        return (uint32_t)(c[0] & 0x0f) << 12 | (uint32_t)(c[1] & 0x3f) << 6 | (c[2] & 0x3fu);
    }
    *length = 4;
    return (uint32_t)(c[0] & 0x07) << 18 | (uint32_t)(c[1] & 0x3f) << 12 | (uint32_t)(c[2] & 0x3f) << 6 |
           (c[3] & 0x3fu);
}

/* Start of the character that ends before `at` > 0. */
static inline size_t osv_tok_before(const char *text, size_t at)
{
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

bool osv_tok_is_space(uint32_t c); /* Unicode White_Space */
bool osv_tok_is_word(uint32_t c);  /* \w: letters, marks, decimal digits, connectors, joiners */

/* The byte-level alphabet of GPT-2: every byte as one printable character. */
uint32_t osv_tok_byte_char(int byte);
int osv_tok_char_byte(uint32_t c); /* or -1 */

/* Appends what `text` in base64 stands for. */
int osv_tok_base64(osv_tok_text *out, const char *text, size_t bytes, const char *where, osv_error *e);

/* `bytes` of a file on one line, cut to fit, for messages; returns `shown`. */
const char *osv_tok_show(const char *text, size_t bytes, char shown[64]);

/* ---- pattern.c: a literal or a regular expression (dialect: dialect.c) */

typedef struct osv_tok_pattern osv_tok_pattern;
typedef struct osv_tok_search osv_tok_search; /* the scratch of one call */

typedef struct {
    size_t at, start, end; /* next place to search; the match */
    bool matched;          /* there has been one; an empty match directly after it does not count */
} osv_tok_match;

/* `where` is put in front of messages: the file and the key. */
int osv_tok_pattern_literal(osv_tok_pattern **out, const char *text, size_t bytes, osv_error *e);
int osv_tok_pattern_regex(osv_tok_pattern **out, const char *regex, const char *where, osv_error *e);
void osv_tok_pattern_free(osv_tok_pattern *p);

/* Finds the next match (start with a zeroed `m`); *found false at the end. `*search` is created on first
 * need. */
int osv_tok_pattern_next(const osv_tok_pattern *p, osv_tok_search **search, const char *text, size_t bytes,
                         osv_tok_match *m, bool *found, osv_error *e);
void osv_tok_search_free(osv_tok_search *s);

/* A regular expression of the tokenizers library (Oniguruma, Ruby syntax) in the syntax of PCRE2. */
int osv_tok_dialect(osv_tok_text *out, const char *regex, const char *where, osv_error *e);

/* ---- charsmap.c: the table of characters to replace of sentencepiece */

typedef struct osv_tok_charsmap osv_tok_charsmap;

/* On failure *out may be set, and is freed as well. */
int osv_tok_charsmap_read(osv_tok_charsmap **out, const char *data, size_t bytes, const char *where,
                          osv_error *e);
void osv_tok_charsmap_free(osv_tok_charsmap *m);
/* Appends `text` with its replacements to `out`: the longest match at each place, as sentencepiece does, or
 * grapheme by grapheme, as the tokenizers library does. */
int osv_tok_charsmap_apply(const osv_tok_charsmap *m, bool graphemes, const char *text, size_t bytes,
                           osv_tok_text *out, osv_error *e);

/* ---- vocab.c: strings <-> ids */

typedef struct {
    uint32_t hash;
    int id; /* -1: free */
} osv_tok_slot;

typedef struct {
    osv_tok_slot *slots; /* [mask + 1], a power of two, at most half full */
    uint32_t mask;
    size_t count;
} osv_tok_table;

typedef struct {
    size_t offset;
    int bytes; /* -1: no piece has this id */
    int added; /* index in the list of added tokens, or -1 */
} osv_tok_piece;

typedef struct {
    osv_tok_text text;     /* all pieces, NUL-terminated */
    osv_tok_piece *pieces; /* [size] */
    size_t size, room;     /* largest id + 1 */
    osv_tok_table model;   /* the model's pieces */
    osv_tok_table added;   /* contents of the added tokens */
} osv_tok_vocab;

uint64_t osv_tok_hash(const char *bytes, size_t count);
int osv_tok_table_find(const osv_tok_table *table, const osv_tok_vocab *v, const char *bytes, size_t count,
                       uint64_t hash); /* id or -1 */
int osv_tok_table_put(osv_tok_table *table, const osv_tok_vocab *v, int id, osv_error *e);
/* Takes the string of `id`; an id that has another string already is an error. */
int osv_tok_vocab_set(osv_tok_vocab *v, int id, const char *bytes, size_t count, const char *where,
                      osv_error *e);
int osv_tok_vocab_read(osv_tok_vocab *v, const json_t *vocab, const char *where, osv_error *e);
void osv_tok_vocab_free(osv_tok_vocab *v);

/* ---- added.c: tokens that are found in the text before anything else */

typedef struct {
    int id;
    char *match; /* what is searched: the content, or what the normalizers make of it; decoded likewise */
    size_t bytes;
    bool special, normalized, lstrip, rstrip, single_word;
} osv_tok_added;

typedef struct {
    int child, sibling; /* nodes or -1 */
    int token;          /* that ends here, index of the list, or -1 */
    unsigned char byte;
} osv_tok_node;

typedef struct {
    osv_tok_node *nodes;
    size_t count, room;
    int root[256]; /* node of each first byte, or -1 */
} osv_tok_trie;

typedef struct {
    osv_tok_added *tokens; /* [count] */
    size_t count, room;
    int last;                     /* largest id, or -1 */
    osv_tok_trie raw, normalized; /* searched in the text as given, in the normalized text */
    bool split_special;           /* special tokens in the text are plain text */
    bool bare;                    /* no dummy prefix in the normalized ones */
} osv_tok_added_list;

/* ---- the lists of steps */

typedef enum {
    OSV_TOK_NFC,
    OSV_TOK_NFD,
    OSV_TOK_NFKC,
    OSV_TOK_NFKD,
    OSV_TOK_LOWERCASE,
    OSV_TOK_REPLACE,
    OSV_TOK_PREPEND,
    OSV_TOK_STRIP,
    OSV_TOK_CHARSMAP,
} osv_tok_normalizer_kind;

typedef struct {
    osv_tok_normalizer_kind kind;
    osv_tok_pattern *pattern; /* replace */
    char *content;            /* replace, prepend */
    size_t bytes;
    bool left, right; /* strip */
    bool start;       /* replace: not in a text that continues another */
    osv_tok_charsmap *charsmap;
    bool graphemes; /* charsmap: how it is applied */
} osv_tok_normalizer;

typedef enum { OSV_TOK_SPLIT, OSV_TOK_METASPACE, OSV_TOK_BYTE_LEVEL } osv_tok_splitter_kind;

typedef enum { /* what becomes of a match */
               OSV_TOK_ISOLATED,
               OSV_TOK_REMOVED,
               OSV_TOK_MERGED_WITH_PREVIOUS,
               OSV_TOK_MERGED_WITH_NEXT,
               OSV_TOK_CONTIGUOUS,
} osv_tok_behavior;

typedef enum { OSV_TOK_PREPEND_NEVER, OSV_TOK_PREPEND_FIRST, OSV_TOK_PREPEND_ALWAYS } osv_tok_prepend_scheme;

typedef struct {
    osv_tok_splitter_kind kind;
    osv_tok_pattern
        *pattern; /* split; metaspace: the replacement where it splits; byte level: GPT-2's, or NULL */
    osv_tok_behavior behavior;
    bool invert;
    osv_tok_prepend_scheme prepend; /* byte level: always or never */
    char replacement[8];            /* metaspace: one character */
    size_t replacement_bytes;
} osv_tok_splitter;

typedef enum {
    OSV_TOK_DECODE_BYTE_LEVEL,
    OSV_TOK_DECODE_METASPACE,
    OSV_TOK_DECODE_REPLACE,
    OSV_TOK_DECODE_BYTE_FALLBACK,
    OSV_TOK_DECODE_FUSE,
    OSV_TOK_DECODE_STRIP,
} osv_tok_decoder_kind;

typedef struct {
    osv_tok_decoder_kind kind;
    osv_tok_pattern *pattern; /* replace */
    char *content;            /* replace; strip and metaspace: one character */
    size_t bytes;
    int start,
        stop; /* strip: at most so many characters at each end; metaspace: start 1 drops those of token 0 */
} osv_tok_decoder;

/* ---- the model: byte pair encoding */

typedef struct {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free */
    uint32_t rank; /* place in the list: lower merges first */
    int id;        /* of the merged piece */
} osv_tok_merge;

#define OSV_TOK_JOIN_BITS 20 /* 128 KB of bits; the 100,000 pairs of a large vocabulary fill a tenth */

typedef struct {
    osv_tok_merge *merges; /* [merge_mask + 1] */
    uint64_t merge_mask;
    int *char_id;     /* [0x10000] piece of a single character, or -1 */
    int byte_id[256]; /* "<0x0A>", or -1 */
    /* Bit joins(x, y): some merge may join a piece that ends in x to one that starts with y. Where the bit is
     * off a text can be cut without changing any id, which keeps the words short where the file has no
     * pre-tokenizer. */
    uint64_t *joins;
    bool cuttable; /* no merge names a byte or the unknown token, whose characters are not in the text */
    int unk_id;
    char *unk_missing; /* an unknown token that the vocabulary lacks: an error when it is needed */
    bool has_unk, fuse_unk, byte_fallback, ignore_merges;
} osv_tok_bpe;

struct osv_tokenizer {
    char *path; /* of the file, for messages */
    char about[96];
    osv_tok_vocab vocab;
    osv_tok_added_list added;
    osv_tok_normalizer *normalizers;
    osv_tok_splitter *splitters;
    osv_tok_decoder *decoders;
    size_t normalizer_count, splitter_count, decoder_count;
    size_t normalizer_room, splitter_room, decoder_room;
    bool has_decoder; /* without one the pieces are joined by spaces */
    osv_tok_bpe bpe;
    int *template_ids; /* [template_count] ids around the text, which is -1; empty: the text alone */
    size_t template_count, template_room;
};

/* What a call changes: two texts and their spans, from one stage to the next, and scratch. */
typedef struct {
    bool continuation; /* no prefix in front of the first span */
    osv_tok_text text, next_text, a, b;
    osv_tok_spans spans, next_spans;
    osv_tok_search *search;
    struct osv_tok_bpe_work *bpe;
} osv_tok_work;

void osv_tok_work_free(osv_tok_work *w);

/* ---- class.c: what transformers' AutoTokenizer makes of the directory */

typedef enum {
    OSV_TOK_CLASS_FILE, /* as the file says */
    OSV_TOK_CLASS_LLAMA,
    OSV_TOK_CLASS_GEMMA,
    OSV_TOK_CLASS_QWEN2,
    OSV_TOK_CLASS_GPT2,
} osv_tok_class_kind;

typedef struct {
    osv_tok_class_kind kind;
    const char *name;              /* of the class that the directory names, or NULL */
    const char *dir, *path;        /* of the tokenizer's file */
    json_t *config, *model_config; /* tokenizer_config.json (older files merged), config.json */
    bool numbered;                 /* has an added_tokens_decoder */
    bool converted;                /* there is no tokenizer.json */
    bool bare;                     /* nothing says who should build the tokenizer */
} osv_tok_class;

/* `root`: the tree of tokenizer.json, or NULL where there is none. Closed also after a failure. */
int osv_tok_class_open(osv_tok_class *c, const char *dir, const char *path, const json_t *root, osv_error *e);
void osv_tok_class_close(osv_tok_class *c);
/* Changes the tree into the one that transformers uses. */
int osv_tok_class_apply(const osv_tok_class *c, json_t *root, bool *split_special, osv_error *e);
/* What is put in front of and behind a text where there is no tokenizer.json, or NULL. */
const char *osv_tok_class_bos(const osv_tok_class *c);
const char *osv_tok_class_eos(const osv_tok_class *c);

/* Parts of a tree: NULL where there is no memory. Division by `regex`, then bytes; decoding spaces, bytes
 * written out, so many spaces in front dropped. */
json_t *osv_tok_byte_level_splitter(const char *regex, bool prefix);
json_t *osv_tok_space_decoder(bool bytes, int strip);

/* Files other than tokenizer.json: each fills the vocabulary and merges of `t` and gives the rest of the
 * tree. `text` is what the file `t->path` holds. */
int osv_tok_sentencepiece_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, const char *text,
                               size_t bytes, osv_error *e);
int osv_tok_tiktoken_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, const char *text, size_t bytes,
                          osv_error *e);
bool osv_tok_tiktoken_is(const char *text, size_t bytes);
int osv_tok_vocab_merges_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, osv_error *e);

/* read.c, steps.c: the tree -> structs. */
int osv_tok_read(osv_tokenizer *t, const json_t *root, osv_error *e);
/* Pieces around the text, where the tree has no template; NULL for none. */
int osv_tok_read_ends(osv_tokenizer *t, const char *bos, const char *eos, osv_error *e);
int osv_tok_add_normalizer(osv_tokenizer *t, osv_tok_normalizer **out, osv_error *e);
int osv_tok_read_normalizers(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e);
int osv_tok_read_splitters(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e);
int osv_tok_read_decoders(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e);

/* added.c */
int osv_tok_added_read(osv_tokenizer *t, const json_t *tokens, const char *where, osv_error *e);
/* Cuts the tokens out of text[start, end) and appends the spans, positions counted in `text`. */
int osv_tok_added_cut(const osv_tokenizer *t, const osv_tok_trie *trie, const char *text, osv_tok_span whole,
                      osv_tok_spans *out, osv_error *e);
void osv_tok_added_free(osv_tok_added_list *list);

/* normalize.c: appends the normalized form of `text` to `out`; `prefix`: with what Prepend adds. */
int osv_tok_normalize(const osv_tokenizer *t, osv_tok_work *w, const char *text, size_t bytes, bool prefix,
                      osv_tok_text *out, osv_error *e);

/* Appends `text` to `out` with every match replaced. */
int osv_tok_replace(const osv_tok_pattern *p, osv_tok_search **search, const char *content,
                    size_t content_bytes, const char *text, size_t bytes, osv_tok_text *out, osv_error *e);

/* split.c: all pre-tokenizer steps on w->text, w->spans. */
int osv_tok_split(const osv_tokenizer *t, osv_tok_work *w, osv_error *e);

/* pieces.c: merges from priorities */
typedef struct {
    int id;
    uint32_t rank; /* lower merges first; counts with equal ties only, else the order of the array does */
} osv_tok_place;

typedef enum {                          /* which of the ways to divide one piece comes first */
               OSV_TOK_TIES_SHORT_LEFT, /* transformers, sentencepiece files: the shortest left half */
               OSV_TOK_TIES_LOW_LEFT,   /* transformers, tiktoken files: the left half of the lowest id */
               OSV_TOK_TIES_EQUAL,      /* sentencepiece itself: the leftmost in the text */
} osv_tok_ties;

/* Makes the merges of all pieces in `place`, in this order; the model's vocabulary is complete. */
int osv_tok_merges_make(osv_tokenizer *t, const osv_tok_place *place, size_t count, osv_tok_ties ties,
                        osv_error *e);

/* merges.c, bpe.c */
/* Room for so many merges, and one of them: ids of left half, right half and both. */
int osv_tok_bpe_begin(osv_tokenizer *t, size_t count, osv_error *e);
void osv_tok_bpe_put(osv_tokenizer *t, const int id[3], uint32_t rank);
int osv_tok_bpe_read(osv_tokenizer *t, const json_t *model, const char *where, osv_error *e);
void osv_tok_bpe_free(osv_tok_bpe *b);
int osv_tok_bpe_encode(const osv_tokenizer *t, osv_tok_work *w, osv_tok_span span, osv_ids *ids,
                       osv_error *e);
void osv_tok_bpe_work_free(struct osv_tok_bpe_work *w);

static inline bool osv_tok_byte_piece(const char *piece, size_t bytes)
{
    return bytes == 6 && piece[0] == '<' && piece[1] == '0' && piece[2] == 'x' && piece[5] == '>';
}

static inline uint64_t osv_tok_merge_slot(const osv_tok_bpe *b, uint64_t pair)
{
    uint64_t i = pair * 0x9e3779b97f4a7c15u;
    return (i ^ i >> 32) & b->merge_mask;
}

static inline const osv_tok_merge *osv_tok_merge_find(const osv_tok_bpe *b, int left, int right)
{
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    for (uint64_t i = osv_tok_merge_slot(b, pair);; i = (i + 1) & b->merge_mask) {
        if (b->merges[i].pair == pair) return &b->merges[i];
        if (b->merges[i].pair == UINT64_MAX) return NULL;
    }
}

static inline uint32_t osv_tok_join_bit(uint32_t x, uint32_t y)
{
    return (x * 0x9e3779b1u + y * 0x85ebca77u) >> (32 - OSV_TOK_JOIN_BITS);
}

#endif
