#include "tests/op_cases.h"

#include <math.h>
#include <stdlib.h>

static size_t area(int rows, int cols)
{
    return (size_t)rows * (size_t)cols;
}

/* ---- embed ---- */

enum { EMBED_X, EMBED_IDS };

/* Every id is legal; some lie before and after this rank's slice first_id .. first_id + V - 1. */
static int embed_id(const op_call *c, int row)
{
    const embed_shape *s = c->shape;
    return (row * 53 + s->first_id / 2) % (2 * s->first_id + s->V);
}

static void embed_make(op_call *c)
{
    const embed_shape *s = c->shape;
    op_poisoned(c, "x", OP_OUTPUT, area(s->rows, s->D));
    op_ints(c, "ids", s->rows, embed_id);
    op_weight(c, s->format, s->V, s->D);
}

static void embed_run(op_call *c)
{
    const embed_shape *s = c->shape;
    c->o->embed(c->o, op_at(c, EMBED_X), op_int_at(c, EMBED_IDS), &c->weight[0], s->first_id, s->scale,
                s->rows);
}

const op_kind op_embed = {"embed", embed_make, embed_run};

/* ---- matmul ---- */

static void matmul_make(op_call *c)
{
    const matmul_shape *s = c->shape;
    op_random(c, "x", OP_INPUT, area(s->rows, s->cols), 1);
    for (int i = 0; i < s->n; i++) {
        op_poisoned(c, "y", OP_OUTPUT, area(s->rows, s->outputs[i]));
        op_weight(c, s->format, s->outputs[i], s->cols);
    }
}

static void matmul_run(op_call *c)
{
    const matmul_shape *s = c->shape;
    osv_real *y[OP_WEIGHTS];
    const osv_weight *w[OP_WEIGHTS];
    for (int i = 0; i < s->n; i++) {
        y[i] = op_at(c, 1 + i);
        w[i] = &c->weight[i];
    }
    c->o->matmul(c->o, y, op_at(c, 0), w, s->n, s->rows);
}

static void matmul_dx_make(op_call *c)
{
    const matmul_shape *s = c->shape;
    op_poisoned(c, "dx", OP_OUTPUT, area(s->rows, s->cols));
    for (int i = 0; i < s->n; i++) {
        op_random(c, "dy", OP_INPUT, area(s->rows, s->outputs[i]), 1);
        op_weight(c, s->format, s->outputs[i], s->cols);
    }
}

static void matmul_dx_run(op_call *c)
{
    const matmul_shape *s = c->shape;
    const osv_real *dy[OP_WEIGHTS];
    const osv_weight *w[OP_WEIGHTS];
    for (int i = 0; i < s->n; i++) {
        dy[i] = op_at(c, 1 + i);
        w[i] = &c->weight[i];
    }
    c->o->matmul_dx(c->o, op_at(c, 0), dy, w, s->n, s->rows);
}

static void bias_make(op_call *c)
{
    const matmul_shape *s = c->shape;
    op_random(c, "y", OP_UPDATED, area(s->rows, s->cols), 1);
    op_weight(c, s->format, 1, s->cols);
}

static void bias_run(op_call *c)
{
    const matmul_shape *s = c->shape;
    c->o->bias(c->o, op_at(c, 0), &c->weight[0], s->rows);
}

const op_kind op_matmul = {"matmul", matmul_make, matmul_run};
const op_kind op_matmul_dx = {"matmul_dx", matmul_dx_make, matmul_dx_run};
const op_kind op_bias = {"bias", bias_make, bias_run};

/* ---- rmsnorm ---- */

static void rmsnorm_make(op_call *c)
{
    const norm_shape *s = c->shape;
    op_random(c, "x", s->in_place ? OP_UPDATED : OP_INPUT, area(s->rows, s->D), s->scale);
    if (!s->in_place) op_poisoned(c, "y", OP_OUTPUT, area(s->rows, s->D));
    op_weight(c, s->format, 1, s->D);
}

