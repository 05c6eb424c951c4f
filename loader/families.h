/* The families of models whose files are read, as plain facts: what a family's config.json leaves out, and
 * what it cannot say. Defaults are those of the config classes of transformers 5. */
#ifndef OSV_LOADER_FAMILIES_H
#define OSV_LOADER_FAMILIES_H

#include <jansson.h>

#include "engine/config.h"

/* Where a family has biases in attention. */
typedef enum {
    OSV_BIAS_NONE,
    OSV_BIAS_KEY, /* in q, k, v and out, where "attention_bias" says so */
    OSV_BIAS_QKV  /* always in q, k and v, never in out */
} osv_family_bias;

/* Which blocks have the sliding window, where "layer_types" does not list them. */
typedef enum {
    OSV_WINDOW_NONE,
    OSV_WINDOW_ALL,
    OSV_WINDOW_PATTERN, /* all but every pattern-th one */
    OSV_WINDOW_UPPER    /* from max_window_layers on, and only where "use_sliding_window" is true */
} osv_family_window;

typedef struct {
    const char *architecture, *model_type;
    const char *activation_key, *activation;
    bool gelu_is_tanh; /* its files say "gelu" and mean the tanh form */
    double norm_offset, norm_eps;
    bool no_pre_norms, post_norms;
    osv_qk_norm qk_norm;
    bool scaled_embedding; /* by sqrt(D) */
    bool multipliers;      /* Granite's four keys */
    bool tied;             /* where the key is missing */
    osv_family_bias bias;
    bool mlp_bias; /* the family has such biases at all */
    osv_family_window window;
    int pattern;
    bool attention_softcap, final_softcap, query_scalar; /* the family has these keys; defaults below */
    bool local_rope;                                     /* sliding blocks have an embedding of their own */
    bool partial_rope, longrope_only;
    int H, K, E, V, positions, window_size; /* 0: required, or derived from other sizes */
    double attention_cap, final_cap, scalar, theta, original;
} osv_family;

/* The family of a config.json. The keys of a multimodal checkpoint's language model stand under
 * "text_config"; *text is where they are, the object itself elsewhere. Unknown and unsupported models are
 * errors that say why. */
int osv_family_find(const osv_family **f, const json_t **text, const json_t *json, const char *path,
                    osv_error *e);

#endif
