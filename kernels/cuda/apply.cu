/* Limited by bandwidth: apply reads and writes the site's rows, a block a row; dp reads them once for each
 * row of parameters. The parameters stay in L2. `add`, which nearly every run uses, has kernels of its own.
 */
#include "kernels/cuda/gpu.cuh"
#include "kernels/form.h"

/* ---- add ---- */

/* x = x0 + sign v. Sign 0 copies, whatever v is: a vector that became NaN must not reach unsteered rows. */
static __global__ void apply_add(float *x, const float *x0, const float *v, const int *row_param,
                                 const int *sign, int D, bool by_four)
{
    int r = (int)blockIdx.x, s = sign[r];
    x += (size_t)r * D;
    x0 += (size_t)r * D;
    v += (size_t)row_param[r] * D;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x0 + d);
            store4(x + d, s ? add4(a, scale4(load4(v + d), (float)s)) : a);
        },
        [&](int d) { x[d] = s ? x0[d] + (float)s * v[d] : x0[d]; });
}

enum { DP_WARPS = 16 };

/* A sum over a job's rows for 32 columns: warp w adds the rows w, w + 16, ... in order, then the 16 sums are
 * added in order, so the bytes depend on the rows alone. In the threads of the first warp. */
template <typename Row> static inline __device__ float sum_over_rows(int first, int end, bool inside, Row row)
{
    SHARED(float, part, DP_WARPS *WARP);
    float sum = 0;
    if (inside)
        for (int r = first + warp_index(); r < end; r += DP_WARPS) sum += row(r);
    part[threadIdx.x] = sum;
    __syncthreads();
    if (warp_index() == 0)
        for (int w = 1; w < DP_WARPS; w++) sum += part[w * WARP + warp_lane()];
    return sum;
}

/* dv = sum of sign dx: a block for 32 columns of a job. */
static __global__ void apply_add_dp(float *dp, const float *dx, const int *grad, const int *first,
                                    const int *sign, int D, int column_blocks)
{
    int i = (int)blockIdx.x / column_blocks, d = (int)blockIdx.x % column_blocks * WARP + warp_lane();
    float sum = sum_over_rows(first[i], first[i + 1], d < D,
                              [&](int r) { return sign[r] ? (float)sign[r] * dx[(size_t)r * D + d] : 0.0f; });
    if (warp_index() == 0 && d < D) dp[(size_t)grad[i] * D + d] = sum;
}

/* ---- the other forms ---- */

static __device__ double row_dot(const float *a, const float *b, int D)
{
    double sum = 0;
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) sum += (double)a[d] * b[d];
    return block_sum(sum);
}

/* The dot products of a row that its form needs, in all threads. Sums are double: the square of a short
 * vector may leave the range of float, and it has a direction like any other. g NULL: not asked for. */
static __device__ osv_form_dots row_dots(osv_form f, const float *x, const float *v, const float *g, int D)
{
    osv_form_dots s = {0, 0, 0, 0, 0, 0};
    if (f.kind == OSV_FORM_ADD || f.kind == OSV_FORM_AFFINE) return s;
    s.xv = row_dot(x, v, D);
    s.vv = row_dot(v, v, D);
    if (g) s.gv = row_dot(g, v, D);
    if (f.kind == OSV_FORM_CLAMP && f.offset) s.mv = row_dot(v + D, v, D);
    if (f.kind == OSV_FORM_ADD_NORM) s.xx = row_dot(x, x, D);
    if (f.kind == OSV_FORM_ADD_NORM && g) s.gx = row_dot(g, x, D);
    return s;
}

/* A block a row; t are `rank` numbers of the row. */
static __global__ void apply_form(float *x, const float *x0, const float *p, osv_form form,
                                  const int *row_param, const int *sign, float *coef, int D)
{
    int r = (int)blockIdx.x, s = sign[r], rank = osv_form_rank(form);
    x += (size_t)r * D;
    x0 += (size_t)r * D;
    const float *v = p + (size_t)row_param[r] * D, *left = osv_form_left(v, D),
                *right = osv_form_right(form, v, D);
    osv_form_sum sum = osv_form_out(form, s, row_dots(form, x0, v, NULL, D));
    float *t = coef + (size_t)r * osv_form_coefs(form), factor = (float)sum.v, keep = (float)sum.x;
    for (int k = 0; k < rank; k++) {
        float dot = (float)row_dot(right + (size_t)k * D, x0, D);
        if (threadIdx.x == 0) t[k] = dot;
    }
    __syncthreads();
    bool same = s == 0 || (sum.x == 1 && sum.v == 0);
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) {
        float y = same ? x0[d] : keep * x0[d] + factor * v[d];
        for (int k = 0; k < rank && s != 0; k++) y += t[k] * left[(size_t)k * D + d];
        x[d] = y;
    }
}

