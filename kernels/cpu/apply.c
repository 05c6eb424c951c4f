#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/form.h"

enum { COLUMNS = 256 }; /* of one item of apply_dp: few jobs still give every thread something */

/* out = a x + b y. In double: a clamp takes away most of what lies along v. */
OSV_CPU_CLONES
static void sum_of_two(float *out, double a, const float *x, double b, const float *y, int D)
{
#pragma omp simd /* out may be x, nothing else overlaps */
    for (int d = 0; d < D; d++) out[d] = (float)(a * x[d] + b * y[d]);
}

/* out += b y */
OSV_CPU_CLONES
static void add_scaled(float *out, double b, const float *y, int D)
{
#pragma omp simd
    for (int d = 0; d < D; d++) out[d] = (float)(out[d] + b * y[d]);
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
static void sum_scaled(double *restrict sum, const float *restrict x, float factor, int n)
{
    for (int i = 0; i < n; i++) sum[i] += factor * x[i];
}

static void copy_row(float *x, const float *x0, int D)
{
    if (x != x0) memcpy(x, x0, (size_t)D * sizeof *x);
}

/* g NULL: not asked for. |v|^2 is made anew for each row: v is in the cache by then. */
static osv_form_dots dots(osv_form f, const float *x, const float *v, const float *g, int D)
{
    osv_form_dots d = {0};
    if (f.kind == OSV_FORM_ADD || f.kind == OSV_FORM_AFFINE) return d;
    d.xv = dot(x, v, D);
    d.vv = dot(v, v, D);
    if (g) d.gv = dot(g, v, D);
    if (f.kind == OSV_FORM_CLAMP && f.offset) d.mv = dot(v + D, v, D);
    if (f.kind == OSV_FORM_ADD_NORM) d.xx = dot(x, x, D);
    if (f.kind == OSV_FORM_ADD_NORM && g) d.gx = dot(g, x, D);
    return d;
}

static void apply_row(float *out, const float *x, const float *v, osv_form form, int sign, float *t, int D)
{
    int rank = osv_form_rank(form);
    const float *left = osv_form_left(v, D), *right = osv_form_right(form, v, D);
    osv_form_sum sum = osv_form_out(form, sign, dots(form, x, v, NULL, D));
    if (sum.x == 1 && sum.v == 0) { /* no direction: a NaN in v must not come through */
        copy_row(out, x, D);
        return;
    }
    for (int k = 0; k < rank; k++) t[k] = (float)dot(right + (size_t)k * D, x, D);
    sum_of_two(out, sum.x, x, sum.v, v, D);
    for (int k = 0; k < rank; k++) add_scaled(out, t[k], left + (size_t)k * D, D);
}

/* Sign 0 copies, whatever the parameters are: a vector that became NaN must not reach unsteered rows. */
void osv_cpu_apply(osv_ops *o, float *x, const float *x0, const float *p, const osv_site *site, float *coef,
                   int D)
{
    if (osv_cpu_failed(o)) return;
    int width = osv_form_rank(site->form) ? osv_form_coefs(site->form) : 0;
    double work = (double)site->rows * D * osv_form_params(site->form);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, work))
    for (int r = 0; r < site->rows; r++) {
        float *out = x + (size_t)(site->row + r) * D;
        const float *from = x0 + (size_t)r * D, *v = p + (size_t)site->row_param[r] * D;
        if (site->sign[r])
            apply_row(out, from, v, site->form, site->sign[r], width ? coef + (size_t)r * width : NULL, D);
        else
            copy_row(out, from, D);
    }
}

/* Of each steered row: the factors of dv's sum, then right[k].x, then left[k].dx. */
static void fill_coef(osv_ops *o, float *coef, const float *dx, const float *x0, const float *p,
                      const osv_site *site, int D)
{
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
#pragma omp parallel for schedule(static) \
    num_threads(osv_cpu_threads(o, (double)site->rows *D *osv_form_params(form)))
    for (int r = 0; r < site->rows; r++) {
        if (!site->sign[r]) continue;
        const float *v = p + (size_t)site->row_param[r] * D, *x = x0 + (size_t)r * D;
        const float *g = dx + (size_t)(site->row + r) * D, *left = osv_form_left(v, D),
                    *right = osv_form_right(form, v, D);
        float *c = coef + (size_t)r * width;
        osv_form_sum sum = osv_form_dv(form, site->sign[r], dots(form, x, v, g, D));
        c[0] = (float)sum.g, c[1] = (float)sum.x, c[2] = (float)sum.v;
        for (int k = 0; k < rank; k++) {
            c[3 + k] = (float)dot(right + (size_t)k * D, x, D);
            c[3 + rank + k] = (float)dot(left + (size_t)k * D, g, D);
        }
    }
}

