#include <math.h>
#include <stdlib.h>

#include "tests/op_cases.h"

/* ---- forests ---- */

static const op_forest_shape one = {.name = "one token", .segment = {{-1, 1, false}}};
static const op_forest_shape two = {.name = "two tokens", .segment = {{-1, 2, false}}};
static const op_forest_shape seven = {.name = "root of 7", .segment = {{-1, 7, false}}};
static const op_forest_shape root = {.name = "root of 65", .segment = {{-1, 65, false}}};
static const op_forest_shape long_root = {.name = "root of 130", .segment = {{-1, 130, false}}, .trim = true};
static const op_forest_shape small_tiles = {
    .name = "root of 65, tiles of 7", .segment = {{-1, 65, false}}, .tile = 7};
static const op_forest_shape chain = {
    .name = "chain of six one-token segments",
    .segment = {{-1, 1, false}, {0, 1, false}, {1, 1, false}, {2, 1, false}, {3, 1, false}, {4, 1, false}},
};
static const op_forest_shape deep = {
    .name = "chain of twelve segments, the first two frozen",
    .segment = {{-1, 35, true},
                {0, 2, true},
                {1, 3, false},
                {2, 1, false},
                {3, 9, false},
                {4, 1, false},
                {5, 1, false},
                {6, 17, false},
                {7, 33, false},
                {8, 5, false},
                {9, 1, false},
                {10, 40, false}},
};
static const op_forest_shape wide = {
    .name = "nine roots",
    .segment = {{-1, 1, false},
                {-1, 3, false},
                {-1, 2, false},
                {-1, 7, false},
                {-1, 70, false},
                {-1, 1, false},
                {-1, 12, false},
                {-1, 5, false},
                {-1, 64, false}},
    .trim = true,
};
static const op_forest_shape shared = {
    .name = "prompt of 40 with five children",
    .segment = {{-1, 40, false}, {0, 1, false}, {0, 5, false}, {0, 66, false}, {0, 3, false}, {0, 2, false}},
};
static const op_forest_shape shared_some = {
    .name = "prompt of 40 with five children, some rows ask",
    .segment = {{-1, 40, false}, {0, 1, false}, {0, 5, false}, {0, 66, false}, {0, 3, false}, {0, 2, false}},
    .queries = OP_SOME,
};
static const op_forest_shape tree = {
    .name = "two trees, last rows ask",
    .segment = {{-1, 9, false},
                {0, 4, false},
                {1, 2, false},
                {1, 1, false},
                {0, 7, false},
                {-1, 3, false},
                {5, 2, false}},
    .queries = OP_LEAVES,
    .trim = true,
};
static const op_forest_shape frozen = {
    .name = "frozen prompt of 70 and 3",
    .segment = {{-1, 70, true}, {0, 3, true}, {1, 4, false}, {1, 1, false}, {0, 9, false}, {-1, 5, false}},
};
static const op_forest_shape frozen_some = {
    .name = "two frozen prompts, deep, some rows ask",
    .segment = {{-1, 7, true},
                {0, 20, false},
                {1, 2, false},
                {1, 30, false},
                {-1, 66, true},
                {4, 1, false},
                {5, 8, false}},
    .queries = OP_SOME,
    .trim = true,
};

/* ---- calls ---- */

static size_t query_length(const op_call *c)
{
    const attention_shape *s = c->shape;
    return (size_t)c->forest.work.rows * (size_t)s->heads.H * (size_t)s->heads.E;
}

static size_t live_length(const op_call *c)
{
    const attention_shape *s = c->shape;
    return (size_t)c->forest.live * (size_t)s->heads.K * (size_t)s->heads.E;
}

osv_attention op_attention_arguments(const attention_shape *s)
{
    return (osv_attention){
        .heads = s->heads, .scale = 1 / sqrt(s->heads.E), .softcap = s->softcap, .window = s->window};
}

/* Keys or values of the whole arena. Slots between frozen and live ones are NaN: nobody may read them. */
static void arena(op_call *c, const char *name, double scale)
{
    const attention_shape *s = c->shape;
    size_t row = (size_t)s->heads.K * (size_t)s->heads.E, n = (size_t)c->forest.slots * row;
    osv_real *x = malloc(n * sizeof *x);
    if (!x) {
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t slot = i / row;
        bool used = slot < (size_t)c->forest.frozen || slot >= (size_t)c->forest.work.live_slot;
        x[i] = (osv_real)(scale * op_uniform(&c->random));
        if (!used) x[i] = NAN;
    }
    op_given(c, name, OP_INPUT, x, n);
    free(x);
}

static void make_inputs(op_call *c)
{
    const attention_shape *s = c->shape;
    if (op_forest_make(&c->forest, s->forest, s->window, c->o->error)) return;
    op_random(c, "q", OP_INPUT, query_length(c), 3); /* with k: logits of a few units */
    arena(c, "k", 3);
    arena(c, "v", 1);
}

