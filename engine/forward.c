/* The forward pass: blocks from the first start layer to the last one needed, then the head at scored
 * positions. */
#include "engine/maths.h"
#include "engine/step.h"

/* The bias of a product whose outputs are split over ranks, where the model has one. */
static void add_bias(osv_ops *o, osv_real *y, const osv_weight *bias, int rows)
{
    if (bias->data) OP(bias, y, bias, rows);
}

/* y is this rank's share of a sum; afterwards it is whole, with the bias added once. */
static void sum_over_ranks(const osv_engine *g, osv_real *y, const osv_weight *bias, int rows)
{
    osv_ops *o = g->ops;
    ACROSS(all_reduce, y, (size_t)rows * (size_t)g->model->config.D, OSV_SUM);
    add_bias(o, y, bias, rows);
}

/* What attention and ffn read: x normed (written to `normed`), or x itself where the model has no such norm.
 */
static const osv_real *pre_norm(const osv_engine *g, osv_real *normed, const osv_real *x, const osv_weight *w,
                                int rows)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    if (!w->data) return x;
    OP(rmsnorm, normed, x, w, c->norm_offset, c->norm_eps, rows);
    return normed;
}

/* What is added to the residual stream: y, or its post-norm (written to `normed`) where the model has one;
 * scaled where the model does that. */
static const osv_real *post_norm(const osv_engine *g, osv_real *normed, osv_real *y, const osv_weight *w,
                                 int rows)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    if (w->data) {
        OP(rmsnorm, normed, y, w, c->norm_offset, c->norm_eps, rows);
        y = normed;
    }
    if (c->residual_scale != 1) OP(scale, y, c->residual_scale, (size_t)rows * (size_t)c->D);
    return y;
}

/* Queries and keys -> normed, head by head or all of a row together. */
static void qk_norms(const osv_engine *g, const osv_activations *a, osv_real *k, const osv_real *raw_q,
                     const osv_real *raw_k, const osv_block *w, int T, int Q)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    const osv_shard *sh = &g->model->shard;
    osv_split_norm q_norm, k_norm;
    switch (c->qk_norm) {
    case OSV_QK_NORM_NONE: break;
    case OSV_QK_NORM_HEAD:
        OP(rmsnorm, k, raw_k, &w->k_norm, c->norm_offset, c->norm_eps, T * sh->K);
        OP(rmsnorm, a->q, raw_q, &w->q_norm, c->norm_offset, c->norm_eps, Q * sh->H);
        break;
    case OSV_QK_NORM_WIDTH:
        osv_model_qk_norms(&q_norm, &k_norm, g->model);
        OP(rmsnorm_sum, a->qk_sum, raw_k, &k_norm, sh->K * c->E, T);
        OP(rmsnorm_sum, a->qk_sum + T, raw_q, &q_norm, sh->H * c->E, Q);
        ACROSS(all_reduce, a->qk_sum, (size_t)T + (size_t)Q, OSV_SUM);
        OP(rmsnorm_split, k, raw_k, a->qk_sum, &w->k_norm, &k_norm, T);
        OP(rmsnorm_split, a->q, raw_q, a->qk_sum + T, &w->q_norm, &q_norm, Q);
        break;
    }
}

void osv_embed(const osv_engine *g, const osv_device_pass *p, osv_real *x)
{
    osv_ops *o = g->ops;
    const osv_config *c = &g->model->config;
    int T = p->host->T;
    double scale = c->embed_scale_dtype ? osv_dtype_round(o->dtype, c->embed_scale) : c->embed_scale;
    OP(embed, x, p->id, &g->model->embed, g->model->shard.vocab0, scale, T);
    ACROSS(all_reduce, x, (size_t)T * (size_t)c->D, OSV_SUM);
}

