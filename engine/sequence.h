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
} osv_sequence;

#endif
