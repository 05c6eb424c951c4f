#include "kernels/objective.h"

#include "kernels/ref/ref.h"

static double total_of(const osv_objective *o, const osv_real *loss, int c)
{
    double sum = 0;
    for (int i = o->first[c]; i < o->first[c + 1]; i++) sum += loss[o->score[i]];
    return o->scale[c] * sum;
}

/* A loss of completion c gets the weight w += scale[c] d objective / d L[c]. */
void osv_ref_objective(osv_ops *o, osv_real *w, osv_real *completion, const osv_real *loss,
                       const osv_objective *objective, int S)
{
    if (osv_ops_status(o)) return;
    double *weight = osv_ref_scratch(o, (size_t)S);
    if (!weight) return;
    for (int s = 0; s < S; s++) weight[s] = 0;
    for (int c = 0; c < objective->C; c++) {
        int partner = objective->partner[c];
        double total = total_of(objective, loss, c);
        double slope =
            objective->scale[c] *
            osv_objective_slope(objective, c, total, partner >= 0 ? total_of(objective, loss, partner) : 0);
        completion[c] = (osv_real)total;
        for (int i = objective->first[c]; i < objective->first[c + 1]; i++)
            if (objective->score[i] < S) weight[objective->score[i]] += slope;
    }
    for (int s = 0; s < S; s++) w[s] = (osv_real)weight[s];
}

void osv_ref_multipliers(osv_ops *o, const osv_real *L, const osv_objective *objective,
                         const osv_adam_params *params)
{
    if (osv_ops_status(o)) return;
    for (int c = 0; c < objective->C; c++)
        if (!isnan(objective->bound[c]) && params[c].lr != 0)
            osv_multiplier_step(objective, c, L[c], &params[c]);
}