/* The last four buffers. */
static void make_lists(op_call *c)
{
    const osv_worklist *w = &c->forest.work;
    op_bytes(c, "positions", w->pos, (size_t)w->rows * sizeof *w->pos);
    op_bytes(c, "query tiles", w->query_tile, (size_t)w->query_tiles * sizeof *w->query_tile);
    op_bytes(c, "ranges", w->kv_range, (size_t)w->kv_ranges * sizeof *w->kv_range);
    op_bytes(c, "kv tiles", w->kv_tile, (size_t)w->kv_tiles * sizeof *w->kv_tile);
}

osv_worklist op_attention_work(const op_call *c)
{
    osv_worklist w = c->forest.work;
    int lists = c->buffers - 4;
    w.pos = op_int_at(c, lists);
    w.query_tile = (const void *)op_at(c, lists + 1);
    w.kv_range = (const void *)op_at(c, lists + 2);
    w.kv_tile = (const void *)op_at(c, lists + 3);
    return w;
}

static void attention_make(op_call *c)
{
    const attention_shape *s = c->shape;
    make_inputs(c);
    op_poisoned(c, "out", OP_OUTPUT, query_length(c));
    op_poisoned(c, "lse", OP_OUTPUT, query_length(c) / (size_t)s->heads.E);
    make_lists(c);
}

static void run_forward(op_call *c, int out, int lse)
{
    osv_worklist work = op_attention_work(c);
    osv_attention a = op_attention_arguments(c->shape);
    c->o->attention(c->o, op_at(c, out), op_at(c, lse), op_at(c, ATTENTION_Q), op_at(c, ATTENTION_K),
                    op_at(c, ATTENTION_V), &work, &a);
}

static void attention_run(op_call *c)
{
    run_forward(c, 3, 4);
}

/* attention_dx reads what attention wrote: every filling gets that from ref in f32. */
static void make_forward(op_call *c)
{
    const attention_shape *s = c->shape;
    osv_attention a = op_attention_arguments(s);
    size_t n = query_length(c), heads = n / (size_t)s->heads.E;
    if (s->own) { /* attention_dx_make runs it when the work list is there */
        op_random(c, "out", OP_INPUT, n, 0);
        op_random(c, "lse", OP_INPUT, heads, 0);
        return;
    }
    osv_real *out = calloc(n + 1, sizeof *out), *lse = calloc(heads + 1, sizeof *lse);
    osv_ops *ref;
    if (out && lse && !osv_ref_open(&ref, OSV_DTYPE_F32, c->o->error)) {
        ref->attention(ref, out, lse, c->buffer[ATTENTION_Q].initial, c->buffer[ATTENTION_K].initial,
                       c->buffer[ATTENTION_V].initial, &c->forest.work, &a);
        op_given(c, "out", OP_INPUT, out, n);
        op_given(c, "lse", OP_INPUT, lse, heads);
        ref->close(ref);
    } else {
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    }
    free(out);
    free(lse);
}

static void attention_dx_make(op_call *c)
{
    const attention_shape *s = c->shape;
    make_inputs(c);
    op_random(c, "dout", OP_INPUT, query_length(c), 1);
    make_forward(c);
    op_poisoned(c, "dq", OP_OUTPUT, query_length(c));
    op_poisoned(c, "dk", OP_OUTPUT, live_length(c));
    op_poisoned(c, "dv", OP_OUTPUT, live_length(c));
    op_unit(c, ATTENTION_DQ, 0.05); /* p (dp - delta) k: one key that is seen alone has dp = delta */
    op_unit(c, ATTENTION_DK, 0.05);
    op_poisoned(c, "delta", OP_SCRATCH, query_length(c) / (size_t)s->heads.E);
    make_lists(c);
    if (s->own) run_forward(c, ATTENTION_OUT, ATTENTION_LSE);
}

static void attention_dx_run(op_call *c)
{
    osv_worklist work = op_attention_work(c);
    osv_attention a = op_attention_arguments(c->shape);
    c->o->attention_dx(c->o, op_at(c, ATTENTION_DQ), op_at(c, ATTENTION_DK), op_at(c, ATTENTION_DV),
                       op_at(c, ATTENTION_DV + 1), op_at(c, ATTENTION_DOUT), op_at(c, ATTENTION_Q),
                       op_at(c, ATTENTION_K), op_at(c, ATTENTION_V), op_at(c, ATTENTION_OUT),
                       op_at(c, ATTENTION_LSE), &work, &a);
}

const op_kind op_attention = {"attention", attention_make, attention_run};
const op_kind op_attention_dx = {"attention_dx", attention_dx_make, attention_dx_run};

/* ---- shapes ---- */

#define ATTENTION(...)                                   \
    OP_CASE(op_attention, attention_shape, __VA_ARGS__), \
        OP_CASE(op_attention_dx, attention_shape, __VA_ARGS__)
#define HEADS(H, K, E)        \
    {                         \
        H, K, E, 0, (H) / (K) \
    }
#define SHARD(H, K, E, first, group) \
    {                                \
        H, K, E, first, group        \
    }

