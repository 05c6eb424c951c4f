/* Limited by bandwidth: forward reads x and writes y, _dx reads x and dy and writes dx; the second pass over
 * a row finds it in L1. A block a row. */
#include "kernels/cuda/gpu.cuh"

/* (offset + w) x */
static inline __device__ float4 gained(float4 w, float offset, float4 x)
{
    return make_float4((offset + w.x) * x.x, (offset + w.y) * x.y, (offset + w.z) * x.z,
                       (offset + w.w) * x.w);
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
        [&](int d) { store4(y + d, gained(load4(w + d), offset, scale4(load4(x + d), inverse))); },
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
            store4(dx + d, scale4(add4(g, scale4(a, -pull)), inverse));
        },
        [&](int d) { dx[d] = inverse * ((offset + w[d]) * dy[d] - x[d] * pull); });
}

/* ---- split over ranks ---- */

/* sum of x^2 from column `first` on */
static __global__ void rmsnorm_sum(float *out, const float *x, int first, int D, bool by_four)
{
    x += (size_t)blockIdx.x * D + first;
    float sum = 0;
    over_row(
        D - first, by_four, [&](int d) { sum += dot4(load4(x + d), load4(x + d)); },
        [&](int d) { sum += x[d] * x[d]; });
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

static __global__ void rmsnorm_split(float *y, const float *x, const float *sum, const float *w, float offset,
                                     float eps, float width, int D, bool by_four)
{
    float inverse = 1 / sqrtf(sum[blockIdx.x] / width + eps);
    x += (size_t)blockIdx.x * D;
    y += (size_t)blockIdx.x * D;
    over_row(
        D, by_four,
        [&](int d) { store4(y + d, gained(load4(w + d), offset, scale4(load4(x + d), inverse))); },
        [&](int d) { y[d] = x[d] * inverse * (offset + w[d]); });
}

/* sum of x g dy */
static __global__ void rmsnorm_dot(float *out, const float *dy, const float *x, const float *w, float offset,
                                   int D, bool by_four)
{
    x += (size_t)blockIdx.x * D;
    dy += (size_t)blockIdx.x * D;
    float dot = 0;
    over_row(
        D, by_four, [&](int d) { dot += dot4(load4(x + d), gained(load4(w + d), offset, load4(dy + d))); },
        [&](int d) { dot += x[d] * ((offset + w[d]) * dy[d]); });
    dot = block_sum(dot);
    if (threadIdx.x == 0) out[blockIdx.x] = dot;
}

/* As rmsnorm_dx; what pulls at a column is counted on one rank. dx may be dy */
static __global__ void rmsnorm_split_dx(float *dx, const float *dy, const float *x, const float *sum,
                                        const float *dot, const float *w, float offset, float eps,
                                        float width, int first, int D, bool by_four)
{
    float inverse = 1 / sqrtf(sum[blockIdx.x] / width + eps);
    float pull = inverse * inverse * (dot[blockIdx.x] / width);
    x += (size_t)blockIdx.x * D;
    dy += (size_t)blockIdx.x * D;
    dx += (size_t)blockIdx.x * D;
    over_row(
        D, by_four,
        [&](int d) {
            float4 a = load4(x + d), g = gained(load4(w + d), offset, load4(dy + d));
            store4(dx + d, scale4(add4(g, scale4(a, d < first ? 0 : -pull)), inverse));
        },
        [&](int d) { dx[d] = inverse * ((offset + w[d]) * dy[d] - x[d] * (d < first ? 0 : pull)); });
}

/* ---- launchers ---- */

extern "C" void osv_cuda_rmsnorm(osv_ops *o, float *y, const float *x, const osv_weight *w, double offset,
                                 double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(y, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, rmsnorm, y, x, (const float *)w->data,
           (float)offset, (float)eps, D, by_four);
}

extern "C" void osv_cuda_rmsnorm_dx(osv_ops *o, float *dx, const float *dy, const float *x,
                                    const osv_weight *w, double offset, double eps, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(dy, D) && osv_cuda_by_four(dx, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, rmsnorm_dx, dx, dy, x,
           (const float *)w->data, (float)offset, (float)eps, D, by_four);
}

extern "C" void osv_cuda_rmsnorm_sum(osv_ops *o, float *sum, const float *x, const osv_split_norm *n,
                                     int cols, int rows)
{
    if (osv_ops_status(o)) return;
    bool by_four = osv_cuda_by_four(x, cols) && n->first % 4 == 0;
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(cols), 0, rmsnorm_sum, sum, x, n->first, cols,
           by_four);
}

extern "C" void osv_cuda_rmsnorm_split(osv_ops *o, float *y, const float *x, const float *sum,
                                       const osv_weight *w, const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(y, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, rmsnorm_split, y, x, sum,
           (const float *)w->data, (float)n->offset, (float)n->eps, (float)n->width, D, by_four);
}

extern "C" void osv_cuda_rmsnorm_dot(osv_ops *o, float *dot, const float *dy, const float *x,
                                     const osv_weight *w, const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(dy, D);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, rmsnorm_dot, dot, dy, x,
           (const float *)w->data, (float)n->offset, D, by_four);
}

extern "C" void osv_cuda_rmsnorm_split_dx(osv_ops *o, float *dx, const float *dy, const float *x,
                                          const float *sum, const float *dot, const osv_weight *w,
                                          const osv_split_norm *n, int rows)
{
    if (osv_ops_status(o)) return;
    int D = w->cols;
    bool by_four = osv_cuda_by_four(x, D) && osv_cuda_by_four(dy, D) && osv_cuda_by_four(dx, D) &&
                   n->first % 4 == 0;
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(D), 0, rmsnorm_split_dx, dx, dy, x, sum, dot,
           (const float *)w->data, (float)n->offset, (float)n->eps, (float)n->width, n->first, D, by_four);
}
