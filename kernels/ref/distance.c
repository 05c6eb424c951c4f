#include "kernels/distance.h"

#include "kernels/ref/ref.h"

static double square_of(const osv_real *x, const osv_real *x0, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += ((double)x[d] - x0[d]) * ((double)x[d] - x0[d]);
    return sum;
}

void osv_ref_distance(osv_ops *o, osv_real *loss, const osv_real *x, const osv_real *x0,
                      const osv_distances *distances, int D)
{
    if (osv_ops_status(o)) return;
    for (int m = 0; m < distances->M; m++) {
        double square = square_of(x + (size_t)distances->row[m] * D, x0 + (size_t)m * D, D);
        loss[m] = (osv_real)osv_distance_loss(square, distances->power[m]);
    }
}

/* d -|x - x0|^power / dx = -power |x - x0|^(power - 2) (x - x0) */
void osv_ref_distance_dx(osv_ops *o, osv_real *dx, const osv_real *x, const osv_real *x0, const osv_real *w,
                         const osv_distances *distances, int D)
{
    if (osv_ops_status(o)) return;
    for (int m = 0; m < distances->M; m++) {
        const osv_real *row = x + (size_t)distances->row[m] * D, *from = x0 + (size_t)m * D;
        double slope = w[m] * osv_distance_slope(square_of(row, from, D), distances->power[m]);
        for (int d = 0; d < D; d++) dx[(size_t)m * D + d] = (osv_real)(slope * ((double)row[d] - from[d]));
    }
}
