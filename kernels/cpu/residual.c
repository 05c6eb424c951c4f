#include "kernels/cpu/cpu.h"

OSV_CPU_CLONES
static void add(float *out, const float *x, const float *y, int n)
{
#pragma omp simd /* out may be x, nothing else overlaps */
    for (int i = 0; i < n; i++) out[i] = x[i] + y[i];
}

/* out[i] = x[i] + y[r], i = index[r] or r */
void osv_cpu_residual_add(osv_ops *o, float *out, const float *x, const float *y, const int *index, int D,
                          int rows)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *D))
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)(index ? index[r] : r) * D;
        add(out + at, x + at, y + (size_t)r * D, D);
    }
}

enum { BLOCK = 4096 }; /* numbers of an item */

OSV_CPU_CLONES
static void multiply(float *y, float factor, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] *= factor;
}

/* y = factor y */
void osv_cpu_scale(osv_ops *o, float *y, double factor, size_t n)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, n))
    for (size_t at = 0; at < n; at += BLOCK)
        multiply(y + at, (float)factor, (int)(n - at < BLOCK ? n - at : BLOCK));
}
