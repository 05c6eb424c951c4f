/* Limited by bandwidth. residual_add: two numbers read, one written, a block a row; scale: one and one, 4
 * numbers a thread and access. */
#include "kernels/cuda/gpu.cuh"

/* out[i] = x[i] + y[r], i = index[r] or r; out may be x */
static __global__ void residual_add(float *out, const float *x, const float *y, const int *index, int D,
                                    bool by_four)
{
    int r = (int)blockIdx.x;
    size_t at = (size_t)(index ? index[r] : r) * D;
    out += at;
    x += at;
    y += (size_t)r * D;
    over_row(
        D, by_four, [&](int d) { store4(out + d, add4(load4(x + d), load4(y + d))); },
        [&](int d) { out[d] = x[d] + y[d]; });
}

extern "C" void osv_cuda_residual_add(osv_ops *o, float *out, const float *x, const float *y,
                                      const int *index, int D, int rows)
{
    if (osv_ops_status(o)) return;
    bool by_four = osv_cuda_by_four(out, D) && osv_cuda_by_four(x, D) && osv_cuda_by_four(y, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, residual_add, out, x, y, index, D, by_four);
}

enum { THREADS = 256 };

/* y = factor y */
static __global__ void scale(float *y, float factor, size_t n, bool by_four)
{
    size_t step = (size_t)gridDim.x * blockDim.x, first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    size_t fours = by_four ? n / 4 : 0;
    for (size_t i = first; i < fours; i += step) store4(y + 4 * i, scale4(load4(y + 4 * i), factor));
    for (size_t i = 4 * fours + first; i < n; i += step) y[i] *= factor;
}

extern "C" void osv_cuda_scale(osv_ops *o, float *y, double factor, size_t n)
{
    if (osv_ops_status(o)) return;
    bool by_four = osv_cuda_by_four(y, 0);
    unsigned blocks = osv_cuda_grid(o, by_four ? (n + 3) / 4 : n, THREADS);
    LAUNCH(osv_cuda_device(o), blocks, THREADS, 0, scale, y, (float)factor, n, by_four);
}
