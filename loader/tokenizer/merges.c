/* The merges of a BPE model: file -> tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/tokenizer/parts.h"

static int find(const osv_tokenizer *t, const char *piece, size_t bytes)
{
    return osv_tok_table_find(&t->vocab.model, &t->vocab, piece, bytes, osv_tok_hash(piece, bytes));
}

static bool is(const osv_tokenizer *t, int id, const osv_tok_text *text)
{
    if ((size_t)id >= t->vocab.size) return false;
    const osv_tok_piece *piece = &t->vocab.pieces[id];
    return piece->bytes == (int)text->bytes &&
           memcmp(t->vocab.text.data + piece->offset, text->data, text->bytes) == 0;
}

/* id[2] comes in as the merge before left it: mostly this one makes the same piece, or the next. */
static int find_both(const osv_tokenizer *t, const char *const half[2], const size_t bytes[2],
                     osv_tok_text *joined, int id[3], const char *where, size_t index, osv_error *e)
{
    char shown[64];
    joined->bytes = 0;
    for (int k = 0; k < 2; k++) {
        id[k] = find(t, half[k], bytes[k]);
        if (id[k] < 0 || bytes[k] == 0)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s.merges[%zu]: \"%s\" is not in the vocabulary", where, index,
                            osv_tok_show(half[k], bytes[k], shown));
        OSV_TRY(osv_tok_text_add(joined, half[k], bytes[k], e));
    }
    if (id[2] < 0 || !is(t, id[2], joined)) id[2] = is(t, id[2] + 1, joined) ? id[2] + 1 : -1;
    if (id[2] < 0) id[2] = find(t, joined->data, joined->bytes);
    if (id[2] < 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s.merges[%zu]: the merged piece \"%s\" is not in the vocabulary",
                        where, index, osv_tok_show(joined->data, joined->bytes, shown));
    return OSV_OK;
}

/* "left right" or ["left", "right"]; *skip for the version line that merges.txt begins with. */
static int halves(const json_t *merge, const char *half[2], size_t bytes[2], bool *skip, const char *where,
                  size_t index, osv_error *e)
{
    *skip = false;
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t k = 0; k < 2; k++) {
            half[k] = json_string_value(json_array_get(merge, k));
            bytes[k] = half[k] ? json_string_length(json_array_get(merge, k)) : 0;
        }
        if (half[0] && half[1]) return OSV_OK;
    }
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (text && strncmp(text, "#version", 8) == 0) {
        *skip = true;
        return OSV_OK;
    }
    if (space && !strchr(space + 1, ' ')) {
        half[0] = text;
        bytes[0] = (size_t)(space - text);
        half[1] = space + 1;
        bytes[1] = strlen(half[1]);
        return OSV_OK;
    }
    char shown[64];
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s.merges[%zu]: must be \"left right\" or [\"left\", \"right\"], not %s", where, index,
                    osv_json_show(merge, shown, sizeof shown));
}

int osv_tok_bpe_begin(osv_tokenizer *t, size_t count, osv_error *e)
{
    osv_tok_bpe *b = &t->bpe;
    size_t slots = 16;
    if (count >= (size_t)1 << 30) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %zu merges", t->path, count);
    while (slots < count + count / 3 + 1) slots *= 2; /* at most three quarters full */
    b->merges = malloc(slots * sizeof *b->merges);
    b->joins = calloc((size_t)1 << (OSV_TOK_JOIN_BITS - 6), sizeof *b->joins);
    if (!b->merges || !b->joins)
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for %zu merges", t->path, count);
    for (size_t i = 0; i < slots; i++) b->merges[i].pair = UINT64_MAX;
    b->merge_mask = slots - 1;
    return OSV_OK;
}

void osv_tok_bpe_put(osv_tokenizer *t, const int id[3], uint32_t rank)
{
    osv_tok_bpe *b = &t->bpe;
    uint64_t pair = (uint64_t)id[0] << 32 | (uint32_t)id[1], i = osv_tok_merge_slot(b, pair);
    while (b->merges[i].pair != pair && b->merges[i].pair != UINT64_MAX) i = (i + 1) & b->merge_mask;
    osv_tok_merge *merge = &b->merges[i];
    *merge = (osv_tok_merge){pair, rank, id[2]}; /* of a merge that is listed twice the later place counts */
    const osv_tok_piece *left = &t->vocab.pieces[id[0]], *right = &t->vocab.pieces[id[1]];
    const char *text = t->vocab.text.data + left->offset;
    size_t length;
    uint32_t last = osv_tok_char(text + osv_tok_before(text, (size_t)left->bytes), &length);
    uint32_t bit = osv_tok_join_bit(last, osv_tok_char(t->vocab.text.data + right->offset, &length));
    b->joins[bit >> 6] |= (uint64_t)1 << (bit & 63);
}