/* Columns d .. d + n of the gradient of parameter row k of the site's job i; rows in order. */
static void sum_rows(float *out, const float *dx, const float *x0, const float *p, const osv_site *site,
                     const float *coef, int i, int k, int d, int n, int D)
{
    double sum[COLUMNS] = {0};
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
    const float *v = p + (size_t)site->param[i] * D + d, *offset = v + D;
    bool shifted = form.kind == OSV_FORM_CLAMP && form.offset;
    for (int r = site->first[i]; r < site->first[i + 1] && (k == 0 || rank > 0); r++) {
        if (!site->sign[r]) continue;
        const float *g = dx + (size_t)(site->row + r) * D + d;
        if (form.kind == OSV_FORM_ADD) {
            sum_scaled(sum, g, (float)site->sign[r], n);
            continue;
        }
        const float *x = x0 + (size_t)r * D + d, *c = coef + (size_t)r * width;
        if (k > 0) {
            sum_scaled(sum, k <= rank ? g : x, c[2 + k], n);
            continue;
        }
        sum_scaled(sum, g, c[0], n);
        if (c[1] == 0) continue;
        sum_scaled(sum, x, c[1], n);
        if (shifted) sum_scaled(sum, offset, -c[1], n);
        sum_scaled(sum, v, c[2], n);
    }
    for (int c = 0; c < n; c++) out[c] = (float)sum[c];
}

/* An item is a parameter row of a job and a block of its columns. */
void osv_cpu_apply_dp(osv_ops *o, float *dp, const float *dx, const float *x0, const float *p,
                      const osv_site *site, float *coef, int D)
{
    if (osv_cpu_failed(o)) return;
    int blocks = osv_cpu_blocks(D, COLUMNS), params = osv_form_params(site->form);
    if (site->form.kind != OSV_FORM_ADD) fill_coef(o, coef, dx, x0, p, site, D);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)site->rows *D *params))
    for (int item = 0; item < site->jobs * params * blocks; item++) {
        int i = item / blocks / params, k = item / blocks % params, d = item % blocks * COLUMNS;
        sum_rows(dp + (size_t)(site->grad[i] + k) * D + d, dx, x0, p, site, coef, i, k, d,
                 osv_cpu_min(COLUMNS, D - d), D);
    }
}

void osv_cpu_apply_dx(osv_ops *o, float *dx, const float *x0, const float *p, const osv_site *site,
                      float *coef, int D)
{
    if (osv_cpu_failed(o) || !osv_form_has_dx(site->form)) return;
    osv_form form = site->form;
    int rank = osv_form_rank(form), width = osv_form_coefs(form);
#pragma omp parallel for schedule(static) \
    num_threads(osv_cpu_threads(o, (double)site->rows *D *osv_form_params(form)))
    for (int r = 0; r < site->rows; r++) {
        if (!site->sign[r]) continue;
        const float *v = p + (size_t)site->row_param[r] * D, *x = x0 + (size_t)r * D;
        const float *left = osv_form_left(v, D), *right = osv_form_right(form, v, D);
        float *g = dx + (size_t)(site->row + r) * D, *u = coef + (size_t)r * width;
        if (form.cut) {
            memset(g, 0, (size_t)D * sizeof *g);
            continue;
        }
        osv_form_sum sum = osv_form_dx(form, site->sign[r], dots(form, x, v, g, D));
        for (int k = 0; k < rank; k++) u[k] = (float)dot(left + (size_t)k * D, g, D);
        if (sum.x != 0 || sum.g != 1) sum_of_two(g, sum.g, g, sum.x, x, D);
        if (sum.v != 0) add_scaled(g, sum.v, v, D);
        for (int k = 0; k < rank; k++) add_scaled(g, u[k], right + (size_t)k * D, D);
    }
}
