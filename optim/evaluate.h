/* What the completions' losses are, and how likely they are, with and without vectors. */
#ifndef OSV_OPTIM_EVALUATE_H
#define OSV_OPTIM_EVALUATE_H

#include "optim/train.h"

/* logprob: ln P(completion | prompt) at each job's coldness, for all completions job by job; of those that
 * match distributions minus the divergence from them, in nats, summed over the tokens; NaN of those of which
 * no token is scored. vector [jobs]: each [D] on the host, or NULL: not steered. The whole table may be NULL:
 * no job is steered. */
int osv_evaluate(const osv_training *t, const osv_real *const *vector, double *logprob);

/* loss: what training measures of each completion, at its job's coldness and eps and with its length norm.
 * Otherwise as osv_evaluate. */
int osv_evaluate_losses(const osv_training *t, const osv_real *const *vector, double *loss);

#endif
