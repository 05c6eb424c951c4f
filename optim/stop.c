#include "optim/stop.h"

#include <math.h>

/* With satisficing the loss approaches the target from either side and may rest a little above it: eps is its
 * slack. */
static bool meets_target(const osv_job *job, double loss, const double *losses)
{
    const osv_job_options *o = &job->options;
    double slack = o->satisfice ? o->eps : 0;
    if (isnan(o->target_loss)) return false;
    if (o->target_rule == OSV_TARGET_SUM) return loss <= o->target_loss + slack;
    for (int c = 0; c < job->completions; c++) {
        if (!osv_job_counts(job, c)) continue;
        if (!(osv_job_term(job, c, losses) <= osv_job_target(job, c) + slack)) return false;
    }
    return true;
}

osv_stop osv_stop_check(osv_stop_state *state, const osv_job *job, int iter, double loss,
                        const double *losses, bool interrupted)
{
    const osv_job_options *o = &job->options;
    if (!isfinite(loss)) return OSV_STOP_NAN;
    state->met = meets_target(job, loss, losses) ? state->met + 1 : 0;
    if (iter > 0 && fabs(loss - state->last) < o->plateau_eps)
        state->flat++;
    else if (!(o->parity & OSV_PARITY_PLATEAU_TOTAL))
        state->flat = 0;
    state->last = loss;
    bool target = state->met > 0 && state->met >= o->target_iters;
    if (o->parity & OSV_PARITY_STEP_AFTER_TARGET) {
        bool before = state->late;
        state->late = target;
        target = before;
    }
    if (target) return OSV_STOP_TARGET;
    if (iter >= o->max_iters + (o->parity & OSV_PARITY_EXTRA_STEP ? 1 : 0)) return OSV_STOP_MAX_ITERS;
    if (o->plateau_iters > 0 && state->flat >= o->plateau_iters) return OSV_STOP_PLATEAU;
    return interrupted ? OSV_STOP_INTERRUPTED : OSV_RUNNING;
}
