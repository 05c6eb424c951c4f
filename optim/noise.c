#include "optim/noise.h"

#include "engine/maths.h"
#include "optim/random.h"

int osv_noise_draws(const osv_job *job)
{
    return job->options.noise > 0 ? job->options.noise_draws : 0;
}

osv_noise osv_noise_of(const osv_job *job, int row, int steps)
{
    osv_noise n = {0};
    if (osv_job_role(job, row) != OSV_ROW_VECTOR) return n;
    n.draws = osv_noise_draws(job);
    n.kind = job->options.noise_kind;
    n.scale = (osv_real)job->options.noise;
    n.row = (unsigned)row;
    n.place = steps * n.draws;
    osv_random_noise(&n, job->options.seed, osv_job_draws(job));
    return n;
}

void osv_noisy_place(osv_noisy *n, osv_bump *memory, const osv_batch *batch, int draws, int D)
{
    size_t P = (size_t)batch->P * (size_t)D, G = (size_t)batch->G * (size_t)D;
    *n = (osv_noisy){.draws = draws};
    if (draws == 0) return;
    n->q = osv_take(memory, P, sizeof *n->q);
    n->dq = osv_take(memory, G, sizeof *n->dq);
    n->mean = osv_take(memory, P, sizeof *n->mean);
    n->completion = osv_take(memory, (size_t)batch->C, sizeof *n->completion);
}

void osv_noisy_run(const osv_noisy *n, osv_step *step, const osv_real *p, const osv_real *dp,
                   const osv_noise *noise, const osv_objective *objective)
{
    osv_ops *o = step->engine.ops;
    int P = step->batch->P, D = step->engine.model->config.D;
    OP(copy, n->mean, dp, (size_t)P * (size_t)D * sizeof *dp, OSV_ON_DEVICE);
    for (int k = 0; k < n->draws; k++) {
        OP(noise, n->q, p, dp, noise, k, D, P);
        osv_forward(step, n->q);
        OP(objective, step->buffer.w, n->completion, step->buffer.loss, objective,
           osv_losses_of(&step->batch->live));
        osv_backward(step, n->q, n->dq);
        OP(noise_mean, n->mean, n->dq, noise, k, D, P);
    }
}
