/* Limited by latency: a few vectors of D numbers, a block each, which has to know the whole vector's length.
 */
#include "kernels/cuda/gpu.cuh"
#include "kernels/objective.h"

enum { THREADS = 1024 };

/* ref/adam.c has the formulas. A job with lr = 0 is left as it is. Lengths are summed in double, as their
 * squares may leave the range of float. */
static __global__ void adam(float *v, float *m, float *s, const float *dv, const osv_adam_params *params,
                            int D)
{
    size_t at = (size_t)blockIdx.x * D;
    osv_adam_params p = params[blockIdx.x];
    double square = 0;
    if (p.lr == 0) return; /* the whole block */
    for (int d = (int)threadIdx.x; d < D; d += THREADS) {
        float g = dv[at + d];
        if (p.adamax) {
            osv_adamax(&v[at + d], &m[at + d], &s[at + d], g, p.lr, &p);
            square += (double)v[at + d] * v[at + d];
            continue;
        }
        float first = p.beta1 * m[at + d] + (1 - p.beta1) * g;
        float second = p.beta2 * s[at + d] + (1 - p.beta2) * g * g;
        float x = v[at + d] - p.lr * (first / p.correction1) / (sqrtf(second / p.correction2) + p.eps);
        m[at + d] = first;
        s[at + d] = second;
        v[at + d] = x;
        square += (double)x * x;
    }
    double norm = sqrt(block_sum(square));
    if (p.max_norm >= 0 && norm > p.max_norm) {
        float factor = (float)(p.max_norm / norm);
        for (int d = (int)threadIdx.x; d < D; d += THREADS) v[at + d] *= factor;
    }
}

static __global__ void lengths(float *out, const float *v, int D)
{
    double square = 0;
    v += (size_t)blockIdx.x * D;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) square += (double)v[d] * v[d];
    square = block_sum(square);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)sqrt(square);
}

extern "C" void osv_cuda_adam(osv_ops *o, float *v, float *m, float *s, const float *dv,
                              const osv_adam_params *params, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, adam, v, m, s, dv, params, D);
}

extern "C" void osv_cuda_norm(osv_ops *o, float *out, const float *v, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, lengths, out, v, D);
}
