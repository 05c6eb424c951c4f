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

static void place(osv_ops *o, osv_weight *w)
{
    if (w->data) o->place(o, w);
}

static void place_block(osv_ops *o, osv_block *b)
{
    place(o, &b->attention_norm);
    place(o, &b->q);
    place(o, &b->k);
    place(o, &b->v);
    place(o, &b->q_bias);
    place(o, &b->k_bias);
    place(o, &b->v_bias);
    place(o, &b->out);
    place(o, &b->out_bias);
    place(o, &b->attention_post_norm);
    place(o, &b->ffn_norm);
    place(o, &b->gate);
    place(o, &b->up);
    place(o, &b->down);
    place(o, &b->gate_bias);
    place(o, &b->up_bias);
    place(o, &b->down_bias);
    place(o, &b->ffn_post_norm);
}

int osv_model_place(osv_model *m, osv_ops *o)
{
    bool tied = m->head.data == m->embed.data;
    place(o, &m->embed);
    for (int l = 0; l < m->config.N; l++) place_block(o, &m->block[l]);
    place(o, &m->final_norm);
    if (tied)
        m->head = m->embed; /* the largest weight: twice its memory would be a waste */
    else
        place(o, &m->head);
    return osv_ops_status(o);
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