static void rmsnorm_run(op_call *c)
{
    const norm_shape *s = c->shape;
    c->o->rmsnorm(c->o, op_at(c, s->in_place ? 0 : 1), op_at(c, 0), &c->weight[0], s->offset, 1e-6, s->rows);
}

static void rmsnorm_dx_make(op_call *c)
{
    const norm_shape *s = c->shape;
    op_random(c, "x", OP_INPUT, area(s->rows, s->D), s->scale);
    op_random(c, "dy", s->in_place ? OP_UPDATED : OP_INPUT, area(s->rows, s->D), 1);
    if (!s->in_place) op_poisoned(c, "dx", OP_OUTPUT, area(s->rows, s->D));
    op_unit(c, s->in_place ? 1 : 2,
            0.1 / s->scale); /* dy along x, always so where D = 1, gives nearly nothing */
    op_weight(c, s->format, 1, s->D);
}

static void rmsnorm_dx_run(op_call *c)
{
    const norm_shape *s = c->shape;
    c->o->rmsnorm_dx(c->o, op_at(c, s->in_place ? 1 : 2), op_at(c, 1), op_at(c, 0), &c->weight[0], s->offset,
                     1e-6, s->rows);
}

const op_kind op_rmsnorm = {"rmsnorm", rmsnorm_make, rmsnorm_run};
const op_kind op_rmsnorm_dx = {"rmsnorm_dx", rmsnorm_dx_make, rmsnorm_dx_run};

/* ---- rmsnorm of split rows ---- */

osv_split_norm op_split_norm(const split_norm_shape *s)
{
    return (osv_split_norm){.width = s->width, .first = s->first, .offset = s->offset, .eps = 1e-6};
}

static void split_norm_make(op_call *c)
{
    const split_norm_shape *s = c->shape;
    op_random(c, "x", s->in_place ? OP_UPDATED : OP_INPUT, area(s->rows, s->D), s->scale);
    op_random(c, "dy", OP_INPUT, 0, 1);
    op_poisoned(c, "sum", OP_OUTPUT, (size_t)s->rows);
    op_poisoned(c, "dot", OP_OUTPUT, 0);
    if (!s->in_place) op_poisoned(c, "y", OP_OUTPUT, area(s->rows, s->D));
    op_weight(c, s->format, 1, s->D);
}

static void split_norm_run(op_call *c)
{
    const split_norm_shape *s = c->shape;
    osv_split_norm n = op_split_norm(s);
    c->o->rmsnorm_sum(c->o, op_at(c, SPLIT_SUM), op_at(c, SPLIT_X), &n, s->D, s->rows);
    c->o->rmsnorm_split(c->o, op_at(c, s->in_place ? SPLIT_X : SPLIT_Y), op_at(c, SPLIT_X),
                        op_at(c, SPLIT_SUM), &c->weight[0], &n, s->rows);
}

static void split_norm_dx_make(op_call *c)
{
    const split_norm_shape *s = c->shape;
    op_random(c, "x", OP_INPUT, area(s->rows, s->D), s->scale);
    op_random(c, "dy", s->in_place ? OP_UPDATED : OP_INPUT, area(s->rows, s->D), 1);
    op_poisoned(c, "sum", OP_OUTPUT, (size_t)s->rows);
    op_unit(c, op_poisoned(c, "dot", OP_OUTPUT, (size_t)s->rows), 0.1 * s->scale);
    if (!s->in_place) op_poisoned(c, "dx", OP_OUTPUT, area(s->rows, s->D));
    op_unit(c, s->in_place ? SPLIT_DY : SPLIT_Y, 0.1 / s->scale); /* as in rmsnorm_dx */
    op_weight(c, s->format, 1, s->D);
}

