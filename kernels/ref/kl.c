#include "kernels/ref/ref.h"

#include <math.h>

/* With u_j = c (z_j - max), total = sum of exp(u_j), P_j = exp(u_j) / total, and `second` the other sum:
 *     KL(p || P) = sum of p_j (ln p_j - u_j) + ln total = ln total - second
 *     KL(P || p) = sum of P_j (u_j - ln total - ln p_j) = second / total - ln total */
void osv_ref_kl_sum(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                    const osv_distributions *d, int V)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < d->rows; r++) {
        const osv_real *row = z + (size_t)d->row[r] * V;
        for (int k = d->first[r]; k < d->first[r + 1]; k++) {
            const osv_real *logp = d->logp + (size_t)d->aim[k] * V;
            double total = 0, second = 0;
            for (int j = 0; j < V; j++) {
                double u = d->coldness[r] * ((double)row[j] - max[d->row[r]]), e = exp(u);
                double weight = d->reverse[k] ? e : exp(logp[j]);
                total += e;
                if (weight != 0) second += weight * (u - logp[j]);
            }
            sum[2 * (size_t)k] = (osv_real)total;
            sum[2 * (size_t)k + 1] = (osv_real)second;
        }
    }
}

void osv_ref_kl(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_distributions *d)
{
    if (osv_ops_status(o)) return;
    for (int k = 0; k < d->K; k++) {
        double total = sum[2 * (size_t)k], second = sum[2 * (size_t)k + 1];
        loss[k] = (osv_real)(d->reverse[k] ? second / total - log(total) : log(total) - second);
    }
}

/* d KL(p || P) / dz_j = c (P_j - p_j);  d KL(P || p) / dz_j = c P_j (u_j - ln p_j - second / total) */
void osv_ref_kl_dx(osv_ops *o, osv_real *dz, const osv_real *z, const osv_real *max, const osv_real *sum,
                   const osv_real *w, const osv_distributions *d, int V)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < d->rows; r++)
        for (int j = 0; j < V; j++) {
            double c = d->coldness[r], x = z[(size_t)d->row[r] * V + j], all = 0;
            double u = c * (x - max[d->row[r]]), e = exp(u);
            for (int k = d->first[r]; k < d->first[r + 1]; k++) {
                double total = sum[2 * (size_t)k], second = sum[2 * (size_t)k + 1];
                double logp = d->logp[(size_t)d->aim[k] * V + j], P = e / total;
                if (!d->reverse[k])
                    all += w[k] * c * (P - exp(logp));
                else if (P != 0)
                    all += w[k] * c * P * (u - logp - second / total);
            }
            double t = d->softcap > 0 ? x / d->softcap : 0; /* back through cap tanh(x / cap) */
            dz[(size_t)r * V + j] = (osv_real)(all * (1 - t * t));
        }
}
