/* The architecture of a model as plain fields. Families differ in values, never in code: nothing in the
 * engine knows a name. Filled by the loader; read-only afterwards. */
#ifndef OSV_ENGINE_CONFIG_H
#define OSV_ENGINE_CONFIG_H

#include <stdbool.h>

#include "kernels/ops.h"

enum { OSV_MAX_BLOCKS = 512 };

/* Frequencies theta^(-2i/rot) of rotary embeddings, and how they are stretched. */
typedef enum { OSV_ROPE_DEFAULT, OSV_ROPE_LINEAR, OSV_ROPE_LLAMA3 } osv_rope_kind;

typedef struct {
    osv_rope_kind kind;
    double theta;
    double factor;              /* linear, llama3 */
    double low_freq, high_freq; /* llama3: wave lengths original / low_freq and original / high_freq bound the
                                   smooth part */
    double original;            /* llama3: positions that the model was first trained on */
} osv_rope;

typedef struct {
    int N, D, F, H, K, E, V; /* blocks, width, ffn width, query heads, kv heads, head dim, vocabulary */
    int positions;           /* longest sequence the model was made for (max_position_embeddings) */

    double norm_eps;
    double norm_offset; /* 0: y = x/rms * w; 1: y = x/rms * (1 + w) */
    bool post_norms;    /* norms on what attention and ffn add to the residual stream */
    double embed_scale; /* 1, or sqrt(D) */
    osv_activation activation;
    double query_scale;         /* multiplies q.k: E^-1/2, or query_pre_attn_scalar^-1/2 */
    double attention_softcap;   /* 0: none */
    double final_softcap;       /* 0: none */
    int window[OSV_MAX_BLOCKS]; /* [N] sliding window of each block, the token itself included; 0: full */
    bool qkv_bias, out_bias, mlp_bias;
    int rot; /* rotary components of a head: E, less with partial rotary */
    osv_rope rope;
    bool tied;         /* the head is the embedding */
    osv_format format; /* of matrices in the file, as the config says: for plans */

    int bos;         /* -1: none */
    char family[32]; /* model_type as the file says, for messages only */
} osv_config;

#endif
