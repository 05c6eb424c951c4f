#include "kernels/ref/ref.h"

#include <math.h>

static double square(const osv_real *x, int from, int D)
{
    double sum = 0;
    for (int d = from; d < D; d++) sum += (double)x[d] * x[d];
    return sum;
}

/* g = offset + w */
static double gain(const osv_weight *w, double offset, int d)
{
    return offset + osv_weight_get(w, 0, (size_t)d);
}

/* sum of x g dy */
static double dot(const osv_real *x, const osv_real *dy, const osv_weight *w, double offset)
{
    double sum = 0;
    for (int d = 0; d < w->cols; d++) sum += x[d] * gain(w, offset, d) * dy[d];
    return sum;
}

/* RMSNorm (Zhang & Sennrich 2019, equation 4): y = x g / rms(x) with g = offset + w. */
void osv_ref_rmsnorm(osv_ops *o, osv_real *y, const osv_real *x, const osv_weight *w, double offset,
                     double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, y += D) {
        double inverse = 1 / sqrt(square(x, 0, D) / D + eps);
        for (int d = 0; d < D; d++) y[d] = (osv_real)(x[d] * inverse * gain(w, offset, d));
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
        double inverse = 1 / sqrt(square(x, 0, D) / D + eps);
        double pull = inverse * inverse * dot(x, dy, w, offset) / D;
        for (int d = 0; d < D; d++) dx[d] = (osv_real)(inverse * (gain(w, offset, d) * dy[d] - x[d] * pull));
    }
}

/* ---- split over ranks ---- */

void osv_ref_rmsnorm_sum(osv_ops *o, osv_real *sum, const osv_real *x, const osv_split_norm *n, int cols,
                         int rows)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < rows; r++) sum[r] = (osv_real)square(x + (size_t)r * cols, n->first, cols);
}

void osv_ref_rmsnorm_split(osv_ops *o, osv_real *y, const osv_real *x, const osv_real *sum,
                           const osv_weight *w, const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, y += D) {
        double inverse = 1 / sqrt((double)sum[r] / n->width + n->eps);
        for (int d = 0; d < D; d++) y[d] = (osv_real)(x[d] * inverse * gain(w, n->offset, d));
    }
}

void osv_ref_rmsnorm_dot(osv_ops *o, osv_real *out, const osv_real *dy, const osv_real *x,
                         const osv_weight *w, const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, dy += D) out[r] = (osv_real)dot(x, dy, w, n->offset);
}

/* As osv_ref_rmsnorm_dx; what pulls at a column is counted on one rank. */
void osv_ref_rmsnorm_split_dx(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x,
                              const osv_real *sum, const osv_real *dot, const osv_weight *w,
                              const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        double inverse = 1 / sqrt((double)sum[r] / n->width + n->eps);
        double pull = inverse * inverse * (double)dot[r] / n->width;
        for (int d = 0; d < D; d++)
            dx[d] = (osv_real)(inverse * (gain(w, n->offset, d) * dy[d] - (d < n->first ? 0 : x[d] * pull)));
    }
}
