/* The merges of a vocabulary that lists none: sentencepiece and tiktoken files give every piece a priority
 * instead. Each division of a piece into two pieces is a merge. */
#include <stdlib.h>

#include "loader/tokenizer/parts.h"

/* Looking for the divisions of a piece costs the square of its length; the longest in use have 500 bytes. */
#define PIECE_LIMIT 4096

typedef struct {
    int id[3]; /* left, right, both */
    uint32_t rank;
} division;

typedef struct {
    division *data;
    size_t count, room;
} divisions;

static int find(const osv_tokenizer *t, const char *piece, size_t bytes)
{
    return osv_tok_table_find(&t->vocab.model, &t->vocab, piece, bytes, osv_tok_hash(piece, bytes));
}

/* All ways to divide `id`, the shortest left half first. */
static int divide(const osv_tokenizer *t, int id, uint32_t rank, divisions *d, osv_error *e)
{
    const osv_tok_piece *piece = &t->vocab.pieces[id];
    const char *text = t->vocab.text.data + piece->offset;
    size_t bytes = (size_t)piece->bytes, length;
    char shown[64];
    if (bytes > PIECE_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: piece \"%s\" has %zu bytes, at most %d are read", t->path,
                        osv_tok_show(text, bytes, shown), bytes, PIECE_LIMIT);
    osv_tok_char(text, &length);
    for (size_t at = length; at < bytes; at += length) {
        osv_tok_char(text + at, &length);
        int left = find(t, text, at), right = left < 0 ? -1 : find(t, text + at, bytes - at);
        if (right < 0) continue;
        void *data = d->data;
        OSV_TRY(osv_tok_grow(&data, sizeof *d->data, d->count, 1, &d->room, e));
        d->data = data;
        d->data[d->count++] = (division){{left, right, id}, rank};
    }
    return OSV_OK;
}

/* By the id of the left half: the divisions of one piece are few, and each has another left half. */
static void sort_by_left(division *d, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && d[k].id[0] < d[k - 1].id[0]; k--) {
            division swap = d[k];
            d[k] = d[k - 1];
            d[k - 1] = swap;
        }
}

int osv_tok_merges_make(osv_tokenizer *t, const osv_tok_place *place, size_t count, osv_tok_ties ties,
                        osv_error *e)
{
    divisions d = {0};
    int status = OSV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        size_t before = d.count;
        status = divide(t, place[i].id, place[i].rank, &d, e);
        if (!status && d.count > before && ties == OSV_TOK_TIES_LOW_LEFT)
            sort_by_left(d.data + before, d.count - before);
    }
    if (!status) status = osv_tok_bpe_begin(t, d.count, e);
    for (size_t i = 0; i < d.count && !status; i++)
        osv_tok_bpe_put(t, d.data[i].id, ties == OSV_TOK_TIES_EQUAL ? d.data[i].rank : (uint32_t)i);
    free(d.data);
    return status;
}
