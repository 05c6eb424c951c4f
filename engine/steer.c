/* Where vectors meet the residual stream: the input of a start layer. */
#include "engine/maths.h"
#include "engine/step.h"

void osv_steer(const osv_step *s, const osv_real *v, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    int D = s->engine.model->config.D;
    for (int i = 0; i < s->batch->sites; i++) {
        const osv_site *site = &b->site[i];
        if (s->batch->site_layer[i] == l)
            OP(apply_add, b->block[l].x, b->x0 + (size_t)site->row * (size_t)D, v, site, D);
    }
}

void osv_steer_dv(const osv_step *s, osv_real *dv, int l)
{
    osv_ops *o = s->engine.ops;
    const osv_buffers *b = &s->buffer;
    for (int i = 0; i < s->batch->sites; i++)
        if (s->batch->site_layer[i] == l)
            OP(apply_add_dv, dv, b->live.scratch.dx, &b->site[i], s->engine.model->config.D);
}
