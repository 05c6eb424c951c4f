/* The reverse pass, the mirror of forward.c: activations only, no weight has a gradient. dx is the gradient
 * of the residual stream. */
#include "engine/maths.h"
#include "engine/step.h"

static void sum_over_ranks_dx(const osv_engine *g, osv_real *dx, int rows)
{
    osv_ops *o = g->ops;
    ACROSS(all_reduce, dx, (size_t)rows * (size_t)g->model->config.D, OSV_SUM);
}

/* The gradient of a norm's input, from that of its output (the same where the model has no such norm), scaled
 * as what the branch behind it adds to the residual stream is. dx may be dy. */
static void pre_norm_dx(const osv_engine *g, osv_real *dx, const osv_real *dy, const osv_real *x,
                        const osv_weight *w, int rows)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    size_t n = (size_t)rows * (size_t)c->D;
    if (w->data)
        OP(rmsnorm_dx, dx, dy, x, w, c->norm_offset, c->norm_eps, rows);
    else if (dx != dy)
        OP(copy, dx, dy, n * sizeof *dx, OSV_ON_DEVICE);
    if (c->residual_scale != 1) OP(scale, dx, c->residual_scale, n);
}

/* The gradients of queries and keys before their norms, in place. */
static void qk_norms_dx(const osv_engine *g, const osv_scratch *t, const osv_activations *a,
                        const osv_block *w, int T, int Q)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    const osv_shard *sh = &g->model->shard;
    const osv_real *k_sum = a->qk_sum, *q_sum = k_sum ? k_sum + T : NULL;
    osv_real *k_dot = t->qk_dot, *q_dot = k_dot ? k_dot + T : NULL;
    osv_split_norm q_norm, k_norm;
    switch (c->qk_norm) {
    case OSV_QK_NORM_NONE: break;
    case OSV_QK_NORM_HEAD:
        OP(rmsnorm_dx, t->dk, t->dk, a->raw_k, &w->k_norm, c->norm_offset, c->norm_eps, T * sh->K);
        OP(rmsnorm_dx, t->dq, t->dq, a->raw_q, &w->q_norm, c->norm_offset, c->norm_eps, Q * sh->H);
        break;
    case OSV_QK_NORM_WIDTH:
        osv_model_qk_norms(&q_norm, &k_norm, g->model);
        OP(rmsnorm_dot, k_dot, t->dk, a->raw_k, &w->k_norm, &k_norm, T);
        OP(rmsnorm_dot, q_dot, t->dq, a->raw_q, &w->q_norm, &q_norm, Q);
        ACROSS(all_reduce, t->qk_dot, (size_t)T + (size_t)Q, OSV_SUM);
        OP(rmsnorm_split_dx, t->dk, t->dk, a->raw_k, k_sum, k_dot, &w->k_norm, &k_norm, T);
        OP(rmsnorm_split_dx, t->dq, t->dq, a->raw_q, q_sum, q_dot, &w->q_norm, &q_norm, Q);
        break;
    }
}

/* The gradient of y, from that of its post-norm (or of y itself where the model has none). */
static const osv_real *post_norm_dx(const osv_engine *g, osv_real *dy, const osv_real *dx, const osv_real *y,
                                    const osv_weight *w, int rows)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    if (!w->data) return dx;
    OP(rmsnorm_dx, dy, dx, y, w, c->norm_offset, c->norm_eps, rows);
    return dy;
}