static void split_norm_dx_run(op_call *c)
{
    const split_norm_shape *s = c->shape;
    osv_split_norm n = op_split_norm(s);
    const osv_real *x = op_at(c, SPLIT_X), *dy = op_at(c, SPLIT_DY);
    c->o->rmsnorm_sum(c->o, op_at(c, SPLIT_SUM), x, &n, s->D, s->rows);
    c->o->rmsnorm_dot(c->o, op_at(c, SPLIT_DOT), dy, x, &c->weight[0], &n, s->rows);
    c->o->rmsnorm_split_dx(c->o, op_at(c, s->in_place ? SPLIT_DY : SPLIT_Y), dy, x, op_at(c, SPLIT_SUM),
                           op_at(c, SPLIT_DOT), &c->weight[0], &n, s->rows);
}

const op_kind op_rmsnorm_split = {"rmsnorm_split", split_norm_make, split_norm_run};
const op_kind op_rmsnorm_split_dx = {"rmsnorm_split_dx", split_norm_dx_make, split_norm_dx_run};

/* ---- residual_add ---- */

enum { RESIDUAL_Y, RESIDUAL_INDEX, RESIDUAL_X, RESIDUAL_OUT };

static int residual_rows(const residual_shape *s)
{
    return s->stride ? s->rows * s->stride : s->rows;
}

static int residual_index(const op_call *c, int row)
{
    const residual_shape *s = c->shape;
    return residual_rows(s) - 1 - row * s->stride;
}

static void residual_make(op_call *c)
{
    const residual_shape *s = c->shape;
    int rows = residual_rows(s);
    op_random(c, "y", OP_INPUT, area(s->rows, s->D), 1);
    op_ints(c, "index", s->rows, residual_index);
    op_random(c, "x", s->in_place ? OP_UPDATED : OP_INPUT, area(rows, s->D), 1);
    if (!s->in_place) op_poisoned(c, "out", OP_OUTPUT, area(rows, s->D));
}

static void residual_run(op_call *c)
{
    const residual_shape *s = c->shape;
    c->o->residual_add(c->o, op_at(c, s->in_place ? RESIDUAL_X : RESIDUAL_OUT), op_at(c, RESIDUAL_X),
                       op_at(c, RESIDUAL_Y), s->stride ? op_int_at(c, RESIDUAL_INDEX) : NULL, s->D, s->rows);
}

const op_kind op_residual_add = {"residual_add", residual_make, residual_run};

/* ---- scale ---- */

static void scale_make(op_call *c)
{
    const scale_shape *s = c->shape;
    op_random(c, "y", OP_UPDATED, s->n, 1);
}

static void scale_run(op_call *c)
{
    const scale_shape *s = c->shape;
    c->o->scale(c->o, op_at(c, 0), s->factor, s->n);
}

const op_kind op_scale = {"scale", scale_make, scale_run};

/* ---- rope ---- */

enum { ROPE_POSITIONS = 300, ROPE_X = 0, ROPE_TABLE, ROPE_POS };

static int rope_position(const op_call *c, int row)
{
    (void)c;
    return (row * 37 + 1) % ROPE_POSITIONS;
}

static void rope_make(op_call *c)
{
    const rope_shape *s = c->shape;
    int half = s->rot / 2;
    op_random(c, "x", OP_UPDATED, area(s->rows, s->heads * s->E), 1);
    osv_real *table = malloc(area(ROPE_POSITIONS, s->rot) * sizeof *table);
    for (int p = 0; table && p < ROPE_POSITIONS; p++)
        for (int i = 0; i < half; i++) {
            double angle = p * pow(10000, -2.0 * i / s->rot);
            table[p * s->rot + i] = (osv_real)cos(angle);
            table[p * s->rot + half + i] = (osv_real)sin(angle);
        }
    if (table)
        op_given(c, "table", OP_INPUT, table, area(ROPE_POSITIONS, s->rot));
    else
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    free(table);
    op_ints(c, "pos", s->rows, rope_position);
}

