/* Limited by bandwidth: two numbers read, one written. A block a row. */
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