/* The factors of dv's sum, then right[k].x, then left[k].dx: a block a row. */
static __global__ void form_coef(float *coef, const float *dx, const float *x0, const float *p, osv_form form,
                                 const int *row_param, const int *sign, int D)
{
    int r = (int)blockIdx.x, rank = osv_form_rank(form);
    dx += (size_t)r * D;
    x0 += (size_t)r * D;
    const float *v = p + (size_t)row_param[r] * D, *left = osv_form_left(v, D),
                *right = osv_form_right(form, v, D);
    float *c = coef + (size_t)r * osv_form_coefs(form);
    osv_form_sum sum = osv_form_dv(form, sign[r], row_dots(form, x0, v, dx, D));
    if (threadIdx.x == 0) {
        c[0] = (float)sum.g;
        c[1] = (float)sum.x;
        c[2] = (float)sum.v;
    }
    for (int k = 0; k < rank; k++) {
        float t = (float)row_dot(right + (size_t)k * D, x0, D),
              u = (float)row_dot(left + (size_t)k * D, dx, D);
        if (threadIdx.x == 0) {
            c[3 + k] = t;
            c[3 + rank + k] = u;
        }
    }
}

/* A block for 32 columns of a parameter row of a job. */
static __global__ void form_dp(float *dp, const float *dx, const float *x0, const float *p, osv_form form,
                               const int *param, const int *grad, const int *first, const int *sign,
                               const float *coef, int D, int column_blocks)
{
    int params = osv_form_params(form), rank = osv_form_rank(form), width = osv_form_coefs(form);
    int i = (int)blockIdx.x / column_blocks / params, k = (int)blockIdx.x / column_blocks % params;
    int d = (int)blockIdx.x % column_blocks * WARP + warp_lane();
    bool shifted = form.kind == OSV_FORM_CLAMP && form.offset, none = k > 0 && rank == 0;
    const float *v = p + (size_t)param[i] * D;
    float sum = sum_over_rows(first[i], first[i + 1], d < D && !none, [&](int r) {
        if (sign[r] == 0) return 0.0f;
        const float *c = coef + (size_t)r * width;
        float g = dx[(size_t)r * D + d], x = x0[(size_t)r * D + d];
        if (k > 0) return c[2 + k] * (k <= rank ? g : x);
        if (c[1] == 0) return c[0] * g;
        return c[0] * g + c[1] * (shifted ? x - v[D + d] : x) + c[2] * v[d];
    });
    if (warp_index() == 0 && d < D) dp[(size_t)(grad[i] + k) * D + d] = sum;
}

static __global__ void form_dx(float *dx, const float *x0, const float *p, osv_form form,
                               const int *row_param, const int *sign, float *coef, int D)
{
    int r = (int)blockIdx.x, s = sign[r], rank = osv_form_rank(form);
    dx += (size_t)r * D;
    if (form.cut) {
        for (int d = (int)threadIdx.x; d < D && s != 0; d += (int)blockDim.x) dx[d] = 0;
        return;
    }
    x0 += (size_t)r * D;
    const float *v = p + (size_t)row_param[r] * D, *left = osv_form_left(v, D),
                *right = osv_form_right(form, v, D);
    osv_form_sum sum = osv_form_dx(form, s, row_dots(form, x0, v, dx, D));
    float *u = coef + (size_t)r * osv_form_coefs(form);
    for (int k = 0; k < rank; k++) {
        float dot = (float)row_dot(left + (size_t)k * D, dx, D);
        if (threadIdx.x == 0) u[k] = dot;
    }
    __syncthreads();
    if (s == 0) return;
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) {
        float y = (float)sum.g * dx[d];
        if (sum.x != 0) y += (float)sum.x * x0[d];
        if (sum.v != 0) y += (float)sum.v * v[d];
        for (int k = 0; k < rank; k++) y += u[k] * right[(size_t)k * D + d];
        dx[d] = y;
    }
}

/* ---- ops ---- */

extern "C" void osv_cuda_apply(osv_ops *o, float *x, const float *x0, const float *p, const osv_site *site,
                               float *coef, int D)
{
    if (osv_ops_status(o)) return;
    x += (size_t)site->row * D;
    if (site->form.kind != OSV_FORM_ADD) {
        LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, apply_form, x, x0, p, site->form,
               site->row_param, site->sign, coef, D);
        return;
    }
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(x0, D) && osv_cuda_by_four(p, D);
    LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, apply_add, x, x0, p, site->row_param,
           site->sign, D, by_four);
}

extern "C" void osv_cuda_apply_dp(osv_ops *o, float *dp, const float *dx, const float *x0, const float *p,
                                  const osv_site *site, float *coef, int D)
{
    if (osv_ops_status(o)) return;
    int column_blocks = (D + WARP - 1) / WARP;
    dx += (size_t)site->row * D;
    if (site->form.kind == OSV_FORM_ADD) {
        LAUNCH(osv_cuda_device(o), site->jobs * column_blocks, DP_WARPS * WARP, 0, apply_add_dp, dp, dx,
               site->grad, site->first, site->sign, D, column_blocks);
        return;
    }
    LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, form_coef, coef, dx, x0, p, site->form,
           site->row_param, site->sign, D);
    LAUNCH(osv_cuda_device(o), site->jobs * osv_form_params(site->form) * column_blocks, DP_WARPS * WARP, 0,
           form_dp, dp, dx, x0, p, site->form, site->param, site->grad, site->first, site->sign, coef, D,
           column_blocks);
}

extern "C" void osv_cuda_apply_dx(osv_ops *o, float *dx, const float *x0, const float *p,
                                  const osv_site *site, float *coef, int D)
{
    if (osv_ops_status(o) || !osv_form_has_dx(site->form)) return;
    LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, form_dx, dx + (size_t)site->row * D,
           x0, p, site->form, site->row_param, site->sign, coef, D);
}
