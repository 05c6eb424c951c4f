#include <string.h>

#include "kernels/cpu/cpu.h"

/* x[r] = scale * w[ids[r] - first_id], or zero */
void osv_cpu_embed(osv_ops *o, float *x, const int *ids, const osv_weight *w, int first_id, double scale,
                   int rows)
{
    if (osv_cpu_failed(o)) return;
    int D = w->cols;
    float factor = (float)scale;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *D))
    for (int r = 0; r < rows; r++) {
        float *out = x + (size_t)r * D;
        int row = ids[r] - first_id;
        if (row < 0 || row >= w->rows) {
            memset(out, 0, (size_t)D * sizeof *out);
            continue;
        }
        osv_cpu_widen(out, w, row, 0, D);
        for (int d = 0; d < D; d++) out[d] *= factor;
    }
}
