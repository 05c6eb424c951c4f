/* Byte pair encoding of one piece of text: its characters, then merges, lowest rank first and among equals
 * from the left.
 *
 * Three ways keep it fast. A piece (or a part of one that no merge can reach across, see osv_tok_bpe.joins)
 * that came before in the same text is copied from there. Short words look for the best pair by scanning.
 * Long ones keep a heap of pairs, so that a megabyte without a space costs n log n. */
#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

#define NO_TEXT   UINT32_MAX /* character of a symbol that is a byte or the unknown token */
#define SCAN      24         /* symbols; up to here scanning beats the heap */
#define CUT       12         /* symbols; shorter pieces are not worth looking for cuts */
#define KEEP      128        /* bytes; longer words hardly come again */
#define SLOTS_MAX 8192 /* words to remember: covers the frequent ones and stays in the second-level cache */

typedef struct {
    size_t start;   /* of the word in the stage's text */
    int bytes;      /* 0: free */
    bool part;      /* a part of a piece: the whole-piece lookup does not apply */
    int ids, count; /* where its ids are in the result */
} seen;

struct osv_tok_bpe_work {
    size_t room;
    int *id; /* [room] symbols: id, first byte in the piece, character */
    uint32_t *start, *c;
    int *next, *prev; /* linked list of symbols for the heap */
    uint64_t *heap;   /* rank << 32 | symbol */
    size_t heap_count, heap_room;
    seen *slots; /* [mask + 1] */
    size_t mask;
};

void osv_tok_bpe_work_free(struct osv_tok_bpe_work *w)
{
    if (!w) return;
    free(w->id);
    free(w->start);
    free(w->c);
    free(w->next);
    free(w->prev);
    free(w->heap);
    free(w->slots);
    free(w);
}

static int work_new(struct osv_tok_bpe_work **out, size_t text_bytes, osv_error *e)
{
    size_t slots = 16;
    while (slots < SLOTS_MAX && slots < text_bytes / 8) slots *= 2;
    struct osv_tok_bpe_work *w = *out = calloc(1, sizeof *w);
    if (w) w->slots = calloc(slots, sizeof *w->slots);
    if (!w || !w->slots) return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for %zu words", slots);
    w->mask = slots - 1;
    return OSV_OK;
}

static int work_room(struct osv_tok_bpe_work *w, size_t symbols, osv_error *e)
{
    if (symbols <= w->room) return OSV_OK;
    size_t room = symbols + symbols / 2 + 64;
    void *to[5] = {w->id, w->start, w->c, w->next, w->prev};
    int status = OSV_OK;
    for (int i = 0; i < 5; i++) {
        void *moved = realloc(to[i], room * 4);
        if (!moved)
            status = OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for a word of %zu symbols", symbols);
        if (moved) to[i] = moved;
    }
    w->id = to[0], w->start = to[1], w->c = to[2], w->next = to[3], w->prev = to[4];
    if (!status) w->room = room;
    return status;
}

static int push(osv_ids *ids, const int *from, size_t count, osv_error *e)
{
    for (size_t i = 0; i < count; i++) OSV_TRY(osv_ids_push(ids, from[i], e));
    return OSV_OK;
}

/* ---- symbols */

static int character_id(const osv_tokenizer *t, uint32_t c, const char *text, size_t length)
{
    if (c < 0x10000) return t->bpe.char_id[c];
    return osv_tok_table_find(&t->vocab.model, &t->vocab, text, length, osv_tok_hash(text, length));
}

static void add(struct osv_tok_bpe_work *w, size_t *n, int id, size_t start, uint32_t c)
{
    w->id[*n] = id;
    w->start[*n] = (uint32_t)start;
    w->c[*n] = c;
    ++*n;
}

/* Fills w->id, start, c with the initial symbols of a piece. A character the vocabulary lacks becomes its
 * bytes, if it has all of them, else the unknown token, if there is one, else nothing. An unknown token waits
 * for the next known character: with fuse_unk it grows until then, and bytes in between come before it. (The
 * library's rule; files whose bytes are complete never meet it.) */
