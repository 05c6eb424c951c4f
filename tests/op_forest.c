#include "tests/op_forest.h"

#include <stdlib.h>

enum { UNUSED_SLOTS = 3 };

/* Where a segment lies. */
typedef struct {
    int pos, slot;      /* of its first token */
    int row, rows, end; /* its query rows, and the end of those of its subtree */
} place;

typedef struct {
    op_forest *f;
    place *place;
    int *pos;
    osv_query_tile *query_tile;
    osv_kv_range *kv_range;
    osv_kv_tile *kv_tile;
} maker;

static bool asks(const op_forest *f, op_queries queries, int segment, int token, int live)
{
    bool last = token == f->segment[segment].count - 1;
    bool leaf = segment + 1 == f->segments || f->segment[segment + 1].parent != segment;
    switch (queries) {
    case OP_ALL: return true;
    case OP_SOME: return last || (unsigned)live * 2654435761u >> 30 == 0;
    case OP_LEAVES: return last && leaf;
    }
    return false;
}

static void place_segments(maker *m, op_queries queries)
{
    op_forest *f = m->f;
    int frozen = 0, live = 0, rows = 0;
    for (int i = 0; i < f->segments; i++) {
        const op_segment *s = &f->segment[i];
        place *p = &m->place[i];
        p->pos = s->parent < 0 ? 0 : m->place[s->parent].pos + f->segment[s->parent].count;
        p->row = rows;
        if (s->frozen) {
            p->slot = frozen;
            frozen += s->count;
        } else {
            p->slot = f->frozen + UNUSED_SLOTS + live;
            for (int t = 0; t < s->count; t++, live++)
                if (asks(f, queries, i, t, live)) {
                    m->pos[rows] = p->pos + t;
                    f->row_token[rows++] = live;
                }
        }
        p->rows = rows - p->row;
    }
    for (int i = 0; i < f->segments; i++) {
        int j = i + 1;
        while (j < f->segments && f->segment[j].parent >= i) j++;
        m->place[i].end = j < f->segments ? m->place[j].row : rows;
    }
    f->work.rows = rows;
    f->work.live_slot = f->frozen + UNUSED_SLOTS;
    f->slots = f->work.live_slot + live;
}

static int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* The ranges of ancestors and self, root first. With trim only the keys at positions from .. to. */
static void add_ranges(maker *m, int segment, bool trim, int from, int to)
{
    op_forest *f = m->f;
    if (f->segment[segment].parent >= 0) add_ranges(m, f->segment[segment].parent, trim, from, to);
    const place *p = &m->place[segment];
    int count = f->segment[segment].count, skip = 0;
    if (trim) {
        skip = clamp(from - p->pos, 0, count);
        count = clamp(to + 1 - p->pos, skip, count) - skip;
    }
    if (count == 0) return;
    m->kv_range[f->work.kv_ranges++] = (osv_kv_range){p->slot + skip, count, p->pos + skip};
}

static void add_tiles(maker *m, int segment, int size, bool trim, int window)
{
    osv_worklist *w = &m->f->work;
    const place *p = &m->place[segment];
    for (int row = p->row; row < p->row + p->rows; row += size) {
        int count = clamp(size, 0, p->row + p->rows - row);
        int first = w->kv_ranges, keys = 0;
        add_ranges(m, segment, trim, window > 0 ? m->pos[row] - window + 1 : 0, m->pos[row + count - 1]);
        for (int i = first; i < w->kv_ranges; i++) keys += m->kv_range[i].count;
        if (keys > w->max_keys) w->max_keys = keys;
        m->query_tile[w->query_tiles++] = (osv_query_tile){row, count, first, w->kv_ranges - first};
    }
    int tokens = m->f->segment[segment].count;
    for (int t = 0; t < tokens; t += size)
        m->kv_tile[w->kv_tiles++] = (osv_kv_tile){.slot = p->slot + t,
                                                  .count = clamp(size, 0, tokens - t),
                                                  .pos = p->pos + t,
                                                  .row = p->row,
                                                  .rows = p->end - p->row};
}

int op_forest_make(op_forest *f, const op_forest_shape *shape, int window, osv_error *e)
{
    *f = (op_forest){0};
    while (f->segments < OP_MAX_SEGMENTS && shape->segment[f->segments].count > 0) {
        const op_segment *s = &shape->segment[f->segments++];
        if (s->frozen)
            f->frozen += s->count;
        else
            f->live += s->count;
    }
    size_t live = (size_t)f->live, segments = (size_t)f->segments;
    maker m = {.f = f};
    f->segment = calloc(segments, sizeof *f->segment);
    m.place = calloc(segments, sizeof *m.place);
    f->row_token = calloc(live, sizeof *f->row_token);
    f->work.pos = m.pos = calloc(live, sizeof *m.pos);
    f->work.query_tile = m.query_tile = calloc(live, sizeof *m.query_tile);
    f->work.kv_tile = m.kv_tile = calloc(live, sizeof *m.kv_tile);
    f->work.kv_range = m.kv_range = calloc(live * segments, sizeof *m.kv_range);
    if (!f->segment || !m.place || !f->row_token || !m.pos || !m.query_tile || !m.kv_tile || !m.kv_range) {
        free(m.place);
        op_forest_free(f);
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for a test's work list");
    }
    for (int i = 0; i < f->segments; i++) f->segment[i] = shape->segment[i];
    place_segments(&m, shape->queries);
    for (int i = 0; i < f->segments; i++)
        if (!f->segment[i].frozen)
            add_tiles(&m, i, shape->tile ? shape->tile : OSV_TILE, shape->trim, window);
    free(m.place);
    return OSV_OK;
}

void op_forest_free(op_forest *f)
{
    free(f->segment);
    free(f->row_token);
    free((void *)f->work.pos);
    free((void *)f->work.query_tile);
    free((void *)f->work.kv_range);
    free((void *)f->work.kv_tile);
    *f = (op_forest){0};
}
