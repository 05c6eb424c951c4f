/* Beam search: the most likely continuations of prompts by the unsteered model, token by token. Knows no
 * tokenizer: what is found are ids.
 *
 * All beams of all prompts go forward together, one pass a token; what a search finds does not depend on what
 * it is packed with. */
#ifndef OSV_OPTIM_BEAM_H
#define OSV_OPTIM_BEAM_H

#include "engine/decode.h"

typedef struct {
    int count;      /* tokens of the prompt */
    const int *ids; /* [count] */
    int minus;      /* tokens of a second prompt; 0: none. Else continuations are ranked by the difference of
                       their probabilities under the first and the second one */
    const int *minus_ids; /* [minus] */
} osv_beam_prompt;

/* What continuations are ranked by: the probability of all their tokens, or of the last one alone, given
 * those before, as the reference library does by default. */
typedef enum { OSV_BEAM_TOTAL, OSV_BEAM_LAST } osv_beam_rank;

typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    const osv_model *model; /* placed */
    int width, tokens;      /* beams that are followed, tokens of a continuation at most; both 1 or more */
    osv_beam_rank rank;
    const int *stop; /* [stops] with one of these a continuation ends; it is its last token */
    int stops;
    int most_tokens; /* of one pass, prompts and continuations; 0: 4096 */
} osv_beam_search;

/* A continuation, owned by the caller. */
typedef struct {
    int count;
    int *ids;       /* [tokens] room */
    double logprob; /* ln P under the first prompt, at temperature 1 */
} osv_beam;

/* found [prompts]: the best continuation of each. Among equals the one with the lowest ids is the better. */
int osv_beam_find(const osv_beam_search *b, const osv_beam_prompt *prompt, int prompts, osv_beam *found);

#endif
