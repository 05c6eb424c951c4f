#include <string.h>

#include "kernels/cpu/cpu.h"

enum { COLUMNS = 256 }; /* of one item of apply_add_dv: few jobs still give every thread something */

/* x = x0 + factor v. In double: a clamp takes away most of what lies along v. */
OSV_CPU_CLONES
static void add_scaled(float *x, const float *x0, const float *v, double factor, int D)
{
#pragma omp simd /* x may be x0, nothing else overlaps */
    for (int d = 0; d < D; d++) x[d] = (float)(x0[d] + factor * v[d]);
}

OSV_CPU_CLONES
static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

OSV_CPU_CLONES
static void sum_scaled(double *restrict sum, const float *restrict dx, float sign, int n)
{
    for (int i = 0; i < n; i++) sum[i] += sign * dx[i];
}

static void copy_row(float *x, const float *x0, int D)
{
    if (x != x0) memcpy(x, x0, (size_t)D * sizeof *x);
}

/* x = x0 + sign v at the rows of a site. Sign 0 copies, whatever v is: a vector that became NaN must not
 * reach unsteered rows. */
void osv_cpu_apply_add(osv_ops *o, float *x, const float *x0, const float *v, const osv_site *site, int D)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)site->rows *D))
    for (int r = 0; r < site->rows; r++) {
        float *out = x + (size_t)(site->row + r) * D;
        const float *from = x0 + (size_t)r * D;
        if (site->sign[r])
            add_scaled(out, from, v + (size_t)site->row_job[r] * D, site->sign[r], D);
        else
            copy_row(out, from, D);
    }
}

/* x = x0 + (clamp sign - v.x0 / |v|^2) v; a v of zeros, too, copies. |v|^2 is made anew for each row: v is
 * in the cache by then. */
void osv_cpu_apply_clamp(osv_ops *o, float *x, const float *x0, const float *v, double clamp,
                         const osv_site *site, int D)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)site->rows *D))
    for (int r = 0; r < site->rows; r++) {
        float *out = x + (size_t)(site->row + r) * D;
        const float *from = x0 + (size_t)r * D, *vector = v + (size_t)site->row_job[r] * D;
        double square = site->sign[r] ? dot(vector, vector, D) : 0;
        if (square != 0)
            add_scaled(out, from, vector, clamp * site->sign[r] - dot(vector, from, D) / square, D);
        else
            copy_row(out, from, D);
    }
}

/* dv[job] = sum over the job's rows of sign dx, rows in order; an item is a job and a block of columns. */
void osv_cpu_apply_add_dv(osv_ops *o, float *dv, const float *dx, const osv_site *site, int D)
{
    if (osv_cpu_failed(o)) return;
    int blocks = osv_cpu_blocks(D, COLUMNS);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)site->rows *D))
    for (int item = 0; item < site->jobs * blocks; item++) {
        int i = item / blocks, d = item % blocks * COLUMNS, n = osv_cpu_min(COLUMNS, D - d);
        double sum[COLUMNS] = {0};
        for (int r = site->first[i]; r < site->first[i + 1]; r++)
            if (site->sign[r]) sum_scaled(sum, dx + (size_t)(site->row + r) * D + d, (float)site->sign[r], n);
        float *out = dv + (size_t)site->job[i] * D + d;
        for (int c = 0; c < n; c++) out[c] = (float)sum[c];
    }
}