void osv_block_dx(const osv_engine *g, const osv_device_pass *p, int l, const osv_activations *a)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    const osv_shard *sh = &g->model->shard;
    const osv_block *w = &g->model->block[l];
    const osv_scratch *t = &p->scratch;
    osv_worklist work = osv_block_work(p, l, c->N);
    osv_attention attention = osv_model_attention(g->model, l);
    int T = osv_rows(p, l), Q = osv_queries(p, l, c->N), D = c->D, E = c->E;
    bool narrow = l == c->N - 1 && p->narrow;
    osv_real *dx = narrow ? t->dxq : t->dx;
    const osv_real *rope = g->rope[c->block_rope[l]], *dy;
    BEGIN("block", l);

    /* ffn */
    dy = post_norm_dx(g, t->dy, dx, a->ffn_y, &w->ffn_post_norm, Q);
    OP(matmul_dx, t->ds, IN(dy), W(&w->down), 1, Q);
    OP(glu_dx, a->gate, a->up, t->ds, a->gate, a->up, c->activation, (size_t)Q * (size_t)sh->F);
    OP(matmul_dx, t->dh, IN(a->gate, a->up), W(&w->gate, &w->up), 2, Q);
    sum_over_ranks_dx(g, t->dh, Q);
    pre_norm_dx(g, t->dh, t->dh, a->x_mid, &w->ffn_norm, Q);
    OP(residual_add, dx, dx, t->dh, NULL, D, Q);

    /* attention */
    dy = post_norm_dx(g, t->dy, dx, a->attn_y, &w->attention_post_norm, Q);
    OP(matmul_dx, t->da, IN(dy), W(&w->out), 1, Q);
    OP(attention_dx, t->dq, t->dk, t->dv, t->delta, t->da, a->q, a->k, a->v, a->attn, a->lse, &work,
       &attention);
    OP(rope, t->dq, work.pos, rope, sh->H, E, c->rot, -1, Q);
    OP(rope, t->dk, p->work.pos, rope, sh->K, E, c->rot, -1, T);
    qk_norms_dx(g, t, a, w, T, Q);
    if (narrow) {
        OP(matmul_dx, t->dh, IN(t->dk, t->dv), W(&w->k, &w->v), 2, T);
        OP(matmul_dx, t->dy, IN(t->dq), W(&w->q), 1, Q);
        OP(residual_add, t->dh, t->dh, t->dy, p->scored, D, Q);
    } else {
        OP(matmul_dx, t->dh, IN(t->dq, t->dk, t->dv), W(&w->q, &w->k, &w->v), 3, T);
    }
    sum_over_ranks_dx(g, t->dh, T);
    if (narrow) {
        pre_norm_dx(g, t->dx, t->dh, a->x, &w->attention_norm, T);
        OP(residual_add, t->dx, t->dx, t->dxq, p->scored, D, Q);
    } else {
        pre_norm_dx(g, t->dh, t->dh, a->x, &w->attention_norm, T);
        OP(residual_add, t->dx, t->dx, t->dh, NULL, D, T);
    }
    END("block", l);
}

void osv_head_dx(const osv_engine *g, const osv_device_pass *p, const osv_real *w)
{
    osv_ops *o = g->ops;
    const osv_model *m = g->model;
    const osv_config *c = &m->config;
    const osv_scratch *t = &p->scratch;
    int R = p->host->R, T = p->host->T;
    BEGIN("head", -1);

    const osv_distributions *d = &p->distributions;
    if (d->K > 0) OP(kl_dx, t->kl_dz, t->z, t->max, t->kl_sum, w + p->scores.S, d, m->shard.V);
    OP(score_dx, t->z, t->max, t->sum, w, &p->scores, m->shard.V);
    if (d->K > 0) OP(residual_add, t->z, t->z, t->kl_dz, d->row, m->shard.V, d->rows);
    OP(matmul_dx, t->dxq, IN(t->z), W(&m->head), 1, R);
    sum_over_ranks_dx(g, t->dxq, R);
    if (c->logit_scale != 1) OP(scale, t->dxq, c->logit_scale, (size_t)R * (size_t)c->D);
    OP(rmsnorm_dx, t->dxq, t->dxq, t->x_final, &m->final_norm, c->norm_offset, c->norm_eps, R);
    if (!p->narrow) {
        OP(zero, t->dx, (size_t)T * (size_t)c->D * sizeof *t->dx);
        OP(scatter_rows, t->dx, t->dxq, p->scored, c->D, R);
    }
    END("head", -1);
}

void osv_backward(osv_step *s, const osv_real *p, osv_real *dp)
{
    const osv_engine *g = &s->engine;
    osv_ops *o = g->ops;
    const osv_buffers *b = &s->buffer;
    BEGIN("backward", -1);

    osv_head_dx(g, &b->live, b->w);
    for (int l = s->batch->end_block - 1; l >= s->batch->first_block; l--) {
        osv_distance_dx(s, l + 1);
        if (osv_recomputed(s->batch, &s->on, l)) osv_block_forward(g, &b->live, l, &b->block[l], NULL);
        osv_block_dx(g, &b->live, l, &b->block[l]);
        osv_steer_dx(s, dp, p, l);
    }
    osv_steer_sum(s, dp);
    END("backward", -1);
}
