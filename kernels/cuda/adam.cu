/* Limited by latency: a few vectors of D numbers, a block each, which has to know the whole vector's length.
 */
#include "kernels/cuda/gpu.cuh"
#include "kernels/objective.h"

enum { THREADS = 1024 };

/* |v|, in all threads. In double, as squares may leave the range of float. */
static __device__ double length(const float *v, int D)
{
    double square = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) square += (double)v[d] * v[d];
    return sqrt(block_sum(square));
}

/* v without its part along a direction of length 1; a thread reads and writes the same numbers of v always */
static __device__ void leave(float *v, const double *direction, int D)
{
    double part = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) part += direction[d] * v[d];
    part = block_sum(part);
    for (int d = (int)threadIdx.x; d < D; d += THREADS) v[d] = (float)(v[d] - part * direction[d]);
}

/* ref/adam.c has the formulas. A job with lr = 0 is left as it is. */
static __global__ void adam(float *v, float *m, float *s, const float *dv, const double *direction,
                            const osv_adam_params *params, int D)
{
    size_t at = (size_t)blockIdx.x * D;
    osv_adam_params p = params[blockIdx.x];
    if (p.lr == 0) return; /* the whole block */
    for (int d = (int)threadIdx.x; d < D; d += THREADS) {
        float g = dv[at + d];
        if (p.adamax) {
            osv_adamax(&v[at + d], &m[at + d], &s[at + d], g, p.lr, &p);
            continue;
        }
        float first = p.beta1 * m[at + d] + (1 - p.beta1) * g;
        float second = p.beta2 * s[at + d] + (1 - p.beta2) * g * g;
        v[at + d] -= p.lr * (first / p.correction1) / (sqrtf(second / p.correction2) + p.eps);
        m[at + d] = first;
        s[at + d] = second;
    }
    for (int k = 0; k < p.directions; k++) leave(v + at, direction + (size_t)(p.direction + k) * D, D);
    double norm = length(v + at, D);
    if (p.max_norm >= 0 && norm > p.max_norm) {
        float factor = (float)(p.max_norm / norm);
        for (int d = (int)threadIdx.x; d < D; d += THREADS) v[at + d] *= factor;
    }
}

static __global__ void lengths(float *out, const float *v, int D)
{
    double norm = length(v + (size_t)blockIdx.x * D, D);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)norm;
}

extern "C" void osv_cuda_adam(osv_ops *o, float *v, float *m, float *s, const float *dv,
                              const double *direction, const osv_adam_params *params, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, adam, v, m, s, dv, direction, params, D);
}

extern "C" void osv_cuda_norm(osv_ops *o, float *out, const float *v, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, lengths, out, v, D);
}
