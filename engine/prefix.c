/* The unsteered pass: everything that does not depend on a vector, computed once.
 *
 * Above the first start layer its keys and values go into the arenas of the live pass: frozen tokens keep
 * their slots for good, the slots behind them are overwritten by live tokens in each iteration. */
#include "engine/maths.h"
#include "engine/step.h"

void osv_prefix(osv_step *s)
{
    const osv_engine *g = &s->engine;
    osv_ops *o = g->ops;
    osv_buffers *b = &s->buffer;
    const osv_device_pass *p = &b->base;
    const osv_config *c = &g->model->config;
    int N = c->N, D = c->D;
    osv_activations a = b->below;
    BEGIN("prefix", -1);

    a.x = b->below_x[0];
    osv_embed(g, p, a.x);
    for (int l = 0; l < N; l++) {
        for (int i = 0; i < s->batch->sites; i++) {
            const osv_site *site = &b->site[i];
            if (s->batch->site_entry[i] && s->batch->site_layer[i] == l)
                OP(gather_rows, b->x0 + (size_t)site->row * (size_t)D, a.x, b->base_row + site->row, D,
                   site->rows);
        }
        osv_distance_keep(s, a.x, l);
        if (osv_rows(p, l) == 0)
            break; /* rows only get fewer: no start layer lies above, nothing is frozen */
        osv_real *out = l == N - 1 ? p->scratch.x_out : b->below_x[(l + 1) % 2];
        a.k = l < s->batch->first_block ? b->below.k : b->block[l].k;
        a.v = l < s->batch->first_block ? b->below.v : b->block[l].v;
        osv_block_forward(g, p, l, &a, out);
        a.x = out;
    }
    if (p->host->R > 0) {
        osv_logits(g, p);
        osv_losses(g, p, b->loss + osv_losses_of(&s->batch->live));
    }
    END("prefix", -1);
}
