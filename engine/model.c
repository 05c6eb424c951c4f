#include "engine/model.h"

#include <stdlib.h>

int osv_model_alloc(osv_model *m, const osv_config *config, const osv_shard *shard, osv_error *e)
{
    *m = (osv_model){.config = *config, .shard = *shard};
    m->block = calloc((size_t)config->N, sizeof *m->block);
    if (!m->block) return OSV_FAIL(e, OSV_DEVICE, "no memory for the table of %d blocks", config->N);
    return OSV_OK;
}

void osv_model_free(osv_model *m)
{
    free(m->block);
    m->block = NULL;
}

static void each_of_block(osv_block *b, void (*f)(void *context, osv_weight *w), void *context)
{
    osv_weight *const all[] = {&b->attention_norm, &b->q,      &b->k,         &b->v,
                               &b->q_bias,         &b->k_bias, &b->v_bias,    &b->q_norm,
                               &b->k_norm,         &b->out,    &b->out_bias,  &b->attention_post_norm,
                               &b->ffn_norm,       &b->gate,   &b->up,        &b->gate_bias,
                               &b->up_bias,        &b->down,   &b->down_bias, &b->ffn_post_norm};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->data) f(context, all[i]);
}

void osv_model_each(osv_model *m, void (*f)(void *context, osv_weight *w), void *context)
{
    bool tied = m->head.data == m->embed.data;
    f(context, &m->embed);
    for (int l = 0; l < m->config.N; l++) each_of_block(&m->block[l], f, context);
    f(context, &m->final_norm);
    if (tied)
        m->head = m->embed; /* the largest weight: twice its memory would be a waste */
    else
        f(context, &m->head);
}

static void place(void *context, osv_weight *w)
{
    osv_ops *o = context;
    o->place(o, w);
}

int osv_model_place(osv_model *m, osv_ops *o)
{
    osv_model_each(m, place, o);
    return osv_ops_status(o);
}

void osv_model_shapes(osv_model *m, osv_format format)
{
    static const char nothing;
    const osv_config *c = &m->config;
    const osv_shard *s = &m->shard;
    int D = c->D, F = s->F, HE = s->H * c->E, KE = s->K * c->E;
    bool by_head = c->qk_norm == OSV_QK_NORM_HEAD;
#define MATRIX(rows, cols)    (osv_weight){&nothing, format, rows, cols}
#define VECTOR(present, cols) ((present) ? (osv_weight){&nothing, OSV_F32, 1, cols} : (osv_weight){0})
    m->embed = MATRIX(s->V, D);
    for (int l = 0; l < c->N; l++)
        m->block[l] = (osv_block){.attention_norm = VECTOR(c->pre_norms, D),
                                  .q = MATRIX(HE, D),
                                  .k = MATRIX(KE, D),
                                  .v = MATRIX(KE, D),
                                  .q_bias = VECTOR(c->qkv_bias, HE),
                                  .k_bias = VECTOR(c->qkv_bias, KE),
                                  .v_bias = VECTOR(c->qkv_bias, KE),
                                  .q_norm = VECTOR(c->qk_norm, by_head ? c->E : HE),
                                  .k_norm = VECTOR(c->qk_norm, by_head ? c->E : KE),
                                  .out = MATRIX(D, HE),
                                  .out_bias = VECTOR(c->out_bias, D),
                                  .attention_post_norm = VECTOR(c->post_norms, D),
                                  .ffn_norm = VECTOR(c->pre_norms, D),
                                  .gate = MATRIX(F, D),
                                  .up = MATRIX(F, D),
                                  .down = MATRIX(D, F),
                                  .gate_bias = VECTOR(c->mlp_bias, F),
                                  .up_bias = VECTOR(c->mlp_bias, F),
                                  .down_bias = VECTOR(c->mlp_bias, D),
                                  .ffn_post_norm = VECTOR(c->post_norms, D)};
    m->final_norm = VECTOR(true, D);
    m->head = MATRIX(s->V, D);
    if (!c->tied) m->head.data = &nothing + 1; /* another one */
#undef MATRIX
#undef VECTOR
}

osv_attention osv_model_attention(const osv_model *m, int l)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    return (osv_attention){
        .heads = {.H = sh->H, .K = sh->K, .E = c->E, .first = sh->head0, .group = c->H / c->K},
        .scale = c->query_scale,
        .softcap = c->attention_softcap,
        .window = c->window[l],
    };
}

void osv_model_qk_norms(osv_split_norm *q, osv_split_norm *k, const osv_model *m)
{
    const osv_config *c = &m->config;
    *q = (osv_split_norm){.width = c->H * c->E, .offset = c->norm_offset, .eps = c->norm_eps};
    *k = *q;
    k->width = c->K * c->E;
    k->first = m->shard.kv_twice * c->E;
}
