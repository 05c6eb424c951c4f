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
