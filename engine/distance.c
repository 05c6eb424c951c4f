/* Where the residual stream is held against the unsteered one: what leaves a block, before anything is
 * steered at the next one. */
#include "engine/maths.h"
#include "engine/step.h"

/* Those of block_input:l. */
static osv_distances distances_at(const osv_device_pass *p, int l)
{
    int first = p->host->distance_first[l], next = p->host->distance_first[l + 1];
    return (osv_distances){next - first, p->distances.row + first, p->distances.power + first};
}

static size_t first_at(const osv_step *s, int l)
{
    return (size_t)s->batch->live.distance_first[l];
}

void osv_distance_keep(const osv_step *s, const osv_real *x, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    int D = s->engine.model->config.D;
    size_t first = first_at(s, l);
    osv_distances d = distances_at(&b->live, l);
    if (d.M > 0) OP(gather_rows, b->distance_x0 + first * (size_t)D, x, b->distance_base_row + first, D, d.M);
}

void osv_distance(const osv_step *s, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    int D = s->engine.model->config.D;
    size_t first = first_at(s, l);
    osv_distances d = distances_at(&b->live, l);
    if (d.M > 0)
        OP(distance, b->loss + osv_token_losses_of(&s->batch->live) + first, b->block[l].x,
           b->distance_x0 + first * (size_t)D, &d, D);
}

void osv_distance_dx(const osv_step *s, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    const osv_scratch *t = &b->live.scratch;
    int D = s->engine.model->config.D;
    size_t first = first_at(s, l);
    osv_distances d = distances_at(&b->live, l);
    if (d.M == 0) return;
    OP(distance_dx, t->dy, b->block[l].x, b->distance_x0 + first * (size_t)D,
       b->w + osv_token_losses_of(&s->batch->live) + first, &d, D);
    OP(residual_add, t->dx, t->dx, t->dy, d.row, D, d.M);
}
