#include "engine/worklist.h"

#include <stdlib.h>

/* Arrays that grow while the list is made. */
typedef struct {
    osv_worklist w;
    int *pos;
    osv_query_tile *query_tile;
    osv_kv_range *kv_range;
    osv_kv_tile *kv_tile;
    int query_room, range_room, kv_room;
    osv_error *error;
} builder;

static int reserve(builder *b, void **array, int *room, int count, size_t size)
{
    if (count < *room) return OSV_OK;
    int more = *room ? 2 * *room : 64;
    void *p = realloc(*array, (size_t)more * size);
    if (!p) return OSV_FAIL(b->error, OSV_DEVICE, "out of memory for attention's work list");
    *array = p;
    *room = more;
    return OSV_OK;
}

static int add_range(builder *b, osv_kv_range range)
{
    OSV_TRY(reserve(b, (void **)&b->kv_range, &b->range_room, b->w.kv_ranges, sizeof *b->kv_range));
    b->kv_range[b->w.kv_ranges++] = range;
    return OSV_OK;
}

/* The keys from the root to `up` (a row of p, or -2 - r: row r of base; -1: none), as few ranges as their
 * slots allow. */
static int add_path(builder *b, const osv_pass *p, int slot0, const osv_pass *base, int up)
{
    int first = b->w.kv_ranges;
    while (up != -1) {
        const osv_pass *of = up >= 0 ? p : base;
        int r = up >= 0 ? up : -2 - up;
        int slot = up >= 0 ? slot0 + r : r;
        osv_kv_range *last = b->w.kv_ranges > first ? &b->kv_range[b->w.kv_ranges - 1] : NULL;
        if (last && last->slot == slot + 1) {
            last->slot--;
            last->pos--;
            last->count++;
        } else {
            OSV_TRY(add_range(b, (osv_kv_range){.slot = slot, .count = 1, .pos = of->pos[r]}));
        }
        int parent = of->parent[r];
        up = parent == -1 ? -1 : up >= 0 ? parent : -2 - parent; /* a base row's parent is a base row */
    }
    for (int i = first, j = b->w.kv_ranges - 1; i < j; i++, j--) {
        osv_kv_range swap = b->kv_range[i];
        b->kv_range[i] = b->kv_range[j];
        b->kv_range[j] = swap;
    }
    return OSV_OK;
}

/* One segment, rows a .. b - 1, of which the queries q0 .. q1 - 1 ask. */
static int add_segment(builder *b, const osv_pass *p, int slot0, const osv_pass *base, int row, int rows,
                       int q0, int q1)
{
    if (q1 > q0) {
        int first = b->w.kv_ranges;
        OSV_TRY(add_path(b, p, slot0, base, p->parent[row]));
        osv_kv_range *last = b->w.kv_ranges > first ? &b->kv_range[b->w.kv_ranges - 1] : NULL;
        if (last && last->slot + last->count == slot0 + row)
            last->count += rows; /* the segment follows its parent */
        else
            OSV_TRY(add_range(b, (osv_kv_range){.slot = slot0 + row, .count = rows, .pos = p->pos[row]}));
        int ranges = b->w.kv_ranges - first, keys = 0;
        for (int i = first; i < b->w.kv_ranges; i++) keys += b->kv_range[i].count;
        if (keys > b->w.max_keys) b->w.max_keys = keys;
        for (int q = q0; q < q1; q += OSV_TILE) {
            OSV_TRY(
                reserve(b, (void **)&b->query_tile, &b->query_room, b->w.query_tiles, sizeof *b->query_tile));
            b->query_tile[b->w.query_tiles++] = (osv_query_tile){
                .row = q, .count = q1 - q < OSV_TILE ? q1 - q : OSV_TILE, .first = first, .ranges = ranges};
        }
    }
    return OSV_OK;
}

/* The first query whose row is at least `row`. */
static int query_from(const int *query, int queries, int row)
{
    if (!query) return row < queries ? row : queries;
    int low = 0, high = queries;
    while (low < high) {
        int middle = (low + high) / 2;
        if (query[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int osv_worklist_build(osv_worklist *w, const osv_pass *p, int slot0, const osv_pass *base, const int *query,
                       int queries, osv_error *e)
{
    builder b = {.error = e};
    int status = OSV_OK;
    if (!query) queries = p->T;
    b.w.rows = queries;
    b.w.live_slot = slot0;
    b.pos = malloc((size_t)(queries ? queries : 1) * sizeof *b.pos);
    if (!b.pos) {
        status = OSV_FAIL(e, OSV_DEVICE, "out of memory for attention's work list");
        goto done;
    }
    for (int i = 0; i < queries; i++) b.pos[i] = p->pos[query ? query[i] : i];

    for (int row = 0, rows; row < p->T; row += rows) {
        for (rows = 1; row + rows < p->T && !p->segment[row + rows];) rows++;
        int q0 = query_from(query, queries, row), q1 = query_from(query, queries, row + rows);
        if ((status = add_segment(&b, p, slot0, base, row, rows, q0, q1))) goto done;
        for (int r = row; r < row + rows; r += OSV_TILE) {
            if ((status = reserve(&b, (void **)&b.kv_tile, &b.kv_room, b.w.kv_tiles, sizeof *b.kv_tile)))
                goto done;
            int from = query_from(query, queries, r), to = query_from(query, queries, p->end[row]);
            b.kv_tile[b.w.kv_tiles++] =
                (osv_kv_tile){.slot = slot0 + r,
                              .count = row + rows - r < OSV_TILE ? row + rows - r : OSV_TILE,
                              .pos = p->pos[r],
                              .row = from,
                              .rows = to - from};
        }
    }
done:
    b.w.pos = b.pos;
    b.w.query_tile = b.query_tile;
    b.w.kv_range = b.kv_range;
    b.w.kv_tile = b.kv_tile;
    *w = b.w;
    if (status) osv_worklist_free(w);
    return status;
}

void osv_worklist_free(osv_worklist *w)
{
    free((void *)w->pos);
    free((void *)w->query_tile);
    free((void *)w->kv_range);
    free((void *)w->kv_tile);
    *w = (osv_worklist){0};
}

int osv_path_ranges(osv_kv_range **range, int *ranges, const osv_pass *p, int row, osv_error *e)
{
    builder b = {.error = e};
    int status = add_path(&b, p, 0, NULL, row);
    if (status) free(b.kv_range);
    *range = status ? NULL : b.kv_range;
    *ranges = b.w.kv_ranges;
    return status;
}
