#include "optim/phase.h"

#include <math.h>
#include <string.h>

#include "kernels/form.h"

bool osv_phase_follows(const osv_job *job, const osv_job_state *state)
{
    bool ended = state->stopped == OSV_STOP_TARGET || state->stopped == OSV_STOP_MAX_ITERS ||
                 state->stopped == OSV_STOP_PLATEAU;
    return ended && !state->second && job->options.min_norm_iters > 0;
}

static double dot(const osv_real *a, const osv_real *b, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

/* |v| + |left^T right|_F, as osv_ops.penalty has it. */
static double size_of(const osv_job *job, const osv_real *rows, int D)
{
    int step = osv_form_params(job->form), rank = osv_form_rank(job->form);
    double vector = 0, map = 0;
    for (int b = 0; b < (job->apart ? 1 + job->laters : 1); b++) {
        const osv_real *v = rows + (size_t)(b * step) * (size_t)D, *left = osv_form_left(v, D);
        const osv_real *right = osv_form_right(job->form, v, D);
        vector += dot(v, v, D);
        for (size_t i = 0; i < (size_t)rank; i++)
            for (size_t j = 0; j < (size_t)rank; j++)
                map += dot(left + i * (size_t)D, left + j * (size_t)D, D) *
                       dot(right + i * (size_t)D, right + j * (size_t)D, D);
    }
    return sqrt(vector) + (map > 0 ? sqrt(map) : 0);
}

/* What the loss of a completion may be. */
static double bound_of(const osv_job *job, int c, double achieved)
{
    osv_goal g = osv_job_goal(job, c);
    if (!isnan(g.bound)) return g.bound;
    return fmin(g.aside ? NAN : osv_job_target(job, c), achieved) + job->options.eps;
}

void osv_phase_begin(osv_job_state *state, const osv_job *job, int D)
{
    size_t numbers = (size_t)osv_job_rows(job) * (size_t)D, bytes = numbers * sizeof *state->kept;
    state->second = true;
    state->reason = state->stopped;
    state->stopped = OSV_RUNNING;
    state->steps = state->from = state->iter;
    state->size = state->shortest = size_of(job, state->kept, D);
    for (int h = 0; h < OSV_HISTORY; h++) memcpy(state->vector + (size_t)h * numbers, state->kept, bytes);
    memset(state->m, 0, bytes);
    memset(state->s, 0, bytes);
    for (int c = 0; c < job->completions; c++) {
        state->bound[c] = bound_of(job, c, state->losses[c]);
        state->multiplier[c] = (osv_multiplier){.slack = (osv_real)NAN};
    }
}

osv_job osv_phase_job(const osv_job *job, const osv_job_state *state, osv_goal *goal)
{
    osv_job second = *job;
    osv_job_options *o = &second.options;
    for (int c = 0; c < job->completions; c++) {
        goal[c] = osv_job_goal(job, c);
        goal[c].bound = state->bound[c];
        /* A loss falls about in proportion to itself as the vector grows: so all have multipliers of the size
         * of 1, which their rate can reach. */
        goal[c].weight = state->size / (o->eps + fabs(state->bound[c]));
        goal[c].sign = 0;
    }
    second.goal = goal;
    if (o->min_norm_lr > 0) o->lr = o->min_norm_lr;
    o->bound_lr = o->lr;
    o->schedule = OSV_LR_CONSTANT;
    o->warmup = 0;
    o->adamax = true;
    o->l1 = o->group_sparsity = o->noise = 0;
    o->norm_weight = 1;
    return second;
}

bool osv_phase_improves(const osv_job *job, const osv_job_state *state, const double *losses, double size)
{
    for (int c = 0; c < job->completions; c++)
        if (!(losses[c] <= state->bound[c])) return false;
    return size < state->shortest;
}

bool osv_phase_ends(const osv_job *job, const osv_job_state *state, int iter, double size)
{
    return !isfinite(size) || iter - state->from >= job->options.min_norm_iters;
}
