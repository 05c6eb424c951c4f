/* The second phase of a job: its vector is made as short as its losses allow. What is optimized then is
 *
 *     |v| + |left^T right|_F     where each completion's loss is at most min(its target, what it was) + eps
 *
 * by multipliers (osv_multiplier in kernels/ops.h; Platt & Barr 1988) and Adamax. It begins where bins are
 * packed anew, with the vector that the first phase kept, so it does not depend on when its end was noticed.
 * On its way losses swing around their bounds; the shortest vector with none above is kept, or the first
 * phase's where there is none. */
#ifndef OSV_OPTIM_PHASE_H
#define OSV_OPTIM_PHASE_H

#include "optim/job.h"
#include "optim/state.h"

/* The first phase has ended, and the job goes on. */
bool osv_phase_follows(const osv_job *job, const osv_job_state *state);

/* Begins it: `state` as the first phase has left it, with what is kept. */
void osv_phase_begin(osv_job_state *state, const osv_job *job, int D);

/* The job as it is trained in the second phase; goal [completions] is filled and belongs to it. */
osv_job osv_phase_job(const osv_job *job, const osv_job_state *state, osv_goal *goal);

/* The measured vector, of this size (|v| + |left^T right|_F), is better than the one that is kept. */
bool osv_phase_improves(const osv_job *job, const osv_job_state *state, const double *losses, double size);

/* It has ended, at a measurement after `iter` steps. */
bool osv_phase_ends(const osv_job *job, const osv_job_state *state, int iter, double size);

#endif
