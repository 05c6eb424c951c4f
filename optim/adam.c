#include "optim/adam.h"

#include <math.h>

osv_adam_params osv_adam_step(const osv_job_options *o, int step, bool rests)
{
    osv_real beta1 = (osv_real)o->beta1,
             beta2 = (osv_real)o->beta2; /* the corrections are those of the rounded betas */
    return (osv_adam_params){
        .lr = (osv_real)(rests ? 0 : o->lr),
        .beta1 = beta1,
        .beta2 = beta2,
        .eps = (osv_real)o->adam_eps,
        .correction1 = (osv_real)(1 - pow((double)beta1, step)),
        .correction2 = (osv_real)(1 - pow((double)beta2, step)),
        .max_norm = (osv_real)(rests ? -1 : o->max_norm),
    };
}
