#include "kernels/noise.h"

#include <string.h>

#include "kernels/cpu/cpu.h"

static void add_noise(float *q, const float *p, const float *dp, const osv_noise *n, int k, int D)
{
    double draw_g = 0, gg = 0;
    for (int d = 0; d < D; d++) {
        double draw = osv_noise_draw(n, k, D, d);
        q[d] = (float)draw;
        draw_g += draw * dp[d];
        gg += (double)dp[d] * dp[d];
    }
    double along = osv_noise_along(n->kind, draw_g, gg);
    for (int d = 0; d < D; d++) q[d] = (float)(p[d] + (double)q[d] - along * dp[d]);
}

void osv_cpu_noise(osv_ops *o, float *q, const float *p, const float *dp, const osv_noise *noise, int k,
                   int D, int J)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)J *D * 32))
    for (int j = 0; j < J; j++) {
        size_t at = (size_t)j * D;
        if (k < noise[j].draws)
            add_noise(q + at, p + at, dp + at, &noise[j], k, D);
        else
            memcpy(q + at, p + at, (size_t)D * sizeof *q);
    }
}

void osv_cpu_noise_mean(osv_ops *o, float *mean, const float *dq, const osv_noise *noise, int k, int D, int J)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)J *D))
    for (int j = 0; j < J; j++) {
        size_t at = (size_t)j * D;
        for (int d = 0; k < noise[j].draws && d < D; d++)
            mean[at + d] = (float)((k > 0 ? mean[at + d] : 0) + (double)dq[at + d] / noise[j].draws);
    }
}
