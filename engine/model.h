/* The weights of a model, in the order in which forward meets them. All weights are this rank's slices
 * (engine/shard.h). The memory behind them belongs to whoever filled the struct (the loader's mapped files,
 * or a test); osv_model_free releases only `block`. */
#ifndef OSV_ENGINE_MODEL_H
#define OSV_ENGINE_MODEL_H

#include "engine/config.h"
#include "engine/shard.h"

/* Sizes in the comments are of one rank that holds everything. Absent weights have data == NULL. */
typedef struct {
    osv_weight attention_norm;         /* [1, D]    before attention (pre_norms) */
    osv_weight q, k, v;                /* [H E, D] [K E, D] [K E, D] */
    osv_weight q_bias, k_bias, v_bias; /* [1, H E] ... */
    osv_weight q_norm, k_norm;         /* [1, E], or [1, H E] and [1, K E] (qk_norm) */
    osv_weight out;                    /* [D, H E] */
    osv_weight out_bias;               /* [1, D] */
    osv_weight attention_post_norm;    /* [1, D]    on attention's output (post_norms) */
    osv_weight ffn_norm;               /* [1, D]    before the ffn (pre_norms) */
    osv_weight gate, up, down;         /* [F, D] [F, D] [D, F] */
    osv_weight gate_bias, up_bias, down_bias;
    osv_weight ffn_post_norm; /* [1, D] */
} osv_block;

typedef struct {
    osv_config config;
    osv_shard shard;
    osv_weight embed;      /* [V, D] */
    osv_block *block;      /* [N] */
    osv_weight final_norm; /* [1, D] */
    osv_weight head;       /* [V, D]; the same memory as embed where tied */
} osv_model;

int osv_model_alloc(osv_model *m, const osv_config *config, const osv_shard *shard, osv_error *e);
void osv_model_free(osv_model *m);

/* Sets the shape and format of every weight that the config calls for, of this rank; data is not NULL, but
 * nothing to be read: for plans. `format` is that of matrices, vectors are OSV_F32. */
void osv_model_shapes(osv_model *m, osv_format format);

/* Calls f for every weight of the model, in the order in which forward meets them; a tied head is no weight
 * of its own. */
void osv_model_each(osv_model *m, void (*f)(void *context, osv_weight *w), void *context);

/* Makes every weight usable by the filling (osv_ops.place); a tied head is placed once. */
int osv_model_place(osv_model *m, osv_ops *o);

/* Attention of block l, with this rank's heads. */
osv_attention osv_model_attention(const osv_model *m, int l);
/* The norms of queries and of keys, where whole rows of them are normed (OSV_QK_NORM_WIDTH). */
void osv_model_qk_norms(osv_split_norm *q, osv_split_norm *k, const osv_model *m);

#endif
