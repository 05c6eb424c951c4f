#include "kernels/distance.h"

#include "kernels/cpu/cpu.h"

/* In double: x and x0 may be long and near each other. */
OSV_CPU_CLONES
static double square_of(const float *x, const float *x0, int D)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++) sum += ((double)x[d] - x0[d]) * ((double)x[d] - x0[d]);
    return sum;
}

OSV_CPU_CLONES
static void difference(float *restrict dx, const float *restrict x, const float *restrict x0, double slope,
                       int D)
{
    for (int d = 0; d < D; d++) dx[d] = (float)(slope * ((double)x[d] - x0[d]));
}

/* loss = -|x - x0|^power */
void osv_cpu_distance(osv_ops *o, float *loss, const float *x, const float *x0,
                      const osv_distances *distances, int D)
{
    int M = distances->M;
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)M *D))
    for (int m = 0; m < M; m++) {
        double square = square_of(x + (size_t)distances->row[m] * D, x0 + (size_t)m * D, D);
        loss[m] = (float)osv_distance_loss(square, distances->power[m]);
    }
}

void osv_cpu_distance_dx(osv_ops *o, float *dx, const float *x, const float *x0, const float *w,
                         const osv_distances *distances, int D)
{
    int M = distances->M;
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)M *D))
    for (int m = 0; m < M; m++) {
        const float *row = x + (size_t)distances->row[m] * D, *from = x0 + (size_t)m * D;
        double slope = w[m] * osv_distance_slope(square_of(row, from, D), distances->power[m]);
        difference(dx + (size_t)m * D, row, from, slope, D);
    }
}
