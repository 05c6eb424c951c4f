#include "kernels/objective.h"

#include "kernels/cpu/cpu.h"

static double total_of(const osv_objective *o, const float *loss, int c)
{
    double sum = 0;
    for (int i = o->first[c]; i < o->first[c + 1]; i++) sum += loss[o->score[i]];
    return o->scale[c] * sum;
}

/* Each of c's losses gets the weight scale[c] d objective / d L[c]; weights add up, in double, completion by
 * completion. */
void osv_cpu_objective(osv_ops *o, float *w, float *completion, const float *loss,
                       const osv_objective *objective, int S)
{
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)S * sizeof(double))) return;
    const osv_cpu *cpu = o->state;
    double *weight = cpu->partial;
    for (int s = 0; s < S; s++) weight[s] = 0;
    for (int c = 0; c < objective->C; c++) {
        int partner = objective->partner[c];
        double total = total_of(objective, loss, c);
        double of_partner = partner >= 0 ? total_of(objective, loss, partner) : 0;
        double slope = objective->scale[c] * osv_objective_slope(objective, c, total, of_partner);
        completion[c] = (float)total;
        for (int i = objective->first[c]; i < objective->first[c + 1]; i++)
            if (objective->score[i] < S) weight[objective->score[i]] += slope;
    }
    for (int s = 0; s < S; s++) w[s] = (float)weight[s];
}

void osv_cpu_multipliers(osv_ops *o, const float *L, const osv_objective *objective,
                         const osv_adam_params *params)
{
    if (osv_cpu_failed(o)) return;
    for (int c = 0; c < objective->C; c++)
        if (!isnan(objective->bound[c]) && params[c].lr != 0)
            osv_multiplier_step(objective, c, L[c], &params[c]);
}
