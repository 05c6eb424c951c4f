#include "kernels/ref/ref.h"

#include <math.h>

/* L[c] = scale[c] (sum of c's losses). The objective is the sum over c of L[c], or of (L[c] - target[c])^2
 * where c has a target (satisficing, Dunefsky & Cohan 2025), so each of c's losses gets the weight
 *     w += scale[c]   or   w += 2 scale[c] (L[c] - target[c])
 * A loss may belong to several completions. */
void osv_ref_objective(osv_ops *o, osv_real *w, osv_real *completion, const osv_real *loss,
                       const osv_objective *objective, int S)
{
    if (osv_ops_status(o)) return;
    double *weight = osv_ref_scratch(o, (size_t)S);
    if (!weight) return;
    for (int s = 0; s < S; s++) weight[s] = 0;
    for (int c = 0; c < objective->C; c++) {
        int begin = objective->first[c], end = objective->first[c + 1];
        double sum = 0;
        for (int i = begin; i < end; i++) sum += loss[objective->score[i]];
        double scale = objective->scale[c], total = scale * sum, target = objective->target[c];
        completion[c] = (osv_real)total;
        double slope = isnan(target) ? scale : 2 * scale * (total - target);
        for (int i = begin; i < end; i++)
            if (objective->score[i] < S) weight[objective->score[i]] += slope;
    }
    for (int s = 0; s < S; s++) w[s] = (osv_real)weight[s];
}
