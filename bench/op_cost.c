#include "bench/op_cost.h"

static double weight_bytes(const osv_weight *w)
{
    return (double)w->rows * w->cols * (double)osv_format_bytes(w->format);
}

/* An input that this operator does not read: calls of a family have one set of buffers. */
static bool unread(const op_call *c, int buffer)
{
    const op_kind *k = c->kind;
    if (k == &op_score_max) return buffer != SCORE_Z && buffer != SCORE_MAX;
    if (k == &op_score) return buffer == SCORE_Z || buffer == SCORE_MAX;
    if (k == &op_apply_dp && ((const site_shape *)c->shape)->form.kind == OSV_FORM_ADD)
        return buffer == 1 || buffer == 2;
    return false;
}

/* Updated buffers that are only written where the call writes at all. */
static bool only_written(const op_call *c, int buffer)
{
    return buffer == 0 && (c->kind == &op_apply || c->kind == &op_scatter_rows);
}

double op_bytes_moved(const op_call *c)
{
    double bytes = 0;
    for (int i = 0; i < c->buffers; i++) {
        const op_buffer *b = &c->buffer[i];
        if (b->role == OP_SCRATCH || unread(c, i)) continue;
        bytes += (double)b->bytes * (b->role == OP_UPDATED && !only_written(c, i) ? 2 : 1);
    }
    if (c->kind == &op_rope) { /* an entry of the table for each row, not all of them */
        const rope_shape *s = c->shape;
        bytes -= (double)c->buffer[1].bytes;
        bytes += (double)s->rows * s->rot * (double)sizeof(osv_real);
    }
    if (c->kind == &op_distance || c->kind == &op_distance_dx) /* every other row of x */
        bytes -= (double)c->buffer[DISTANCE_X].bytes / 2;
    if (c->kind == &op_embed) { /* a row of the table for each id */
        const embed_shape *s = c->shape;
        return bytes + weight_bytes(&c->weight[0]) / s->V * s->rows;
    }
    for (int i = 0; i < c->weights; i++) bytes += weight_bytes(&c->weight[i]);
    return bytes;
}

double op_bytes_held(const op_call *c)
{
    double bytes = 0;
    for (int i = 0; i < c->buffers; i++) bytes += (double)c->buffer[i].bytes;
    for (int i = 0; i < c->weights; i++) bytes += weight_bytes(&c->weight[i]);
    return bytes;
}

/* Pairs of query and key that see each other, times the heads and their size. */
static double pairs(const op_call *c)
{
    const attention_shape *s = c->shape;
    const osv_worklist *w = &c->forest.work;
    double n = 0;
    for (int i = 0; i < w->rows; i++)
        n += s->window > 0 && w->pos[i] + 1 > s->window ? s->window : w->pos[i] + 1;
    return n * s->heads.H * s->heads.E;
}

static double of_products(const op_call *c)
{
    const matmul_shape *s = c->shape;
    double outputs = 0;
    for (int i = 0; i < s->n; i++) outputs += s->outputs[i];
    return 2 * outputs * s->cols * s->rows;
}

double op_flops(const op_call *c)
{
    /* of an element of the buffer that counts */
    static const struct {
        const op_kind *kind;
        int buffer;
        double flops;
    } each[] = {
        {&op_embed, 0, 1},        {&op_bias, 0, 1},          {&op_rmsnorm, 0, 4},
        {&op_rmsnorm_dx, 0, 8},   {&op_rmsnorm_split, 0, 4}, {&op_rmsnorm_split_dx, 0, 8},
        {&op_residual_add, 0, 1}, {&op_scale, 0, 1},         {&op_rope, 0, 3},
        {&op_glu, 0, 14},         {&op_glu_dx, 0, 20},       {&op_softcap, 0, 12},
        {&op_score_max, 0, 1},    {&op_score_sum, 0, 13},    {&op_score, 8, 30},
        {&op_score_dx, 0, 15},    {&op_distance, 2, 3},      {&op_distance_dx, 2, 5},
        {&op_objective, 2, 4},    {&op_sample, 2, 30},       {&op_apply, 1, 2},
        {&op_apply_dp, 1, 2},     {&op_adam, 0, 20},         {&op_norm, 1, 2},
    };
    if (c->kind == &op_matmul || c->kind == &op_matmul_dx) return of_products(c);
    if (c->kind == &op_attention) return 4 * pairs(c);
    if (c->kind == &op_attention_dx) return 10 * pairs(c); /* q.k again, dP, dq, dk, dv */
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        if (c->kind == each[i].kind)
            return each[i].flops * (double)(c->buffer[each[i].buffer].bytes / sizeof(osv_real));
    return 0;
}
