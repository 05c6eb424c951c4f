#include <math.h>

#include "kernels/cpu/cpu.h"

/* g = offset + w, [D], into the thread's scratch. Each thread makes its own: no barrier, and w is small. */
static float *gain(const osv_ops *o, const osv_weight *w, double offset)
{
    float *g = osv_cpu_mine(o);
    osv_cpu_widen(g, w, 0, 0, w->cols);
    if (offset != 0)
        for (int d = 0; d < w->cols; d++) g[d] = (float)(offset + g[d]);
    return g;
}

/* sum of a b, in double: rows are long, and their squares may leave the range of float */
OSV_CPU_CLONES
static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* sum of a b c */
OSV_CPU_CLONES
static double dot3(const float *a, const float *b, const float *c, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i] * c[i];
    return sum;
}

/* y = x g inverse; y may be x */
OSV_CPU_CLONES
static void scale(float *y, const float *x, const float *g, float inverse, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] = x[i] * inverse * g[i];
}

/* dx = inverse (g dy - x pull); dx may be dy. In double: the two terms all but cancel where dy goes along x.
 */
OSV_CPU_CLONES
static void scale_dx(float *dx, const float *dy, const float *x, const float *g, double inverse, double pull,
                     int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) dx[i] = (float)(inverse * ((double)g[i] * dy[i] - x[i] * pull));
}

/* y = x g / rms(x) */
void osv_cpu_rmsnorm(osv_ops *o, float *y, const float *x, const osv_weight *w, double offset, double eps,
                     int rows)
{
    int D = w->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)D * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *D))
    {
        const float *g = gain(o, w, offset);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            const float *in = x + (size_t)r * D;
            double inverse = 1 / sqrt(dot(in, in, D) / D + eps);
            scale(y + (size_t)r * D, in, g, (float)inverse, D);
        }
    }
}

/* With n = 1 / rms(x): dn/dx_d = -n^3 x_d / D, so dx = n (g dy - x n^2 mean(x g dy)) */
void osv_cpu_rmsnorm_dx(osv_ops *o, float *dx, const float *dy, const float *x, const osv_weight *w,
                        double offset, double eps, int rows)
{
    int D = w->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)D * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *D))
    {
        const float *g = gain(o, w, offset);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            const float *in = x + (size_t)r * D, *up = dy + (size_t)r * D;
            double inverse = 1 / sqrt(dot(in, in, D) / D + eps);
            double pull = inverse * inverse * dot3(in, g, up, D) / D;
            scale_dx(dx + (size_t)r * D, up, in, g, inverse, pull, D);
        }
    }
}

/* ---- split over ranks ---- */

void osv_cpu_rmsnorm_sum(osv_ops *o, float *sum, const float *x, const osv_split_norm *n, int cols, int rows)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *cols))
    for (int r = 0; r < rows; r++) {
        const float *in = x + (size_t)r * cols + n->first;
        sum[r] = (float)dot(in, in, cols - n->first);
    }
}

void osv_cpu_rmsnorm_split(osv_ops *o, float *y, const float *x, const float *sum, const osv_weight *w,
                           const osv_split_norm *n, int rows)
{
    int D = w->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)D * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *D))
    {
        const float *g = gain(o, w, n->offset);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            double inverse = 1 / sqrt((double)sum[r] / n->width + n->eps);
            scale(y + (size_t)r * D, x + (size_t)r * D, g, (float)inverse, D);
        }
    }
}

void osv_cpu_rmsnorm_dot(osv_ops *o, float *out, const float *dy, const float *x, const osv_weight *w,
                         const osv_split_norm *n, int rows)
{
    int D = w->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)D * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *D))
    {
        const float *g = gain(o, w, n->offset);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) out[r] = (float)dot3(x + (size_t)r * D, g, dy + (size_t)r * D, D);
    }
}

/* As osv_cpu_rmsnorm_dx; what pulls at a column is counted on one rank. */
void osv_cpu_rmsnorm_split_dx(osv_ops *o, float *dx, const float *dy, const float *x, const float *sum,
                              const float *dot, const osv_weight *w, const osv_split_norm *n, int rows)
{
    int D = w->cols, first = n->first;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)D * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *D))
    {
        const float *g = gain(o, w, n->offset);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * D, own = at + first;
            double inverse = 1 / sqrt((double)sum[r] / n->width + n->eps);
            double pull = inverse * inverse * (double)dot[r] / n->width;
            scale_dx(dx + at, dy + at, x + at, g, inverse, 0, first);
            scale_dx(dx + own, dy + own, x + own, g + first, inverse, pull, D - first);
        }
    }
}
