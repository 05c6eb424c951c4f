/* What the vectors of jobs cost by themselves, beside the losses: osv_ops.penalty, and what it is given. */
#ifndef OSV_OPTIM_PENALTY_H
#define OSV_OPTIM_PENALTY_H

#include "engine/batch.h"
#include "engine/bump.h"
#include "optim/job.h"

/* Of the jobs of a batch; device memory. */
typedef struct {
    int J, rows;
    osv_penalty *penalty; /* [J] */
    osv_real *cost;       /* [J]; 0 where there is nothing to compute */
    osv_real *gram;
    bool any; /* else there is nothing to compute */
} osv_penalties;

/* Takes memory for the penalties of a batch of the jobs all[job[0]] .. all[job[J - 1]], and uploads them
 * where the bump has ops; then waits. */
void osv_penalties_place(osv_penalties *out, osv_bump *memory, const osv_batch *batch, const osv_job *all,
                         const int *job, int J);
/* Enqueues: dp += the gradient of the penalties at p. */
void osv_penalties_run(const osv_penalties *c, osv_ops *o, osv_real *dp, const osv_real *p, int D);

#endif