static int read_merges(osv_tokenizer *t, const json_t *merges, osv_tok_text *joined, const char *where,
                       osv_error *e)
{
    size_t count = json_array_size(merges);
    OSV_TRY(osv_tok_bpe_begin(t, count, e));
    uint32_t rank = 0;
    int id[3] = {-1, -1, -1};
    for (size_t i = 0; i < count; i++) {
        const char *half[2];
        size_t bytes[2];
        bool skip;
        OSV_TRY(halves(json_array_get(merges, i), half, bytes, &skip, where, i, e));
        if (skip) continue;
        OSV_TRY(find_both(t, half, bytes, joined, id, where, i, e));
        osv_tok_bpe_put(t, id, rank++);
    }
    return OSV_OK;
}

/* Whether texts may be cut where no merge joins: not where a merge names a byte or the unknown token. */
static bool cuttable(const osv_tokenizer *t)
{
    const osv_tok_bpe *b = &t->bpe;
    for (uint64_t i = 0; i <= b->merge_mask; i++) {
        if (b->merges[i].pair == UINT64_MAX) continue;
        for (int k = 0; k < 2; k++) {
            int id = (int)(uint32_t)(b->merges[i].pair >> (k ? 0 : 32));
            const osv_tok_piece *piece = &t->vocab.pieces[id];
            if ((b->byte_fallback &&
                 osv_tok_byte_piece(t->vocab.text.data + piece->offset, (size_t)piece->bytes)) ||
                (b->has_unk && id == b->unk_id))
                return false;
        }
    }
    return true;
}

static int read_characters(osv_tokenizer *t, osv_error *e)
{
    osv_tok_bpe *b = &t->bpe;
    b->char_id = malloc(0x10000 * sizeof *b->char_id);
    if (!b->char_id) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for a table of characters", t->path);
    for (int c = 0; c < 0x10000; c++) b->char_id[c] = -1;
    for (uint32_t i = 0; i <= t->vocab.model.mask; i++) {
        int id = t->vocab.model.slots[i].id;
        if (id < 0) continue;
        const osv_tok_piece *piece = &t->vocab.pieces[id];
        size_t length = 0;
        uint32_t c = piece->bytes ? osv_tok_char(t->vocab.text.data + piece->offset, &length) : 0;
        if (length == (size_t)piece->bytes && length && c < 0x10000) b->char_id[c] = id;
    }
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        b->byte_id[byte] = find(t, name, 6);
    }
    return OSV_OK;
}

/* Options that would change the ids in ways this reader does not know. */
static int refuse_unknown(const json_t *model, const char *where, osv_error *e)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const char *affix = "";
        OSV_TRY(osv_json_string(model, affixes[i], false, &affix, where, e));
        if (*affix) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is not supported", where, affixes[i]);
    }
    double dropout = 0;
    OSV_TRY(osv_json_number(model, "dropout", false, &dropout, where, e));
    if (dropout != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"dropout\" %g would make the ids random; expected null",
                        where, dropout);
    return OSV_OK;
}

int osv_tok_bpe_read(osv_tokenizer *t, const json_t *model, const char *where, osv_error *e)
{
    osv_tok_bpe *b = &t->bpe;
    OSV_TRY(refuse_unknown(model, where, e));
    OSV_TRY(osv_json_bool(model, "fuse_unk", false, &b->fuse_unk, where, e));
    OSV_TRY(osv_json_bool(model, "byte_fallback", false, &b->byte_fallback, where, e));
    OSV_TRY(osv_json_bool(model, "ignore_merges", false, &b->ignore_merges, where, e));
    const char *unk = NULL;
    OSV_TRY(osv_json_string(model, "unk_token", false, &unk, where, e));
    b->unk_id = -1;
    if (unk) {
        b->has_unk = true;
        b->unk_id = find(t, unk, strlen(unk));
        if (b->unk_id < 0 && !(b->unk_missing = strdup(unk)))
            return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
    }
    if (!b->merges) { /* none made from the priorities of the pieces */
        const json_t *merges = json_object_get(model, "merges");
        if (!json_is_array(merges))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"merges\" must be an array", where);
        osv_tok_text joined = {0};
        int status = read_merges(t, merges, &joined, where, e);
        free(joined.data);
        if (status) return status;
    }
    b->cuttable = cuttable(t);
    return read_characters(t, e);
}

void osv_tok_bpe_free(osv_tok_bpe *b)
{
    free(b->merges);
    free(b->joins);
    free(b->char_id);
    free(b->unk_missing);
}
