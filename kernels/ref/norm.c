#include "kernels/ref/ref.h"

#include <math.h>

/* 1 / sqrt(mean(x^2) + eps) */
static double inverse_rms(const osv_real *x, double eps, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)x[d] * x[d];
    return 1 / sqrt(sum / D + eps);
}

/* RMSNorm (Zhang & Sennrich 2019, equation 4): y = x g / rms(x) with g = offset + w. */
void osv_ref_rmsnorm(osv_ops *o, osv_real *y, const osv_real *x, const osv_weight *w, double offset,
                     double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, y += D) {
        double inverse = inverse_rms(x, eps, D);
        for (int d = 0; d < D; d++)
            y[d] = (osv_real)(x[d] * inverse * (offset + osv_weight_get(w, 0, (size_t)d)));
    }
}

/* With n = 1 / rms(x): dn/dx_d = -n^3 x_d / D, so
 *     dx = n (g dy - x n^2 mean(x g dy)) */
void osv_ref_rmsnorm_dx(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x, const osv_weight *w,
                        double offset, double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        double inverse = inverse_rms(x, eps, D);
        double dot = 0;
        for (int d = 0; d < D; d++) dot += x[d] * (offset + osv_weight_get(w, 0, (size_t)d)) * dy[d];
        double pull = inverse * inverse * dot / D;
        for (int d = 0; d < D; d++)
            dx[d] = (osv_real)(inverse * ((offset + osv_weight_get(w, 0, (size_t)d)) * dy[d] - x[d] * pull));
    }
}
