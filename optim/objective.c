#include "optim/objective.h"

#include <math.h>

void osv_objective_of(const osv_job *job, int completion, double *scale, double *target)
{
    const osv_job_options *o = &job->options;
    const osv_sequence *s = &job->sequence[completion];
    *scale = o->length_norm ? 1.0 / (s->count - s->prompt) : 1.0;
    *target = NAN;
    if (o->satisfice) *target = isnan(job->target[completion]) ? o->target_loss : job->target[completion];
}
