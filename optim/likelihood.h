/* How likely given continuations are, under any vectors in use: ln P of the tokens that follow a prompt.
 * Knows no tokenizer.
 *
 * Everything is one pass over the forest of the texts; nothing is written, so nothing is decoded. */
#ifndef OSV_OPTIM_LIKELIHOOD_H
#define OSV_OPTIM_LIKELIHOOD_H

#include "engine/decode.h"

typedef struct {
    int count, prompt;     /* tokens of prompt and continuation, tokens of the prompt; 1 <= prompt < count */
    const int *ids;        /* [count] */
    const uint32_t *steer; /* [count] bit i: vector i enters at this token */
} osv_continuation;

typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    const osv_model *model; /* placed */
    const osv_steering *steering;
    int steerings;
    int most_rows; /* rows of logits in one pass; 0: what fits into 256 MB */
} osv_likelihood;

/* logprob [continuations]: sum of the natural logarithms, at temperature 1. What it is packed with does not
 * matter. */
int osv_likelihood_of(const osv_likelihood *l, const osv_continuation *continuation, int continuations,
                      double *logprob);

/* logp [places, V]: ln of the distributions that the continuations' tokens are drawn from, P =
 * softmax(coldness z), token by token; a place is a token behind its prompt. Of a sharded vocabulary only
 * this rank's columns are written. */
int osv_distributions_of(const osv_likelihood *l, const osv_continuation *continuation, int continuations,
                         double coldness, osv_real *logp);

#endif
