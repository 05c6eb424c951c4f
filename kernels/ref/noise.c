#include "kernels/noise.h"

#include "kernels/ref/ref.h"

void osv_ref_noise(osv_ops *o, osv_real *q, const osv_real *p, const osv_real *dp, const osv_noise *noise,
                   int k, int D, int J)
{
    if (osv_ops_status(o)) return;
    for (int j = 0; j < J; j++, q += D, p += D, dp += D) {
        const osv_noise *n = &noise[j];
        bool draws = k < n->draws;
        double draw_g = 0, gg = 0;
        for (int d = 0; draws && d < D; d++) {
            draw_g += osv_noise_draw(n, k, D, d) * dp[d];
            gg += (double)dp[d] * dp[d];
        }
        double along = draws ? osv_noise_along(n->kind, draw_g, gg) : 0;
        for (int d = 0; d < D; d++)
            q[d] = draws ? (osv_real)(p[d] + osv_noise_draw(n, k, D, d) - along * dp[d]) : p[d];
    }
}

void osv_ref_noise_mean(osv_ops *o, osv_real *mean, const osv_real *dq, const osv_noise *noise, int k, int D,
                        int J)
{
    if (osv_ops_status(o)) return;
    for (int j = 0; j < J; j++, mean += D, dq += D)
        for (int d = 0; k < noise[j].draws && d < D; d++)
            mean[d] = (osv_real)((k > 0 ? mean[d] : 0) + (double)dq[d] / noise[j].draws);
}
