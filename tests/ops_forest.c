/* Attention over a forest is attention over each path from a root, for the tests' own work lists: checked
 * against a softmax written out here, path by path, with the plainest reading of GQA, window and cap. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "tests/op_cases.h"
#include "tests/op_fillings.h"

/* The tokens of a path as slots of the arena: the ancestors of a segment and itself. */
typedef struct {
    int slot[512];
    int count;
} path;

static int first_slot(const op_forest *f, int segment)
{
    int frozen = 0, live = f->work.live_slot;
    for (int i = 0; i < segment; i++) {
        if (f->segment[i].frozen)
            frozen += f->segment[i].count;
        else
            live += f->segment[i].count;
    }
    return f->segment[segment].frozen ? frozen : live;
}

static void add_segment(path *p, const op_forest *f, int segment)
{
    if (f->segment[segment].parent >= 0) add_segment(p, f, f->segment[segment].parent);
    for (int t = 0; t < f->segment[segment].count; t++) p->slot[p->count++] = first_slot(f, segment) + t;
}

/* The segment of a live token, and which of its tokens it is. */
static int segment_of(const op_forest *f, int token, int *within)
{
    int i = 0;
    for (;; i++) {
        if (f->segment[i].frozen) continue;
        if (token < f->segment[i].count) break;
        token -= f->segment[i].count;
    }
    *within = token;
    return i;
}

/* out [E] and lse of one query row and head: keys 0 .. last of the path, by hand. */
static double attend(const op_call *c, const path *p, int last, int row, int h, double *out)
{
    const attention_shape *s = c->shape;
    int E = s->heads.E, K = s->heads.K;
    int kv = (s->heads.first + h) / s->heads.group - s->heads.first / s->heads.group;
    const osv_real *q = (const osv_real *)c->buffer[0].initial + ((size_t)row * s->heads.H + h) * E;
    const osv_real *k = c->buffer[1].initial, *v = c->buffer[2].initial;
    int from = s->window && last - s->window + 1 > 0 ? last - s->window + 1 : 0;
    double total = 0;
    for (int e = 0; e < E; e++) out[e] = 0;
    for (int i = from; i <= last; i++) {
        size_t at = ((size_t)p->slot[i] * K + kv) * E;
        double score = 0;
        for (int e = 0; e < E; e++) score += (double)q[e] * k[at + e];
        score /= sqrt(E);
        if (s->softcap > 0) score = s->softcap * tanh(score / s->softcap);
        total += exp(score); /* logits here are far from the end of double */
        for (int e = 0; e < E; e++) out[e] += exp(score) * v[at + e];
    }
    for (int e = 0; e < E; e++) out[e] /= total;
    return log(total);
}

static void compare_by_path(osv_ops *o, const op_case *at)
{
    const attention_shape *s = at->shape;
    int H = s->heads.H, E = s->heads.E;
    op_call c;
    op_call_make(&c, at->kind, s, o);
    op_call_run(&c);
    cr_assert_eq(osv_ops_status(o), OSV_OK);
    osv_real *out = op_read(&c, 3), *lse = op_read(&c, 4);
    double expected[512], difference = 0, norm = 0;
    for (int r = 0; r < c.forest.work.rows; r++) {
        path p = {.count = 0};
        int within, segment = segment_of(&c.forest, c.forest.row_token[r], &within);
        add_segment(&p, &c.forest, segment);
        int last = p.count - c.forest.segment[segment].count + within;
        cr_assert_eq(c.forest.work.pos[r], last);
        for (int h = 0; h < H; h++) {
            double total = attend(&c, &p, last, r, h, expected), off = lse[r * H + h] - total;
            difference += off * off;
            norm += total * total;
            for (int e = 0; e < E; e++) {
                off = out[((size_t)r * H + h) * E + e] - expected[e];
                difference += off * off;
                norm += expected[e] * expected[e];
            }
        }
    }
    cr_expect(sqrt(difference / norm) <= 1e-5, "%s, %s, %s: %.3g", o->name, s->forest->name, at->text,
              sqrt(difference / norm));
    free(out);
    free(lse);
    op_call_free(&c);
}

TEST_GPU(ops_forest)

ParameterizedTestParameters(ops_forest, attention_by_path)
{
    return op_filling_numbers();
}

ParameterizedTest(const int *number, ops_forest, attention_by_path, .timeout = 600)
{
    const op_filling *f = &op_fillings[*number];
    if (f->dtype != OSV_DTYPE_F32) return;
    osv_error error = {0};
    osv_ops *o;
    cr_assert_eq(f->open(&o, f->dtype, &error), OSV_OK, "%s", error.text);
    for (const op_case *at = op_attention_cases; at->kind; at++)
        if (at->kind == &op_attention) compare_by_path(o, at);
    o->close(o);
}

/* Query tiles partition the rows and kv tiles the live slots; no tile is larger than allowed. */
Test(ops_forest, lists_are_whole)
{
    for (const op_case *at = op_attention_cases; at->kind; at++) {
        const attention_shape *s = at->shape;
        osv_error error = {0};
        op_forest f;
        cr_assert_eq(op_forest_make(&f, s->forest, s->window, &error), OSV_OK);
        int row = 0, slot = f.work.live_slot;
        for (int i = 0; i < f.work.query_tiles; i++) {
            const osv_query_tile *tile = &f.work.query_tile[i];
            int keys = 0;
            cr_expect_eq(tile->row, row);
            cr_expect(tile->count >= 1 && tile->count <= OSV_TILE);
            cr_expect(tile->first >= 0 && tile->first + tile->ranges <= f.work.kv_ranges);
            for (int k = tile->first; k < tile->first + tile->ranges; k++) keys += f.work.kv_range[k].count;
            cr_expect(keys >= 1 && keys <= f.work.max_keys);
            row += tile->count;
        }
        cr_expect_eq(row, f.work.rows);
        for (int i = 0; i < f.work.kv_tiles; i++) {
            const osv_kv_tile *tile = &f.work.kv_tile[i];
            cr_expect_eq(tile->slot, slot);
            cr_expect(tile->count >= 1 && tile->count <= OSV_TILE);
            cr_expect(tile->rows >= 0 && tile->row + tile->rows <= f.work.rows);
            slot += tile->count;
        }
        cr_expect_eq(slot, f.slots);
        op_forest_free(&f);
    }
}
