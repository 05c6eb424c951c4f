/* Limited by bandwidth: two numbers read, one written. 4 numbers a thread and access. */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256 };

static inline __device__ float plus(float a, float b)
{
    return a + b;
}

static inline __device__ float4 plus(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

/* out[i] = x[i] + y[r], i = index[r] or r; out may be x */
template <typename V>
static __global__ void residual_add(V *out, const V *x, const V *y, const int *index, int D, int rows)
{
    size_t n = (size_t)rows * D, step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        size_t at = index ? (size_t)index[i / D] * D + i % D : i;
        out[at] = plus(x[at], y[i]);
    }
}

extern "C" void osv_cuda_residual_add(osv_ops *o, float *out, const float *x, const float *y,
                                      const int *index, int D, int rows)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    size_t n = (size_t)rows * D;
    if (osv_cuda_by_four(out, D) && osv_cuda_by_four(x, D) && osv_cuda_by_four(y, D))
        LAUNCH(d, osv_cuda_grid(o, n / 4, THREADS), THREADS, 0, residual_add<float4>, (float4 *)out,
               (const float4 *)x, (const float4 *)y, index, D / 4, rows);
    else
        LAUNCH(d, osv_cuda_grid(o, n, THREADS), THREADS, 0, residual_add<float>, out, x, y, index, D, rows);
}
