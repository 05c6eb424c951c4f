#include "kernels/ref/ref.h"

/* x[r] = scale * w[ids[r] - first_id], or zero */
void osv_ref_embed(osv_ops *o, osv_real *x, const int *ids, const osv_weight *w, int first_id, double scale,
                   int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    for (int r = 0; r < rows; r++) {
        int row = ids[r] - first_id;
        bool here = row >= 0 && row < w->rows;
        for (int d = 0; d < D; d++)
            x[(size_t)r * D + d] = (osv_real)(here ? scale * osv_ref_weight(o, w, row, d) : 0);
    }
}
