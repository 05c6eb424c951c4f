/* One completion under its prompt, as plain ids and masks: what the loader hands to the engine. Pointers
 * belong to the caller and must live as long as the batch is being built. */
#ifndef OSV_ENGINE_SEQUENCE_H
#define OSV_ENGINE_SEQUENCE_H

#include "kernels/ops.h"

typedef struct {
    int job;                  /* index of the job whose vector steers it */
    int count;                /* tokens of prompt and completion */
    int prompt;               /* tokens of the prompt: ids[prompt .. count) are scored; 1 <= prompt < count */
    const int *ids;           /* [count] */
    const signed char *steer; /* [count] +1 or -1: the job's vector enters here with this sign; 0: not */
    osv_score_kind kind;
    const osv_real *const *logp; /* NULL, or [count - prompt] each [V], ln of the distributions that the
                                    scored tokens' predictions are to match, instead of what `kind` says */
    bool reverse;                /* KL(P || p) instead of KL(p || P) */
    int target_layer; /* 0, or a block above all that the job steers: no token is scored (prompt may be
                         count), but what enters this block at ids[prompt - 1] and every later one is held
                         against what does without the vector */
} osv_sequence;

/* Tokens at which something is computed: nothing depends on the last one, where tokens are scored. */
static inline int osv_sequence_tokens(const osv_sequence *s)
{
    return s->target_layer > 0 ? s->count : s->count - 1;
}

/* Losses: one at ids[prompt - 1], of the token or the row there, and at each one behind it that is computed.
 */
static inline int osv_sequence_losses(const osv_sequence *s)
{
    return osv_sequence_tokens(s) - s->prompt + 1;
}

#endif
