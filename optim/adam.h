/* The parameters of a job's next step, for osv_ops.adam and its like. */
#ifndef OSV_OPTIM_ADAM_H
#define OSV_OPTIM_ADAM_H

#include "kernels/ops.h"
#include "optim/job.h"

/* Of a row of the job's parameters in step number `step`, from 1. A job that has ended rests: its parameters
 * stay; so does an offset at any time. */
osv_adam_params osv_adam_step(const osv_job *job, int row, int step, bool rests);

/* The same for the multipliers of completions with a bound, for osv_ops.multipliers. */
osv_adam_params osv_multiplier_params(const osv_job *job, int step, bool rests);

#endif
