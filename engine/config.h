/* The architecture of a model as plain fields. Families differ in values, never in code: nothing in the
 * engine knows a name. Filled by the loader; read-only afterwards. */
#ifndef OSV_ENGINE_CONFIG_H
#define OSV_ENGINE_CONFIG_H

#include <stdbool.h>

#include "kernels/ops.h"

enum { OSV_MAX_BLOCKS = 512, OSV_MAX_ROPES = 2, OSV_MAX_PAIRS = 256 };

/* Frequencies theta^(-2i/rot) of rotary embeddings, and how they are stretched: engine/rope.c. */
typedef enum {
    OSV_ROPE_DEFAULT,
    OSV_ROPE_LINEAR,
    OSV_ROPE_LLAMA3,
    OSV_ROPE_YARN,
    OSV_ROPE_LONGROPE
} osv_rope_kind;

typedef struct {
    osv_rope_kind kind;
    double theta;
    double scale;                /* of cosines and sines (the files' attention_factor); 1 */
    double factor;               /* linear, llama3, yarn */
    double original;             /* llama3, yarn, longrope: positions that the model was first trained on */
    double low_freq, high_freq;  /* llama3: wave lengths original / low_freq and original / high_freq bound
                                    the smooth part */
    double beta_fast, beta_slow; /* yarn: turns within `original` that bound the smooth part ... */
    bool truncate;               /* ... and whether its ends are rounded outwards to whole pairs */
    double short_factor[OSV_MAX_PAIRS], long_factor[OSV_MAX_PAIRS]; /* longrope: [rot / 2] */
    bool use_long; /* longrope: the run has sequences longer than `original`; set by osv_rope_fit */
} osv_rope;

/* RMSNorm of queries and keys before they are rotated: none, each head by itself with weights that all heads
 * share, or all heads as one row. */
typedef enum { OSV_QK_NORM_NONE, OSV_QK_NORM_HEAD, OSV_QK_NORM_WIDTH } osv_qk_norm;

typedef struct {
    int N, D, F, H, K, E, V; /* blocks, width, ffn width, query heads, kv heads, head dim, vocabulary */
    int positions;           /* longest sequence the model was made for (max_position_embeddings) */

    double norm_eps;
    double norm_offset; /* 0: y = x/rms * w; 1: y = x/rms * (1 + w) */
    bool pre_norms;     /* norms on what attention and ffn read */
    bool post_norms;    /* norms on what attention and ffn add to the residual stream */
    osv_qk_norm qk_norm;
    double embed_scale;     /* multiplies embeddings: 1, sqrt(D), ... */
    bool embed_scale_dtype; /* embed_scale is a number of the run's dtype: rounded to bf16 in bf16 */
    double residual_scale;  /* multiplies what attention and ffn add to the residual stream */
    double logit_scale;     /* multiplies logits, before the soft-cap */
    osv_activation activation;
    double query_scale;         /* multiplies q.k: E^-1/2, or what the file says */
    double attention_softcap;   /* 0: none */
    double final_softcap;       /* 0: none */
    int window[OSV_MAX_BLOCKS]; /* [N] sliding window of each block, the token itself included; 0: full */
    bool qkv_bias, out_bias, mlp_bias;
    int rot; /* rotary components of a head: E, less with partial rotary */
    int ropes;
    osv_rope rope[OSV_MAX_ROPES];   /* [ropes] */
    int block_rope[OSV_MAX_BLOCKS]; /* [N] which of them a block uses */
    bool tied;                      /* the head is the embedding */
    osv_format format;              /* of matrices in the file, as the config says: for plans */

    int bos;         /* -1: none */
    char family[32]; /* model_type as the file says, for messages only */
} osv_config;

#endif