void osv_block_forward(const osv_engine *g, const osv_device_pass *p, int l, const osv_activations *a,
                       osv_real *x_out)
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
    int KE = sh->K * E;
    osv_real *k = p->slots ? t->k : a->k + (size_t)p->slot * (size_t)KE;
    osv_real *v = p->slots ? t->v : a->v + (size_t)p->slot * (size_t)KE;
    osv_real *raw_k = w->k_norm.data ? a->raw_k : k, *raw_q = w->q_norm.data ? a->raw_q : a->q;
    const osv_real *rope = g->rope[c->block_rope[l]], *x = a->x, *h;
    BEGIN("block", l);

    /* attention */
    h = pre_norm(g, t->h, a->x, &w->attention_norm, T);
    if (narrow) {
        OP(matmul, OUT(raw_k, v), h, W(&w->k, &w->v), 2, T);
        OP(gather_rows, t->hq, h, p->scored, D, Q);
        OP(gather_rows, t->xq, a->x, p->scored, D, Q);
        OP(matmul, OUT(raw_q), t->hq, W(&w->q), 1, Q);
        x = t->xq;
    } else {
        OP(matmul, OUT(raw_k, v, raw_q), h, W(&w->k, &w->v, &w->q), 3, T);
    }
    add_bias(o, raw_k, &w->k_bias, T);
    add_bias(o, v, &w->v_bias, T);
    add_bias(o, raw_q, &w->q_bias, Q);
    qk_norms(g, a, k, raw_q, raw_k, w, T, Q);
    OP(rope, k, p->work.pos, rope, sh->K, E, c->rot, +1, T);
    OP(rope, a->q, work.pos, rope, sh->H, E, c->rot, +1, Q);
    if (p->slots) {
        OP(scatter_rows, a->k, k, p->slots, KE, T);
        OP(scatter_rows, a->v, v, p->slots, KE, T);
    }
    OP(attention, a->attn, a->lse, a->q, a->k, a->v, &work, &attention);
    OP(matmul, OUT(a->attn_y), a->attn, W(&w->out), 1, Q);
    sum_over_ranks(g, a->attn_y, &w->out_bias, Q);
    OP(residual_add, a->x_mid, x, post_norm(g, t->h, a->attn_y, &w->attention_post_norm, Q), NULL, D, Q);

    /* ffn */
    h = pre_norm(g, t->h, a->x_mid, &w->ffn_norm, Q);
    OP(matmul, OUT(a->gate, a->up), h, W(&w->gate, &w->up), 2, Q);
    add_bias(o, a->gate, &w->gate_bias, Q);
    add_bias(o, a->up, &w->up_bias, Q);
    if (x_out || w->ffn_post_norm.data) {
        OP(glu, t->glu, a->gate, a->up, c->activation, (size_t)Q * (size_t)sh->F);
        OP(matmul, OUT(a->ffn_y), t->glu, W(&w->down), 1, Q);
        sum_over_ranks(g, a->ffn_y, &w->down_bias, Q);
    }
    if (x_out)
        OP(residual_add, x_out, a->x_mid, post_norm(g, t->h, a->ffn_y, &w->ffn_post_norm, Q), NULL, D, Q);
    END("block", l);
}

void osv_logits(const osv_engine *g, const osv_device_pass *p)
{
    osv_ops *o = g->ops;
    const osv_model *m = g->model;
    const osv_config *c = &m->config;
    const osv_scratch *t = &p->scratch;
    int R = p->host->R;
    BEGIN("logits", -1);

    if (t->x_final != t->x_out) OP(gather_rows, t->x_final, t->x_out, p->scored, c->D, R);
    OP(rmsnorm, t->h_final, t->x_final, &m->final_norm, c->norm_offset, c->norm_eps, R);
    if (c->logit_scale != 1) OP(scale, t->h_final, c->logit_scale, (size_t)R * (size_t)c->D);
    OP(matmul, OUT(t->z), t->h_final, W(&m->head), 1, R);
    if (c->final_softcap > 0) OP(softcap, t->z, c->final_softcap, (size_t)R * (size_t)m->shard.V);
    END("logits", -1);
}

void osv_losses(const osv_engine *g, const osv_device_pass *p, osv_real *loss)
{
    osv_ops *o = g->ops;
    const osv_scratch *t = &p->scratch;
    int R = p->host->R, S = p->scores.S, V = g->model->shard.V;
    BEGIN("losses", -1);

    OP(score_max, t->max, t->z, R, V);
    ACROSS(all_reduce, t->max, (size_t)R, OSV_MAX);
    OP(score_sum, t->sum, t->z, t->max, &p->scores, V);
    ACROSS(all_reduce, t->sum, 2 * (size_t)S, OSV_SUM);
    OP(score, loss, t->sum, &p->scores);
    if (p->distributions.K > 0) {
        OP(kl_sum, t->kl_sum, t->z, t->max, &p->distributions, V);
        ACROSS(all_reduce, t->kl_sum, 2 * (size_t)p->distributions.K, OSV_SUM);
        OP(kl, loss + S, t->kl_sum, &p->distributions);
    }
    END("losses", -1);
}

void osv_forward(osv_step *s, const osv_real *p)
{
    const osv_engine *g = &s->engine;
    osv_ops *o = g->ops;
    const osv_buffers *b = &s->buffer;
    int N = g->model->config.N;
    BEGIN("forward", -1);

    for (int l = s->batch->first_block; l < s->batch->end_block; l++) {
        osv_steer(s, p, l);
        osv_block_forward(g, &b->live, l, &b->block[l],
                          l + 1 < N ? b->block[l + 1].x : b->live.scratch.x_out);
        osv_distance(s, l + 1);
    }
    osv_logits(g, &b->live);
    osv_losses(g, &b->live, b->loss);
    END("forward", -1);
}
