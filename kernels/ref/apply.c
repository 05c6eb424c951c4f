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

/* x = x0 + (clamp sign - v.x0 / |v|^2) v: the component along v becomes clamp sign |v|. A v of zeros has no
 * direction, and adds nothing. */
void osv_ref_apply_clamp(osv_ops *o, osv_real *x, const osv_real *x0, const osv_real *v, double clamp,
                         const osv_site *site, int D)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < site->rows; r++) {
        const osv_real *vector = v + (size_t)site->row_job[r] * D, *from = x0 + (size_t)r * D;
        osv_real *out = x + (size_t)(site->row + r) * D;
        double dot = 0, square = 0, factor = 0;
        for (int d = 0; d < D; d++) {
            dot += (double)vector[d] * from[d];
            square += (double)vector[d] * vector[d];
        }
        bool steered = site->sign[r] && square != 0;
        if (steered) factor = clamp * site->sign[r] - dot / square;
        for (int d = 0; d < D; d++) out[d] = steered ? (osv_real)(from[d] + factor * vector[d]) : from[d];
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
