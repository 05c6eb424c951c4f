/* Where vectors meet the residual stream: the input of the blocks that they are for. */
#include "engine/maths.h"
#include "engine/step.h"

void osv_steer(const osv_step *s, const osv_real *p, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    size_t D = (size_t)s->engine.model->config.D;
    osv_real *x = b->block[l].x;
    for (int i = 0; i < s->batch->sites; i++) {
        if (s->batch->site_layer[i] != l) continue;
        const osv_site *site = &b->site[i];
        osv_real *rows = x + (size_t)site->row * D, *from = b->site_x[i];
        if (!s->batch->site_entry[i] && from != rows)
            OP(copy, from, rows, (size_t)site->rows * D * sizeof *x, OSV_ON_DEVICE);
        OP(apply, x, from, p, site, b->form_coef, (int)D);
    }
}

void osv_steer_dx(const osv_step *s, osv_real *dp, const osv_real *p, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    int D = s->engine.model->config.D;
    osv_real *dx = b->live.scratch.dx;
    for (int i = 0; i < s->batch->sites; i++) {
        if (s->batch->site_layer[i] != l) continue;
        OP(apply_dp, dp, dx, b->site_x[i], p, &b->site[i], b->form_coef, D);
        if (!s->batch->site_entry[i]) OP(apply_dx, dx, b->site_x[i], p, &b->site[i], b->form_coef, D);
    }
}

void osv_steer_sum(const osv_step *s, osv_real *dp)
{
    osv_ops *o = s->engine.ops;
    const osv_batch *b = s->batch;
    int D = s->engine.model->config.D;
    for (int i = 0; i < b->sums; i++) {
        int first = b->sum_first[i], rows = b->sum_first[i + 1] - first;
        OP(residual_add, dp, dp, dp + ((size_t)b->P + (size_t)first) * (size_t)D, s->buffer.sum_param + first,
           D, rows);
    }
}