static void rope_run(op_call *c)
{
    const rope_shape *s = c->shape;
    c->o->rope(c->o, op_at(c, ROPE_X), op_int_at(c, ROPE_POS), op_at(c, ROPE_TABLE), s->heads, s->E, s->rot,
               s->direction, s->rows);
}

const op_kind op_rope = {"rope", rope_make, rope_run};

/* ---- glu ---- */

enum { GLU_GATE, GLU_UP, GLU_DY, GLU_DGATE, GLU_DUP };

static void glu_make(op_call *c)
{
    const glu_shape *s = c->shape;
    op_random(c, "gate", s->alias == GLU_ON_GATE ? OP_UPDATED : OP_INPUT, s->n, 6);
    op_random(c, "up", s->alias == GLU_ON_UP ? OP_UPDATED : OP_INPUT, s->n, 2);
    if (s->alias == GLU_APART) op_poisoned(c, "y", OP_OUTPUT, s->n);
}

static void glu_run(op_call *c)
{
    const glu_shape *s = c->shape;
    int y = s->alias == GLU_ON_GATE ? GLU_GATE : s->alias == GLU_ON_UP ? GLU_UP : GLU_DY;
    c->o->glu(c->o, op_at(c, y), op_at(c, GLU_GATE), op_at(c, GLU_UP), s->act, s->n);
}

static void glu_dx_make(op_call *c)
{
    const glu_shape *s = c->shape;
    bool on_gate = s->alias == GLU_ON_GATE || s->alias == GLU_ON_BOTH || s->alias == GLU_UP_ON_DY;
    bool on_up = s->alias == GLU_ON_UP || s->alias == GLU_ON_BOTH || s->alias == GLU_GATE_ON_DY;
    bool on_dy = s->alias == GLU_GATE_ON_DY || s->alias == GLU_UP_ON_DY;
    op_random(c, "gate", on_gate ? OP_UPDATED : OP_INPUT, s->n, 6);
    op_random(c, "up", on_up ? OP_UPDATED : OP_INPUT, s->n, 2);
    op_random(c, "dy", on_dy ? OP_UPDATED : OP_INPUT, s->n, 1);
    if (s->alias == GLU_APART) {
        op_poisoned(c, "dgate", OP_OUTPUT, s->n);
        op_poisoned(c, "dup", OP_OUTPUT, s->n);
    }
    if (s->alias == GLU_ON_GATE) op_poisoned(c, "dup", OP_OUTPUT, s->n);
    if (s->alias == GLU_ON_UP) op_poisoned(c, "dgate", OP_OUTPUT, s->n);
}

static void glu_dx_run(op_call *c)
{
    const glu_shape *s = c->shape;
    int dgate = GLU_DGATE, dup = GLU_DUP;
    switch (s->alias) {
    case GLU_APART: break;
    case GLU_ON_GATE: dgate = GLU_GATE, dup = GLU_DGATE; break;
    case GLU_ON_UP: dup = GLU_UP; break;
    case GLU_ON_BOTH: dgate = GLU_GATE, dup = GLU_UP; break;
    case GLU_GATE_ON_DY: dgate = GLU_DY, dup = GLU_UP; break;
    case GLU_UP_ON_DY: dgate = GLU_GATE, dup = GLU_DY; break;
    }
    c->o->glu_dx(c->o, op_at(c, dgate), op_at(c, dup), op_at(c, GLU_DY), op_at(c, GLU_GATE), op_at(c, GLU_UP),
                 s->act, s->n);
}

const op_kind op_glu = {"glu", glu_make, glu_run};
const op_kind op_glu_dx = {"glu_dx", glu_dx_make, glu_dx_run};

/* ---- shapes ---- */

#define EMBED(...) OP_CASE(op_embed, embed_shape, __VA_ARGS__)
#define MATMUL(...) \
    OP_CASE(op_matmul, matmul_shape, __VA_ARGS__), OP_CASE(op_matmul_dx, matmul_shape, __VA_ARGS__)
