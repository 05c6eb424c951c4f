#include "kernels/ref/ref.h"

/* out[i] = x[i] + y[r], i = index[r] or r */
void osv_ref_residual_add(osv_ops *o, osv_real *out, const osv_real *x, const osv_real *y, const int *index,
                          int D, int rows)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)(index ? index[r] : r) * D;
        for (int d = 0; d < D; d++) out[at + d] = x[at + d] + y[(size_t)r * D + d];
    }
}

/* y = factor y */
void osv_ref_scale(osv_ops *o, osv_real *y, double factor, size_t n)
{
    if (osv_ops_status(o)) return;
    for (size_t i = 0; i < n; i++) y[i] = (osv_real)(factor * y[i]);
}
