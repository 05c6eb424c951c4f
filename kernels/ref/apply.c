#include "kernels/ref/ref.h"

/* x = x0 + sign v at the rows of a site. Sign 0 copies, whatever v is: a vector that became NaN must not
 * reach unsteered rows. */
void osv_ref_apply_add(osv_ops *o, osv_real *x, const osv_real *x0, const osv_real *v, const osv_site *site,
                       int D)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < site->rows; r++) {
        const osv_real *vector = v + (size_t)site->row_job[r] * D;
        for (int d = 0; d < D; d++) {
            osv_real from = x0[(size_t)r * D + d];
            x[(size_t)(site->row + r) * D + d] = site->sign[r] ? from + site->sign[r] * vector[d] : from;
        }
    }
}

/* dv[job] = sum over the job's rows of sign dx */
void osv_ref_apply_add_dv(osv_ops *o, osv_real *dv, const osv_real *dx, const osv_site *site, int D)
{
    if (osv_ops_status(o)) return;
    for (int i = 0; i < site->jobs; i++)
        for (int d = 0; d < D; d++) {
            double sum = 0;
            for (int r = site->first[i]; r < site->first[i + 1]; r++)
                if (site->sign[r]) sum += site->sign[r] * (double)dx[(size_t)(site->row + r) * D + d];
            dv[(size_t)site->job[i] * D + d] = (osv_real)sum;
        }
}
