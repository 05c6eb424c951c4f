#include "kernels/form.h"
#include "kernels/ref/ref.h"

static double dot(const osv_real *a, const osv_real *b, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)a[d] * b[d];
    return sum;
}

/* g NULL: not asked for. */
static osv_form_dots dots(osv_form f, const osv_real *x, const osv_real *v, const osv_real *g, int D)
{
    bool offset = f.kind == OSV_FORM_CLAMP && f.offset;
    return (osv_form_dots){.xx = dot(x, x, D),
                           .xv = dot(x, v, D),
                           .vv = dot(v, v, D),
                           .gx = g ? dot(g, x, D) : 0,
                           .gv = g ? dot(g, v, D) : 0,
                           .mv = offset ? dot(v + D, v, D) : 0};
}

/* Sign 0 copies, whatever the parameters are: a vector that became NaN must not reach unsteered rows. */
void osv_ref_apply(osv_ops *o, osv_real *x, const osv_real *x0, const osv_real *p, const osv_site *site,
                   osv_real *coef, int D)
{
    if (osv_ops_status(o)) return;
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
    for (int r = 0; r < site->rows; r++) {
        const osv_real *v = p + (size_t)site->row_param[r] * D, *from = x0 + (size_t)r * D;
        const osv_real *left = osv_form_left(v, D), *right = osv_form_right(form, v, D);
        osv_real *out = x + (size_t)(site->row + r) * D, *t = rank ? coef + (size_t)r * width : NULL;
        osv_form_sum sum = {0, 1, 0};
        if (site->sign[r]) sum = osv_form_out(form, site->sign[r], dots(form, from, v, NULL, D));
        for (int k = 0; k < rank; k++) t[k] = (osv_real)dot(right + (size_t)k * D, from, D);
        for (int d = 0; d < D; d++) {
            if (!site->sign[r]) {
                out[d] = from[d];
                continue;
            }
            double y = sum.x * from[d] + (sum.v != 0 ? sum.v * v[d] : 0);
            for (int k = 0; k < rank; k++) y += (double)t[k] * left[(size_t)k * D + d];
            out[d] = (osv_real)y;
        }
    }
}

/* Of each steered row: the factors of dv's sum, then right[k].x, then left[k].dx. */
static void fill_coef(osv_real *coef, const osv_real *dx, const osv_real *x0, const osv_real *p,
                      const osv_site *site, int D)
{
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
    for (int r = 0; r < site->rows; r++) {
        if (!site->sign[r]) continue;
        const osv_real *v = p + (size_t)site->row_param[r] * D, *x = x0 + (size_t)r * D;
        const osv_real *g = dx + (size_t)(site->row + r) * D, *left = osv_form_left(v, D),
                       *right = osv_form_right(form, v, D);
        osv_real *c = coef + (size_t)r * width;
        osv_form_sum sum = osv_form_dv(form, site->sign[r], dots(form, x, v, g, D));
        c[0] = (osv_real)sum.g, c[1] = (osv_real)sum.x, c[2] = (osv_real)sum.v;
        for (int k = 0; k < rank; k++) {
            c[3 + k] = (osv_real)dot(right + (size_t)k * D, x, D);
            c[3 + rank + k] = (osv_real)dot(left + (size_t)k * D, g, D);
        }
    }
}

/* What a row adds to the gradient of parameter row k, component d: dv, dleft[k] = sum of (right[k].x) dx,
 * dright[k] = sum of (left[k].dx) x. */
static double row_dp(osv_form form, int k, const osv_real *c, double g, double x, const osv_real *v, int d,
                     int D)
{
    if (k == 0 && form.kind == OSV_FORM_CLAMP && form.offset) x -= v[D + d];
    if (k == 0) return c[0] * g + c[1] * x + (c[2] != 0 ? c[2] * v[d] : 0);
    if (form.kind != OSV_FORM_AFFINE) return 0;
    return c[2 + k] * (k <= form.rank ? g : x);
}

void osv_ref_apply_dp(osv_ops *o, osv_real *dp, const osv_real *dx, const osv_real *x0, const osv_real *p,
                      const osv_site *site, osv_real *coef, int D)
{
    static const osv_real add[] = {1, 0, 0}, subtract[] = {-1, 0, 0};
    if (osv_ops_status(o)) return;
    osv_form form = site->form;
    int params = osv_form_params(form), width = osv_form_coefs(form);
    if (form.kind != OSV_FORM_ADD) fill_coef(coef, dx, x0, p, site, D);
    for (int i = 0; i < site->jobs; i++)
        for (int k = 0; k < params; k++)
            for (int d = 0; d < D; d++) {
                double sum = 0;
                for (int r = site->first[i]; r < site->first[i + 1]; r++) {
                    if (!site->sign[r]) continue;
                    const osv_real *c = form.kind != OSV_FORM_ADD ? coef + (size_t)r * width
                                        : site->sign[r] > 0       ? add
                                                                  : subtract;
                    double x = form.kind != OSV_FORM_ADD ? x0[(size_t)r * D + d] : 0;
                    sum += row_dp(form, k, c, dx[(size_t)(site->row + r) * D + d], x,
                                  p + (size_t)site->param[i] * D, d, D);
                }
                dp[(size_t)(site->grad[i] + k) * D + d] = (osv_real)sum;
            }
}

void osv_ref_apply_dx(osv_ops *o, osv_real *dx, const osv_real *x0, const osv_real *p, const osv_site *site,
                      osv_real *coef, int D)
{
    if (osv_ops_status(o)) return;
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
    for (int r = 0; r < site->rows; r++) {
        if (!site->sign[r]) continue;
        const osv_real *v = p + (size_t)site->row_param[r] * D, *x = x0 + (size_t)r * D;
        const osv_real *left = osv_form_left(v, D), *right = osv_form_right(form, v, D);
        osv_real *g = dx + (size_t)(site->row + r) * D, *u = rank ? coef + (size_t)r * width : NULL;
        if (form.cut) {
            for (int d = 0; d < D; d++) g[d] = 0;
            continue;
        }
        osv_form_sum sum = osv_form_dx(form, site->sign[r], dots(form, x, v, g, D));
        for (int k = 0; k < rank; k++) u[k] = (osv_real)dot(left + (size_t)k * D, g, D);
        for (int d = 0; d < D; d++) {
            double y = sum.g * g[d] + sum.x * x[d] + sum.v * v[d];
            for (int k = 0; k < rank; k++) y += (double)u[k] * right[(size_t)k * D + d];
            g[d] = (osv_real)y;
        }
    }
}
