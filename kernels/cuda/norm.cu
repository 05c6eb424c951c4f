/* Limited by bandwidth: forward reads x and writes y, _dx reads x and dy and writes dx; the second pass over
 * a row finds it in L1. A block a row, as many threads as the row has groups of 4 numbers, up to a limit. */
#include "kernels/cuda/gpu.cuh"

enum { MOST_THREADS = 512 }; /* rows of 8192 then are 4 groups a thread */

static unsigned threads_of(int D)
{
    unsigned threads = (unsigned)(D + 4 * WARP - 1) / (4 * WARP) * WARP;
    return threads < MOST_THREADS ? threads : (unsigned)MOST_THREADS;
}

/* f(d) for this thread's numbers d of the row, four(d) for its groups of 4. */
template <typename Four, typename One>
static inline __device__ void over_row(int D, bool by_four, Four four, One one)
{
    if (by_four)
        for (int d = 4 * (int)threadIdx.x; d < D; d += 4 * (int)blockDim.x) four(d);
    else
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) one(d);
}

static inline __device__ float dot4(float4 a, float4 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

/* offset + w, times dy */
static inline __device__ float4 gained(float4 w, float offset, float4 dy)
{
    return make_float4((offset + w.x) * dy.x, (offset + w.y) * dy.y, (offset + w.z) * dy.z,
                       (offset + w.w) * dy.w);
}

/* y = x g / rms(x), g = offset + w; y may be x */
static __global__ void rmsnorm(float *y, const float *x, const float *w, float offset, float eps, int D,
                               bool by_four)
{
    x += (size_t)blockIdx.x * D;
    y += (size_t)blockIdx.x * D;
    float sum = 0;
    over_row(
        D, by_four, [&](int d) { sum += dot4(load4(x + d), load4(x + d)); },
        [&](int d) { sum += x[d] * x[d]; });
    float inverse = 1 / sqrtf(block_sum(sum) / (float)D + eps);
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x + d);
            store4(y + d, gained(load4(w + d), offset,
                                 make_float4(a.x * inverse, a.y * inverse, a.z * inverse, a.w * inverse)));
        },
        [&](int d) { y[d] = x[d] * inverse * (offset + w[d]); });
}

/* With n = 1 / rms(x): dx = n (g dy - x n^2 mean(x g dy)); dx may be dy */
static __global__ void rmsnorm_dx(float *dx, const float *dy, const float *x, const float *w, float offset,
                                  float eps, int D, bool by_four)
{
    x += (size_t)blockIdx.x * D;
    dy += (size_t)blockIdx.x * D;
    dx += (size_t)blockIdx.x * D;
    float square = 0, dot = 0;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x + d);
            square += dot4(a, a);
            dot += dot4(a, gained(load4(w + d), offset, load4(dy + d)));
        },
        [&](int d) {
            square += x[d] * x[d];
            dot += x[d] * ((offset + w[d]) * dy[d]);
        });
    float inverse = 1 / sqrtf(block_sum(square) / (float)D + eps);
    float pull = inverse * inverse * (block_sum(dot) / (float)D);
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x + d), g = gained(load4(w + d), offset, load4(dy + d));
            store4(dx + d, make_float4(inverse * (g.x - a.x * pull), inverse * (g.y - a.y * pull),
                                       inverse * (g.z - a.z * pull), inverse * (g.w - a.w * pull)));
        },
        [&](int d) { dx[d] = inverse * ((offset + w[d]) * dy[d] - x[d] * pull); });
}

extern "C" void osv_cuda_rmsnorm(osv_ops *o, float *y, const float *x, const osv_weight *w, double offset,
                                 double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(y, D);
    LAUNCH(osv_cuda_device(o), rows, threads_of(D), 0, rmsnorm, y, x, (const float *)w->data, (float)offset,
           (float)eps, D, by_four);
}

extern "C" void osv_cuda_rmsnorm_dx(osv_ops *o, float *dx, const float *dy, const float *x,
                                    const osv_weight *w, double offset, double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(dy, D) && osv_cuda_by_four(dx, D);
    LAUNCH(osv_cuda_device(o), rows, threads_of(D), 0, rmsnorm_dx, dx, dy, x, (const float *)w->data,
           (float)offset, (float)eps, D, by_four);
}
