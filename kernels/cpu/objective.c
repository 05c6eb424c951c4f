#include <math.h>

#include "kernels/cpu/cpu.h"

/* L[c] = scale[c] (sum of c's losses); optimized is L[c], or (L[c] - target[c])^2 where c has a target, so
 * each of c's losses gets the weight scale[c], or 2 scale[c] (L[c] - target[c]). A loss may belong to several
 * completions: weights add up, in double, completion by completion. */
void osv_cpu_objective(osv_ops *o, float *w, float *completion, const float *loss,
                       const osv_objective *objective, int S)
{
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)S * sizeof(double))) return;
    const osv_cpu *cpu = o->state;
    double *weight = cpu->partial;
    for (int s = 0; s < S; s++) weight[s] = 0;
    for (int c = 0; c < objective->C; c++) {
        int begin = objective->first[c], end = objective->first[c + 1];
        double sum = 0;
        for (int i = begin; i < end; i++) sum += loss[objective->score[i]];
        double scale = objective->scale[c], total = scale * sum, target = objective->target[c];
        completion[c] = (float)total;
        double slope = isnan(target) ? scale : 2 * scale * (total - target);
        for (int i = begin; i < end; i++)
            if (objective->score[i] < S) weight[objective->score[i]] += slope;
    }
    for (int s = 0; s < S; s++) w[s] = (float)weight[s];
}