static int symbols(const osv_tokenizer *t, struct osv_tok_bpe_work *w, const char *text, size_t bytes,
                   size_t *count, osv_error *e)
{
    const osv_tok_bpe *b = &t->bpe;
    OSV_TRY(work_room(w, bytes + 1, e));
    size_t n = 0, length;
    bool waiting = false;
    for (size_t i = 0; i < bytes; i += length) {
        uint32_t c = osv_tok_char(text + i, &length);
        int id = character_id(t, c, text + i, length);
        if (id >= 0) {
            if (waiting) add(w, &n, b->unk_id, i, NO_TEXT);
            waiting = false;
            add(w, &n, id, i, c);
            continue;
        }
        bool all = b->byte_fallback;
        for (size_t k = 0; k < length && all; k++) all = b->byte_id[(unsigned char)text[i + k]] >= 0;
        if (all) {
            for (size_t k = 0; k < length; k++)
                add(w, &n, b->byte_id[(unsigned char)text[i + k]], i, NO_TEXT);
        } else if (b->has_unk) {
            if (b->unk_id < 0)
                return OSV_FAIL(
                    e, OSV_BAD_INPUT,
                    "%s: the text has a character outside of the vocabulary (U+%04X), and the unknown token "
                    "\"%s\" is not in the vocabulary either",
                    t->path, c, b->unk_missing);
            if (waiting && !b->fuse_unk) add(w, &n, b->unk_id, i, NO_TEXT);
            waiting = true;
        }
    }
    if (waiting) add(w, &n, b->unk_id, bytes, NO_TEXT);
    *count = n;
    return OSV_OK;
}

/* ---- merging w->id[from, to) */

static int merge_scanning(const osv_tok_bpe *b, int *id, size_t n, osv_ids *ids, osv_error *e)
{
    const osv_tok_merge *pair[SCAN]; /* of i and i + 1 */
    for (size_t i = 0; i + 1 < n; i++) pair[i] = osv_tok_merge_find(b, id[i], id[i + 1]);
    for (;;) {
        size_t best = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && pair[i]->rank < rank) rank = pair[best = i]->rank;
        if (best == n) return push(ids, id, n, e);
        id[best] = pair[best]->id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(pair + best + 1, pair + best + 2, (n - best - 2) * sizeof *pair);
            pair[best] = osv_tok_merge_find(b, id[best], id[best + 1]);
        }
        if (best > 0) pair[best - 1] = osv_tok_merge_find(b, id[best - 1], id[best]);
    }
}

static int heap_push(struct osv_tok_bpe_work *w, const osv_tok_bpe *b, int left, osv_error *e)
{
    const osv_tok_merge *merge = osv_tok_merge_find(b, w->id[left], w->id[w->next[left]]);
    if (!merge) return OSV_OK;
    if (w->heap_count == w->heap_room) {
        void *heap = w->heap;
        OSV_TRY(osv_tok_grow(&heap, sizeof *w->heap, w->heap_count, 1, &w->heap_room, e));
        w->heap = heap;
    }
    uint64_t key = (uint64_t)merge->rank << 32 | (uint32_t)left;
    size_t i = w->heap_count++;
    for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = key;
    return OSV_OK;
}

static uint64_t heap_pop(struct osv_tok_bpe_work *w)
{
    uint64_t top = w->heap[0], key = w->heap[--w->heap_count];
    size_t i = 0, n = w->heap_count;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= key) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = key;
    return top;
}

static int merge_heap(const osv_tok_bpe *b, struct osv_tok_bpe_work *w, size_t from, size_t to, osv_ids *ids,
                      osv_error *e)
{
    w->heap_count = 0;
    for (size_t i = from; i < to; i++) {
        w->prev[i] = i == from ? -1 : (int)i - 1;
        w->next[i] = i + 1 == to ? -1 : (int)i + 1;
    }
    for (size_t i = from; i + 1 < to; i++) OSV_TRY(heap_push(w, b, (int)i, e));
    while (w->heap_count) {
        uint64_t top = heap_pop(w);
        int left = (int)(uint32_t)top, right = w->id[left] < 0 ? -1 : w->next[left];
        if (right < 0) continue; /* the left half is gone, or the last one now */
        const osv_tok_merge *merge = osv_tok_merge_find(b, w->id[left], w->id[right]);
        if (!merge || merge->rank != top >> 32) continue; /* one of the halves has grown since */
        w->id[left] = merge->id;
        w->id[right] = -1;
        int after = w->next[left] = w->next[right];
        if (after >= 0) {
            w->prev[after] = left;
            OSV_TRY(heap_push(w, b, left, e));
        }
        if (w->prev[left] >= 0) OSV_TRY(heap_push(w, b, w->prev[left], e));
    }
    for (int i = (int)from; i >= 0; i = w->next[i]) OSV_TRY(osv_ids_push(ids, w->id[i], e));
    return OSV_OK;
}

