#include "optim/adam.h"

#include <math.h>

osv_adam_params osv_adam_step(const osv_job *job, int row, int step, bool rests)
{
    const osv_job_options *o = &job->options;
    osv_row_role role = osv_job_role(job, row);
    double max_norm = role == OSV_ROW_FACTOR ? o->max_affine_norm : o->max_norm;
    rests = rests || role == OSV_ROW_OFFSET;
    osv_real beta1 = (osv_real)o->beta1,
             beta2 = (osv_real)o->beta2; /* the corrections are those of the rounded betas */
    return (osv_adam_params){
        .lr = (osv_real)(rests ? 0 : o->lr),
        .beta1 = beta1,
        .beta2 = beta2,
        .eps = (osv_real)o->adam_eps,
        .correction1 = (osv_real)(1 - pow((double)beta1, step)),
        .correction2 = (osv_real)(1 - pow((double)beta2, step)),
        .max_norm = (osv_real)(rests ? -1 : max_norm),
    };
}
