#include "engine/traffic.h"

#include "engine/plan.h"

static void reduced(osv_traffic *t, int rows, int cols)
{
    t->calls++;
    t->bytes += (size_t)rows * (size_t)cols * sizeof(osv_real);
}

/* A block's forward pass, with its output or only what the reverse pass needs of it. */
static void forward(osv_traffic *t, const osv_config *c, int T, int Q, bool output)
{
    if (c->qk_norm == OSV_QK_NORM_WIDTH) reduced(t, T + Q, 1);
    reduced(t, Q, c->D);                              /* attention */
    if (output || c->post_norms) reduced(t, Q, c->D); /* ffn */
}

static void backward(osv_traffic *t, const osv_config *c, int T, int Q)
{
    reduced(t, Q, c->D); /* ffn */
    if (c->qk_norm == OSV_QK_NORM_WIDTH) reduced(t, T + Q, 1);
    reduced(t, T, c->D); /* attention */
}

osv_traffic osv_iteration_traffic(const osv_model *m, const osv_batch *b, const osv_switches *on)
{
    const osv_config *c = &m->config;
    const osv_pass *live = &b->live;
    osv_traffic t = {0};
    for (int l = b->first_block; l < b->end_block; l++) {
        int T = live->active[l], Q = l == c->N - 1 && on->narrow_last ? live->R : T;
        forward(&t, c, T, Q, true);
        if (osv_recomputed(b, on, l)) forward(&t, c, T, Q, false);
        backward(&t, c, T, Q);
    }
    reduced(&t, live->R, 1);        /* the largest logits */
    reduced(&t, live->scores.S, 2); /* sums of exponentials */
    if (live->distributions.K > 0) reduced(&t, live->distributions.K, 2);
    reduced(&t, live->R, c->D); /* the head's dx */
    return t;
}
