#include "optim/adam.h"

#include <math.h>

/* The share of lr in step number `step`. The schedule begins when it has risen, and reaches 0 where a step
 * max_iters + 1 would be: the last step still does something. */
static double share(const osv_job_options *o, int step)
{
    if (step <= o->warmup) return (double)step / o->warmup;
    int steps = o->max_iters - o->warmup;
    double done = steps > 0 ? (double)(step - 1 - o->warmup) / steps : 0;
    if (done > 1) done = 1;
    switch (o->schedule) {
    case OSV_LR_LINEAR: return 1 - done;
    case OSV_LR_COSINE: return 0.5 * (1 + cos(3.14159265358979323846 * done)); /* Loshchilov & Hutter 2017 */
    case OSV_LR_CONSTANT: break;
    }
    return 1;
}

/* A step with the learning rate lr; 0: none. */
static osv_adam_params make_step(const osv_job_options *o, double lr, double max_norm, int step)
{
    osv_real beta1 = (osv_real)o->beta1,
             beta2 = (osv_real)o->beta2; /* the corrections are those of the rounded betas */
    return (osv_adam_params){
        .lr = (osv_real)lr,
        .beta1 = beta1,
        .beta2 = beta2,
        .eps = (osv_real)o->adam_eps,
        .correction1 = (osv_real)(1 - pow((double)beta1, step)),
        .correction2 = (osv_real)(1 - pow((double)beta2, step)),
        .max_norm = (osv_real)max_norm,
        .adamax = o->adamax,
    };
}

osv_adam_params osv_adam_step(const osv_job *job, int row, int step, bool rests)
{
    const osv_job_options *o = &job->options;
    osv_row_role role = osv_job_role(job, row);
    double max_norm = role == OSV_ROW_FACTOR ? o->max_affine_norm : o->max_norm;
    rests = rests || role == OSV_ROW_OFFSET;
    return make_step(o, rests ? 0 : o->lr * share(o, step), rests ? -1 : max_norm, step);
}

osv_adam_params osv_multiplier_params(const osv_job *job, int step, bool rests)
{
    const osv_job_options *o = &job->options;
    return make_step(o, rests ? 0 : o->bound_lr, -1, step);
}
