/* Limited by bandwidth: apply reads and writes the site's rows, a block a row; dv reads them once. The
 * vectors stay in L2. */
#include "kernels/cuda/gpu.cuh"

/* x = x0 + sign v. Sign 0 copies, whatever v is: a vector that became NaN must not reach unsteered rows. */
static __global__ void apply_add(float *x, const float *x0, const float *v, const int *row_job,
                                 const int *sign, int D, bool by_four)
{
    int r = (int)blockIdx.x, s = sign[r];
    x += (size_t)r * D;
    x0 += (size_t)r * D;
    v += (size_t)row_job[r] * D;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x0 + d);
            store4(x + d, s ? add4(a, scale4(load4(v + d), (float)s)) : a);
        },
        [&](int d) { x[d] = s ? x0[d] + (float)s * v[d] : x0[d]; });
}

/* x = x0 + (clamp sign - v.x0 / |v|^2) v; a v of zeros adds nothing. Sums are double: the square of a short
 * vector may leave the range of float, and it has a direction like any other. */
static __global__ void apply_clamp(float *x, const float *x0, const float *v, double clamp,
                                   const int *row_job, const int *sign, int D, bool by_four)
{
    int r = (int)blockIdx.x, s = sign[r];
    double dot = 0, square = 0;
    x += (size_t)r * D;
    x0 += (size_t)r * D;
    v += (size_t)row_job[r] * D;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x0 + d), b = load4(v + d);
            dot += (double)a.x * b.x + (double)a.y * b.y + (double)a.z * b.z + (double)a.w * b.w;
            square += (double)b.x * b.x + (double)b.y * b.y + (double)b.z * b.z + (double)b.w * b.w;
        },
        [&](int d) {
            dot += (double)x0[d] * v[d];
            square += (double)v[d] * v[d];
        });
    dot = block_sum(dot);
    square = block_sum(square);
    bool steered = s != 0 && square != 0;
    float factor = steered ? (float)(clamp * s - dot / square) : 0;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x0 + d);
            store4(x + d, steered ? add4(a, scale4(load4(v + d), factor)) : a);
        },
        [&](int d) { x[d] = steered ? x0[d] + factor * v[d] : x0[d]; });
}

enum { DV_WARPS = 16 };

/* dv[job] = sum over its rows of sign dx: a block for 32 columns of a job. Warp w adds the rows w, w + 16,
 * ... in order, then the 16 sums are added in order, so the bytes depend on the rows alone. */
static __global__ void apply_add_dv(float *dv, const float *dx, const int *job, const int *first,
                                    const int *sign, int D, int column_blocks)
{
    SHARED(float, part, DV_WARPS *WARP);
    int i = (int)blockIdx.x / column_blocks, d = (int)blockIdx.x % column_blocks * WARP + warp_lane();
    float sum = 0;
    if (d < D)
        for (int r = first[i] + warp_index(); r < first[i + 1]; r += DV_WARPS)
            if (sign[r]) sum += (float)sign[r] * dx[(size_t)r * D + d];
    part[threadIdx.x] = sum;
    __syncthreads();
    if (warp_index() == 0 && d < D) {
        for (int w = 1; w < DV_WARPS; w++) sum += part[w * WARP + warp_lane()];
        dv[(size_t)job[i] * D + d] = sum;
    }
}

extern "C" void osv_cuda_apply_add(osv_ops *o, float *x, const float *x0, const float *v,
                                   const osv_site *site, int D)
{
    if (osv_ops_status(o)) return;
    x += (size_t)site->row * D;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(x0, D) && osv_cuda_by_four(v, D);
    LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, apply_add, x, x0, v, site->row_job,
           site->sign, D, by_four);
}

extern "C" void osv_cuda_apply_clamp(osv_ops *o, float *x, const float *x0, const float *v, double clamp,
                                     const osv_site *site, int D)
{
    if (osv_ops_status(o)) return;
    x += (size_t)site->row * D;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(x0, D) && osv_cuda_by_four(v, D);
    LAUNCH(osv_cuda_device(o), site->rows, osv_cuda_row_threads(D), 0, apply_clamp, x, x0, v, clamp,
           site->row_job, site->sign, D, by_four);
}

extern "C" void osv_cuda_apply_add_dv(osv_ops *o, float *dv, const float *dx, const osv_site *site, int D)
{
    if (osv_ops_status(o)) return;
    int column_blocks = (D + WARP - 1) / WARP;
    LAUNCH(osv_cuda_device(o), site->jobs * column_blocks, DV_WARPS * WARP, 0, apply_add_dv, dv,
           dx + (size_t)site->row * D, site->job, site->first, site->sign, D, column_blocks);
}
