/* Steps by gradients around the vector instead of at it: each is the mean over some draws of noise. What is
 * measured and reported is the vector itself. */
#ifndef OSV_OPTIM_NOISE_H
#define OSV_OPTIM_NOISE_H

#include "engine/bump.h"
#include "engine/step.h"
#include "optim/job.h"

/* Draws of the job's noise; 0: it has none. */
int osv_noise_draws(const osv_job *job);
/* Of a row of its parameters, in the step after `steps`. Only v has noise, not a map or an offset. */
osv_noise osv_noise_of(const osv_job *job, int row, int steps);

/* What the passes at the draws need beside those of a bin without noise; device memory. */
typedef struct {
    int draws;            /* the most of a job in the batch; 0: all of this is unused */
    osv_real *q;          /* [P, D] parameters with noise */
    osv_real *dq;         /* [G, D] their gradients */
    osv_real *mean;       /* [P, D] over the draws; of a row without noise the gradient at it */
    osv_real *completion; /* [C] losses at q, which nobody asks for */
} osv_noisy;

void osv_noisy_place(osv_noisy *n, osv_bump *memory, const osv_batch *batch, int draws, int D);

/* The passes; dp: the gradients at p. */
void osv_noisy_run(const osv_noisy *n, osv_step *step, const osv_real *p, const osv_real *dp,
                   const osv_noise *noise, const osv_objective *objective);

#endif
