/* Losses -> what is optimized. The device op (osv_ops.objective) does the arithmetic; here stands what it is
 * given. */
#ifndef OSV_OPTIM_OBJECTIVE_H
#define OSV_OPTIM_OBJECTIVE_H

#include "optim/job.h"

/* Of one completion: its loss is scale * sum of its tokens' losses; target as in osv_objective, NaN: the loss
 * itself is optimized. */
void osv_objective_of(const osv_job *job, int completion, double *scale, double *target);

#endif
