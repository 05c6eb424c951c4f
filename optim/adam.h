/* The parameters of a job's next step, for osv_ops.adam. */
#ifndef OSV_OPTIM_ADAM_H
#define OSV_OPTIM_ADAM_H

#include "kernels/ops.h"
#include "optim/job.h"

/* Step number `step`, from 1. A job that has ended rests: its vector stays. */
osv_adam_params osv_adam_step(const osv_job_options *o, int step, bool rests);

#endif
