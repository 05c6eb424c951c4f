#include "optim/adam.h"

#include <math.h>

osv_adam_params osv_adam_step(const osv_job_options *o, int step, bool rests)
{
    return (osv_adam_params){
        .lr = (osv_real)(rests ? 0 : o->lr),
        .beta1 = (osv_real)o->beta1,
        .beta2 = (osv_real)o->beta2,
        .eps = (osv_real)o->adam_eps,
        .correction1 = (osv_real)(1 - pow(o->beta1, step)),
        .correction2 = (osv_real)(1 - pow(o->beta2, step)),
        .max_norm = (osv_real)(rests ? -1 : o->max_norm),
    };
}
