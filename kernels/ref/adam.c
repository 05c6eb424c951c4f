#include <math.h>

#include "kernels/objective.h"
#include "kernels/ref/ref.h"

static double length(const osv_real *v, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)v[d] * v[d];
    return sqrt(sum);
}

/* v without its part along a direction of length 1. */
static void leave(osv_real *v, const double *direction, int D)
{
    double part = 0;
    for (int d = 0; d < D; d++) part += direction[d] * v[d];
    for (int d = 0; d < D; d++) v[d] = (osv_real)(v[d] - part * direction[d]);
}

/* Adam (Kingma & Ba 2015, algorithm 1), then the projections off the directions and onto the ball of radius
 * max_norm:
 *     m = beta1 m + (1 - beta1) g        s = beta2 s + (1 - beta2) g^2
 *     v = v - lr (m / correction1) / (sqrt(s / correction2) + eps)
 *     v = v - (e.v) e for each direction e
 *     v = v max_norm / |v| if |v| > max_norm
 * Adamax (7.1) has s = max(beta2 s, |g| + eps) and v - lr (m / correction1) / s.
 * A job with lr = 0 is left as it is, its moments too, whatever its gradient. */
void osv_ref_adam(osv_ops *o, osv_real *v, osv_real *m, osv_real *s, const osv_real *dv,
                  const double *direction, const osv_adam_params *params, int D, int J)
{
    if (osv_ops_status(o)) return;
    for (int j = 0; j < J; j++, v += D, m += D, s += D, dv += D) {
        const osv_adam_params *p = &params[j];
        if (p->lr == 0) continue;
        for (int d = 0; d < D; d++) {
            double g = dv[d];
            double first = p->beta1 * (double)m[d] + (1 - (double)p->beta1) * g;
            if (p->adamax) {
                osv_adamax(&v[d], &m[d], &s[d], g, p->lr, p);
                continue;
            }
            double second = p->beta2 * (double)s[d] + (1 - (double)p->beta2) * g * g;
            m[d] = (osv_real)first;
            s[d] = (osv_real)second;
            v[d] = (osv_real)(v[d] - p->lr * (first / p->correction1) /
                                         (sqrt(second / p->correction2) + (double)p->eps));
        }
        for (int k = 0; k < p->directions; k++) leave(v, direction + (size_t)(p->direction + k) * D, D);
        double norm = length(v, D);
        if (p->max_norm >= 0 && norm > p->max_norm)
            for (int d = 0; d < D; d++) v[d] = (osv_real)(v[d] * (p->max_norm / norm));
    }
}

void osv_ref_norm(osv_ops *o, osv_real *out, const osv_real *v, int D, int J)
{
    if (osv_ops_status(o)) return;
    for (int j = 0; j < J; j++) out[j] = (osv_real)length(v + (size_t)j * D, D);
}
