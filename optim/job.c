#include "optim/job.h"

#include <math.h>

#include "kernels/form.h"
#include "optim/random.h"

const osv_goal osv_goal_plain = {.target = NAN, .weight = 1, .bound = NAN, .partner = -1};

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
        .power = 1,
        .init_norm = 1,
        .max_norm = -1,
        .init_affine_norm = 1,
        .max_affine_norm = 2,
        .bound_lr = 0.1,
        .min_norm_lr = -1,
        .target_loss = NAN,
        .target_rule = OSV_TARGET_SUM,
        .target_iters = 1,
        .plateau_eps = 1e-6,
        .plateau_iters = 1,
        .noise_draws = 1,
    };
}

const char *osv_job_draws(const osv_job *job)
{
    return job->start ? job->start : job->name;
}

int osv_job_vectors(const osv_job *job)
{
    return job->apart ? 1 + job->laters : 1;
}

int osv_job_rows(const osv_job *job)
{
    return osv_form_params(job->form) * osv_job_vectors(job);
}

osv_goal osv_job_goal(const osv_job *job, int completion)
{
    return job->goal ? job->goal[completion] : osv_goal_plain;
}

double osv_job_target(const osv_job *job, int completion)
{
    double own = osv_job_goal(job, completion).target;
    return isnan(own) ? job->options.target_loss : own;
}

bool osv_job_counts(const osv_job *job, int completion)
{
    const osv_goal g = osv_job_goal(job, completion);
    return !g.aside && !(g.partner >= 0 && g.beta < 0);
}

double osv_job_term(const osv_job *job, int completion, const double *losses)
{
    const osv_goal g = osv_job_goal(job, completion);
    if (!osv_job_counts(job, completion)) return 0;
    if (g.partner < 0) return losses[completion];
    const osv_goal other = osv_job_goal(job, g.partner);
    double m = g.beta * (g.reference - losses[completion]) +
               other.beta * (other.reference - losses[g.partner]);
    return log1p(exp(-fabs(m))) - fmin(m, 0);
}

double osv_job_loss(const osv_job *job, const double *losses)
{
    double sum = 0;
    for (int c = 0; c < job->completions; c++) sum += osv_job_term(job, c, losses);
    return sum;
}

osv_row_role osv_job_role(const osv_job *job, int row)
{
    if (row % osv_form_params(job->form) == 0) return OSV_ROW_VECTOR;
    return job->form.kind == OSV_FORM_AFFINE ? OSV_ROW_FACTOR : OSV_ROW_OFFSET;
}

void osv_job_start(osv_real *rows, const osv_job *job, int D)
{
    const osv_job_options *o = &job->options;
    const char *name = osv_job_draws(job);
    for (int r = 0; r < osv_job_rows(job); r++) {
        osv_row_role role = osv_job_role(job, r);
        osv_real *row = rows + (size_t)r * (size_t)D;
        const float *given = role == OSV_ROW_OFFSET ? o->offset
                             : o->init              ? o->init + (size_t)r * (size_t)D
                                                    : NULL;
        double norm = role == OSV_ROW_FACTOR ? o->init_affine_norm : o->init_norm;
        if (!given) osv_random_direction(row, D, norm, o->seed, name, (unsigned)r);
        for (int i = 0; given && i < D; i++) row[i] = (osv_real)given[i];
    }
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
