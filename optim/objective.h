/* Losses -> what is optimized. The device op (osv_ops.objective) does the arithmetic; here stands what it is
 * given. */
#ifndef OSV_OPTIM_OBJECTIVE_H
#define OSV_OPTIM_OBJECTIVE_H

#include "engine/batch.h"
#include "engine/bump.h"
#include "optim/job.h"

/* Of one completion, as in osv_objective. */
typedef struct {
    double scale, weight, target, beta, reference, bound;
    int partner; /* of the same job; -1: none */
} osv_terms;

osv_terms osv_terms_of(const osv_job *job, int completion);

/* Its weight in the step that follows `steps` others: osv_terms.weight, but of goals with a sign. */
double osv_weight_of(const osv_job *job, int completion, int steps);

/* Takes memory for the objective of a batch of the jobs all[job[0]] .. all[job[J - 1]] (job NULL: all[0] ..
 * all[J - 1]), and uploads it where the bump has ops; then waits. */
void osv_objective_place(osv_objective *out, osv_bump *memory, const osv_batch *batch, const osv_job *all,
                         const int *job, int J);

#endif