static int merge(const osv_tok_bpe *b, struct osv_tok_bpe_work *w, size_t from, size_t to, osv_ids *ids,
                 osv_error *e)
{
    if (to - from == 1) return osv_ids_push(ids, w->id[from], e);
    if (to - from <= SCAN) return merge_scanning(b, w->id + from, to - from, ids, e);
    return merge_heap(b, w, from, to, ids, e);
}

/* ---- words that came before */

static seen *slot_of(struct osv_tok_bpe_work *w, uint64_t hash, bool part)
{
    return &w->slots[((hash >> 40) + part) & w->mask];
}

static bool recall(const seen *s, const char *base, size_t start, size_t bytes, bool part)
{
    return s->bytes == (int)bytes && s->part == part && memcmp(base + s->start, base + start, bytes) == 0;
}

static void remember(seen *s, size_t start, size_t bytes, bool part, int from, const osv_ids *ids)
{
    if (ids->count > from) *s = (seen){start, (int)bytes, part, from, ids->count - from};
}

/* The ids may move while they grow: copied one by one by place. */
static int push_again(osv_ids *ids, const seen *s, osv_error *e)
{
    for (int i = 0; i < s->count; i++) OSV_TRY(osv_ids_push(ids, ids->data[s->ids + i], e));
    return OSV_OK;
}

static bool joins(const osv_tok_bpe *b, uint32_t x, uint32_t y)
{
    if (x == NO_TEXT || y == NO_TEXT) return false;
    uint32_t bit = osv_tok_join_bit(x, y);
    return b->joins[bit >> 6] >> (bit & 63) & 1;
}

/* The parts of a piece between which no merge is possible. */
static int encode_parts(const osv_tokenizer *t, struct osv_tok_bpe_work *w, const char *base, size_t start,
                        size_t n, osv_ids *ids, osv_error *e)
{
    size_t from = 0;
    while (from < n) {
        size_t to = from + 1, last;
        while (to < n && joins(&t->bpe, w->c[to - 1], w->c[to])) to++;
        size_t begin = w->start[from];
        if (to - from > 1) osv_tok_char(base + start + w->start[to - 1], &last);
        size_t bytes = to - from > 1 ? w->start[to - 1] + last - begin : KEEP + 1;
        seen *s = NULL;
        if (bytes <= KEEP) {
            s = slot_of(w, osv_tok_hash(base + start + begin, bytes), true);
            if (recall(s, base, start + begin, bytes, true)) {
                OSV_TRY(push_again(ids, s, e));
                from = to;
                continue;
            }
        }
        int before = ids->count;
        OSV_TRY(merge(&t->bpe, w, from, to, ids, e));
        if (s) remember(s, start + begin, bytes, true, before, ids);
        from = to;
    }
    return OSV_OK;
}

int osv_tok_bpe_encode(const osv_tokenizer *t, osv_tok_work *work, osv_tok_span span, osv_ids *ids,
                       osv_error *e)
{
    if (!work->bpe) OSV_TRY(work_new(&work->bpe, work->text.bytes, e));
    struct osv_tok_bpe_work *w = work->bpe;
    const char *base = work->text.data;
    size_t bytes = span.end - span.start, n = 0;
    seen *s = NULL;
    if (bytes <= KEEP || t->bpe.ignore_merges) {
        uint64_t hash = osv_tok_hash(base + span.start, bytes);
        s = slot_of(w, hash, false);
        if (bytes > KEEP)
            s = NULL;
        else if (recall(s, base, span.start, bytes, false))
            return push_again(ids, s, e);
        int whole = -1;
        if (t->bpe.ignore_merges)
            whole = osv_tok_table_find(&t->vocab.model, &t->vocab, base + span.start, bytes, hash);
        if (whole >= 0) {
            OSV_TRY(osv_ids_push(ids, whole, e));
            if (s) remember(s, span.start, bytes, false, ids->count - 1, ids);
            return OSV_OK;
        }
    }
    int before = ids->count;
    OSV_TRY(symbols(t, w, base + span.start, bytes, &n, e));
    if (n > CUT && t->bpe.cuttable)
        OSV_TRY(encode_parts(t, w, base, span.start, n, ids, e));
    else if (n)
        OSV_TRY(merge(&t->bpe, w, 0, n, ids, e));
    if (s) remember(s, span.start, bytes, false, before, ids);
    return OSV_OK;
}