const op_case op_attention_cases[] = {
    ATTENTION(.forest = &one, .heads = HEADS(4, 4, 12)),
    ATTENTION(.forest = &one, .heads = HEADS(4, 1, 48), .window = 1, .softcap = 5),
    ATTENTION(.forest = &two, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &seven, .heads = HEADS(4, 2, 12), .window = 5),
    ATTENTION(.forest = &seven, .heads = HEADS(2, 2, 256), .softcap = 50),
    ATTENTION(.forest = &root, .heads = HEADS(4, 4, 12), .window = 1),
    ATTENTION(.forest = &root, .heads = HEADS(4, 1, 12), .softcap = 5),
    ATTENTION(.forest = &root, .heads = HEADS(2, 1, 64), .window = 5, .softcap = 50),
    ATTENTION(.forest = &small_tiles, .heads = HEADS(2, 1, 12)),
    ATTENTION(.forest = &small_tiles, .heads = HEADS(2, 2, 12), .window = 5, .softcap = 5),
    ATTENTION(.forest = &long_root, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &long_root, .heads = HEADS(2, 2, 48), .window = 5),
    ATTENTION(.forest = &long_root, .heads = HEADS(2, 1, 128), .window = 66, .softcap = 5),
    ATTENTION(.forest = &chain, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &chain, .heads = HEADS(4, 4, 12), .window = 1),
    ATTENTION(.forest = &chain, .heads = HEADS(4, 1, 48), .window = 5, .softcap = 5),
    ATTENTION(.forest = &wide, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &wide, .heads = HEADS(2, 2, 48), .window = 5, .softcap = 5),
    ATTENTION(.forest = &wide, .heads = HEADS(4, 1, 64), .window = 1000),
    ATTENTION(.forest = &shared, .heads = HEADS(4, 1, 12)),
    ATTENTION(.forest = &shared, .heads = HEADS(4, 2, 48), .window = 5, .softcap = 5),
    ATTENTION(.forest = &shared, .heads = SHARD(3, 2, 12, 3, 4), .window = 1000, .softcap = 5),
    ATTENTION(.forest = &shared_some, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &shared_some, .heads = HEADS(2, 2, 64), .window = 5),
    ATTENTION(.forest = &shared_some, .heads = SHARD(2, 1, 12, 4, 4), .window = 1),
    ATTENTION(.forest = &tree, .heads = HEADS(4, 4, 12)),
    ATTENTION(.forest = &tree, .heads = HEADS(4, 2, 48), .window = 5, .softcap = 5),
    ATTENTION(.forest = &tree, .heads = SHARD(3, 3, 12, 1, 1), .window = 1),
    ATTENTION(.forest = &frozen, .heads = HEADS(4, 2, 12)),
    ATTENTION(.forest = &frozen, .heads = HEADS(4, 1, 64), .window = 5),
    ATTENTION(.forest = &frozen, .heads = HEADS(2, 2, 12), .window = 1000, .softcap = 5),
    ATTENTION(.forest = &frozen_some, .heads = HEADS(4, 4, 12), .softcap = 50),
    ATTENTION(.forest = &frozen_some, .heads = HEADS(4, 1, 48), .window = 5),
    ATTENTION(.forest = &frozen_some, .heads = SHARD(5, 3, 12, 1, 2), .window = 30, .softcap = 5),
    /* more rows than a block of tensor cores takes, steps that nobody masks, ranges that end inside a step */
    ATTENTION(.forest = &long_root, .heads = HEADS(4, 1, 64)),
    ATTENTION(.forest = &long_root, .heads = HEADS(6, 2, 128), .window = 40),
    ATTENTION(.forest = &long_root, .heads = HEADS(4, 1, 256), .softcap = 5),
    ATTENTION(.forest = &small_tiles, .heads = HEADS(8, 1, 64), .window = 20),
    ATTENTION(.forest = &deep, .heads = HEADS(4, 1, 128)),
    ATTENTION(.forest = &deep, .heads = SHARD(3, 2, 64, 3, 4), .window = 30),
    ATTENTION(.forest = &deep, .heads = HEADS(2, 1, 256), .window = 50, .softcap = 50),
    ATTENTION(.forest = &chain, .heads = HEADS(4, 2, 128)),
    ATTENTION(.forest = &wide, .heads = HEADS(4, 2, 128), .window = 5),
    ATTENTION(.forest = &wide, .heads = SHARD(5, 3, 256, 1, 2)),
    ATTENTION(.forest = &tree, .heads = HEADS(4, 2, 128), .window = 3),
    ATTENTION(.forest = &shared, .heads = HEADS(4, 1, 128), .softcap = 5),
    ATTENTION(.forest = &frozen_some, .heads = HEADS(4, 2, 128)),
    ATTENTION(.forest = &frozen, .heads = SHARD(3, 2, 256, 3, 4), .window = 66),
    /* head sizes without a kernel of their own, the last two beyond 256 */
    ATTENTION(.forest = &long_root, .heads = HEADS(4, 2, 80), .window = 66),
    ATTENTION(.forest = &deep, .heads = HEADS(2, 1, 96), .softcap = 5),
    ATTENTION(.forest = &shared_some, .heads = HEADS(3, 3, 7)),
    ATTENTION(.forest = &frozen, .heads = HEADS(2, 1, 260), .window = 30),
    ATTENTION(.forest = &tree, .heads = HEADS(2, 2, 512)),
    {0},
};
