/* A block for each row of parameters: a few vectors of D numbers, all of it arithmetic of the draws. */
#include "kernels/cuda/gpu.cuh"
#include "kernels/noise.h"

enum { THREADS = 256 };

static __global__ void add_noise(float *q, const float *p, const float *dp, const osv_noise *noise, int k,
                                 int D)
{
    const osv_noise n = noise[blockIdx.x];
    size_t at = (size_t)blockIdx.x * D;
    double draw_g = 0, gg = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) {
        double draw = k < n.draws ? osv_noise_draw(&n, k, D, d) : 0;
        q[at + d] = (float)draw;
        draw_g += draw * dp[at + d];
        gg += (double)dp[at + d] * dp[at + d];
    }
    draw_g = block_sum(draw_g);
    gg = block_sum(gg);
    double along = k < n.draws ? osv_noise_along(n.kind, draw_g, gg) : 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) {
        float moved = (float)(p[at + d] + (double)q[at + d] - along * dp[at + d]);
        q[at + d] = k < n.draws ? moved : p[at + d];
    }
}

static __global__ void add_to_mean(float *mean, const float *dq, const osv_noise *noise, int k, int D)
{
    int draws = noise[blockIdx.x].draws;
    size_t at = (size_t)blockIdx.x * D;
    for (int d = (int)threadIdx.x; k < draws && d < D; d += THREADS)
        mean[at + d] = (k > 0 ? mean[at + d] : 0) + dq[at + d] / (float)draws;
}

extern "C" void osv_cuda_noise(osv_ops *o, float *q, const float *p, const float *dp, const osv_noise *noise,
                               int k, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, add_noise, q, p, dp, noise, k, D);
}

extern "C" void osv_cuda_noise_mean(osv_ops *o, float *mean, const float *dq, const osv_noise *noise, int k,
                                    int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J, THREADS, 0, add_to_mean, mean, dq, noise, k, D);
}