#define BIAS(...) OP_CASE(op_bias, matmul_shape, __VA_ARGS__)
#define NORM(...) \
    OP_CASE(op_rmsnorm, norm_shape, __VA_ARGS__), OP_CASE(op_rmsnorm_dx, norm_shape, __VA_ARGS__)
#define SPLIT_NORM(...)                                       \
    OP_CASE(op_rmsnorm_split, split_norm_shape, __VA_ARGS__), \
        OP_CASE(op_rmsnorm_split_dx, split_norm_shape, __VA_ARGS__)
#define RESIDUAL(...) OP_CASE(op_residual_add, residual_shape, __VA_ARGS__)
#define SCALE(...)    OP_CASE(op_scale, scale_shape, __VA_ARGS__)
#define ROPE(...)     OP_CASE(op_rope, rope_shape, __VA_ARGS__)
#define GLU(...)      OP_CASE(op_glu, glu_shape, __VA_ARGS__)
#define GLU_DX(...)   OP_CASE(op_glu_dx, glu_shape, __VA_ARGS__)

const op_case op_block_cases[] = {
    EMBED(.rows = 7, .V = 317, .D = 48, .scale = 1, .format = OSV_F32),
    EMBED(.rows = 65, .V = 100, .D = 48, .scale = 6.92820323, .format = OSV_BF16),
    EMBED(.rows = 130, .V = 50, .D = 12, .first_id = 40, .scale = 1, .format = OSV_F16),
    EMBED(.rows = 0, .V = 50, .D = 12, .scale = 1, .format = OSV_F32),

    MATMUL(.rows = 1, .cols = 48, .n = 1, .outputs = {48}, .format = OSV_F32),
    MATMUL(.rows = 2, .cols = 48, .n = 3, .outputs = {48, 24, 24}, .format = OSV_F32),
    MATMUL(.rows = 7, .cols = 48, .n = 2, .outputs = {100, 100}, .format = OSV_BF16),
    MATMUL(.rows = 65, .cols = 100, .n = 1, .outputs = {48}, .format = OSV_F16),
    MATMUL(.rows = 130, .cols = 48, .n = 1, .outputs = {317}, .format = OSV_BF16),
    MATMUL(.rows = 130, .cols = 36, .n = 3, .outputs = {12, 5, 1}, .format = OSV_F32),
    MATMUL(.rows = 33, .cols = 317, .n = 1, .outputs = {64}, .format = OSV_BF16),
    MATMUL(.rows = 1, .cols = 1, .n = 1, .outputs = {1}, .format = OSV_F32),
    MATMUL(.rows = 65, .cols = 256, .n = 3, .outputs = {256, 64, 64}, .format = OSV_BF16),
    MATMUL(.rows = 1, .cols = 256, .n = 2, .outputs = {512, 512}, .format = OSV_F16),
    MATMUL(.rows = 130, .cols = 128, .n = 2, .outputs = {192, 192}, .format = OSV_F32),
    MATMUL(.rows = 0, .cols = 48, .n = 2, .outputs = {48, 24}, .format = OSV_F32),

    BIAS(.rows = 7, .cols = 48, .format = OSV_F32),
    BIAS(.rows = 65, .cols = 100, .format = OSV_BF16),
    BIAS(.rows = 1, .cols = 317, .format = OSV_F16),
    BIAS(.rows = 0, .cols = 48, .format = OSV_F32),

    NORM(.rows = 1, .D = 48, .scale = 1, .format = OSV_F32),
    NORM(.rows = 7, .D = 48, .offset = 1, .scale = 30, .format = OSV_BF16),
    NORM(.rows = 65, .D = 12, .offset = 1, .scale = 1e-3, .format = OSV_F32, .in_place = true),
    NORM(.rows = 130, .D = 100, .scale = 1000, .format = OSV_F16, .in_place = true),
    NORM(.rows = 2, .D = 1, .scale = 1, .format = OSV_F32),
    NORM(.rows = 2, .D = 2304, .offset = 1, .scale = 1, .format = OSV_BF16),
    NORM(.rows = 300, .D = 16, .offset = 1, .scale = 1, .format = OSV_F32),
    NORM(.rows = 1040, .D = 10, .scale = 5, .format = OSV_BF16, .in_place = true),
    NORM(.rows = 0, .D = 48, .scale = 1, .format = OSV_F32),

    SPLIT_NORM(.rows = 1, .D = 48, .width = 48, .scale = 1),
    SPLIT_NORM(.rows = 65, .D = 48, .width = 144, .first = 12, .offset = 1, .scale = 2, .format = OSV_BF16),
    SPLIT_NORM(.rows = 7, .D = 36, .width = 100, .first = 9, .scale = 1, .format = OSV_F16, .in_place = true),
    SPLIT_NORM(.rows = 3, .D = 1030, .width = 4096, .first = 128, .scale = 100),
    SPLIT_NORM(.rows = 2, .D = 5, .width = 9, .first = 5, .scale = 1), /* all of it counted elsewhere */
    SPLIT_NORM(.rows = 0, .D = 48, .width = 48, .scale = 1),

    RESIDUAL(.rows = 1, .D = 48),
    RESIDUAL(.rows = 65, .D = 48, .in_place = true),
    RESIDUAL(.rows = 130, .D = 100),
    RESIDUAL(.rows = 7, .D = 48, .in_place = true, .stride = 3),
    RESIDUAL(.rows = 65, .D = 5, .in_place = true, .stride = 1),
    RESIDUAL(.rows = 0, .D = 48, .in_place = true),

    SCALE(.n = 1, .factor = 0.22),
    SCALE(.n = 6503, .factor = 0.0625),
    SCALE(.n = 130, .factor = -3),
    SCALE(.n = 0, .factor = 2),

    ROPE(.rows = 1, .heads = 4, .E = 12, .rot = 12, .direction = 1),
    ROPE(.rows = 7, .heads = 2, .E = 48, .rot = 48, .direction = -1),
    ROPE(.rows = 65, .heads = 1, .E = 64, .rot = 64, .direction = 1),
    ROPE(.rows = 130, .heads = 3, .E = 12, .rot = 6, .direction = 1),
    ROPE(.rows = 130, .heads = 3, .E = 12, .rot = 6, .direction = -1),
    ROPE(.rows = 2, .heads = 2, .E = 256, .rot = 256, .direction = -1),
    ROPE(.rows = 0, .heads = 4, .E = 12, .rot = 12, .direction = 1),

    GLU(.n = 1, .act = OSV_SILU),
    GLU(.n = 700, .act = OSV_SILU, .alias = GLU_ON_GATE),
    GLU(.n = 6500, .act = OSV_GELU_TANH),
    GLU(.n = 317, .act = OSV_GELU_TANH, .alias = GLU_ON_UP),
    GLU(.n = 700, .act = OSV_GELU),
    GLU(.n = 0, .act = OSV_SILU),

    GLU_DX(.n = 1, .act = OSV_SILU),
    GLU_DX(.n = 6500, .act = OSV_SILU, .alias = GLU_ON_BOTH),
    GLU_DX(.n = 700, .act = OSV_SILU, .alias = GLU_GATE_ON_DY),
    GLU_DX(.n = 700, .act = OSV_GELU_TANH),
    GLU_DX(.n = 317, .act = OSV_GELU_TANH, .alias = GLU_UP_ON_DY),
    GLU_DX(.n = 317, .act = OSV_GELU_TANH, .alias = GLU_ON_GATE),
    GLU_DX(.n = 700, .act = OSV_GELU),
    GLU_DX(.n = 65, .act = OSV_GELU, .alias = GLU_ON_UP),
    GLU_DX(.n = 0, .act = OSV_GELU),
    {0},
};
