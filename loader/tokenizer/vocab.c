#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/tokenizer/parts.h"

/* Multiplies eight bytes at a time into 64 bits. Keys are short (5 bytes on average), so setting up costs
 * more than mixing. */
uint64_t osv_tok_hash(const char *bytes, size_t count)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t h = count * odd, word;
    for (; count >= 8; bytes += 8, count -= 8) {
        memcpy(&word, bytes, 8);
        h = (h ^ word) * odd;
        h ^= h >> 29;
    }
    word = 0;
    if (count) memcpy(&word, bytes, count);
    h = (h ^ word) * odd;
    h ^= h >> 32;
    return h * odd;
}

int osv_tok_table_find(const osv_tok_table *table, const osv_tok_vocab *v, const char *bytes, size_t count,
                       uint64_t hash)
{
    if (!table->slots) return -1;
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint32_t i = tag & table->mask;; i = (i + 1) & table->mask) {
        const osv_tok_slot *slot = &table->slots[i];
        if (slot->id < 0) return -1;
        const osv_tok_piece *piece = &v->pieces[slot->id];
        if (slot->hash == tag && (size_t)piece->bytes == count &&
            memcmp(v->text.data + piece->offset, bytes, count) == 0)
            return slot->id;
    }
}

static void place(osv_tok_table *table, uint32_t hash, int id)
{
    uint32_t i = hash & table->mask;
    while (table->slots[i].id >= 0) i = (i + 1) & table->mask;
    table->slots[i] = (osv_tok_slot){hash, id};
}

/* Makes the table for `count` entries. */
static int resize(osv_tok_table *table, size_t count, osv_error *e)
{
    uint32_t slots = 16;
    while (slots < 2 * count) slots *= 2; /* count is far below 2^30 */
    osv_tok_slot *wider = malloc(slots * sizeof *wider);
    if (!wider) return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for a table of %u slots", slots);
    for (uint32_t i = 0; i < slots; i++) wider[i].id = -1;
    osv_tok_table old = *table;
    table->slots = wider;
    table->mask = slots - 1;
    for (uint32_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].id >= 0) place(table, old.slots[i].hash, old.slots[i].id);
    free(old.slots);
    return OSV_OK;
}

int osv_tok_table_put(osv_tok_table *table, const osv_tok_vocab *v, int id, osv_error *e)
{
    if (!table->slots || 2 * (table->count + 1) > (size_t)table->mask + 1)
        OSV_TRY(resize(table, 2 * (table->count + 1), e));
    const osv_tok_piece *piece = &v->pieces[id];
    uint64_t hash = osv_tok_hash(v->text.data + piece->offset, (size_t)piece->bytes);
    place(table, (uint32_t)(hash >> 32), id);
    table->count++;
    return OSV_OK;
}

int osv_tok_vocab_set(osv_tok_vocab *v, int id, const char *bytes, size_t count, const char *where,
                      osv_error *e)
{
    char shown[64], other[64];
    if (id < 0 || id >= OSV_TOK_ID_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\": id %d, expected 0 to %d", where,
                        osv_tok_show(bytes, count, shown), id, OSV_TOK_ID_LIMIT - 1);
    if (count >= OSV_TOK_ID_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" has %zu bytes", where,
                        osv_tok_show(bytes, count, shown), count);
    if ((size_t)id >= v->size) {
        void *pieces = v->pieces;
        OSV_TRY(osv_tok_grow(&pieces, sizeof *v->pieces, v->size, (size_t)id + 1 - v->size, &v->room, e));
        v->pieces = pieces;
        for (; v->size <= (size_t)id; v->size++) v->pieces[v->size] = (osv_tok_piece){0, -1, -1};
    }
    osv_tok_piece *piece = &v->pieces[id];
    if (piece->bytes >= 0) {
        const char *old = v->text.data + piece->offset;
        if ((size_t)piece->bytes == count && memcmp(old, bytes, count) == 0) return OSV_OK;
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: id %d belongs to \"%s\" and to \"%s\"", where, id,
                        osv_tok_show(old, (size_t)piece->bytes, other), osv_tok_show(bytes, count, shown));
    }
    piece->offset = v->text.bytes;
    OSV_TRY(osv_tok_text_add(&v->text, bytes, count, e));
    OSV_TRY(osv_tok_text_add(&v->text, "", 1, e));
    piece->bytes = (int)count;
    return OSV_OK;
}

int osv_tok_vocab_read(osv_tok_vocab *v, const json_t *vocab, const char *where, osv_error *e)
{
    char shown[64], value_shown[64];
    if (!json_is_object(vocab))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an object of pieces and their ids", where);
    size_t count = json_object_size(vocab);
    if (count >= OSV_TOK_ID_LIMIT) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %zu pieces", where, count);
    OSV_TRY(resize(&v->model, count, e));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab, key, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= OSV_TOK_ID_LIMIT)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be an id from 0 to %d, not %s", where,
                            osv_tok_show(key, strlen(key), shown), OSV_TOK_ID_LIMIT - 1,
                            osv_json_show(value, value_shown, sizeof value_shown));
        OSV_TRY(osv_tok_vocab_set(v, (int)id, key, strlen(key), where, e));
        OSV_TRY(osv_tok_table_put(&v->model, v, (int)id, e));
    }
    return OSV_OK;
}

void osv_tok_vocab_free(osv_tok_vocab *v)
{
    free(v->text.data);
    free(v->pieces);
    free(v->model.slots);
    free(v->added.slots);
}
