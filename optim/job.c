#include "optim/job.h"

#include <math.h>

#include "optim/random.h"

osv_job_options osv_job_defaults(void)
{
    return (osv_job_options){
        .lr = 0.01,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .adam_eps = 1e-8,
        .max_iters = 100,
        .coldness = 0.7,
        .eps = 1e-6,
        .init_norm = 1,
        .max_norm = -1,
        .target_loss = NAN,
        .target_rule = OSV_TARGET_SUM,
        .target_iters = 1,
        .plateau_eps = 1e-6,
        .plateau_iters = 1,
    };
}

void osv_job_start(osv_real *vector, const osv_job *job, int D)
{
    const osv_job_options *o = &job->options;
    if (!o->init) osv_random_direction(vector, D, o->init_norm, o->seed, job->start ? job->start : job->name);
    for (int i = 0; o->init && i < D; i++) vector[i] = (osv_real)o->init[i];
}

const char *osv_stop_name(osv_stop stop)
{
    static const char *const name[] = {
        [OSV_RUNNING] = "running",      [OSV_STOP_NAN] = "nan",
        [OSV_STOP_TARGET] = "target",   [OSV_STOP_MAX_ITERS] = "max-iters",
        [OSV_STOP_PLATEAU] = "plateau", [OSV_STOP_INTERRUPTED] = "interrupted",
    };
    return name[stop];
}
