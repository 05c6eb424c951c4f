#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/objective.h"

OSV_CPU_CLONES
static double length(const float *v, int D)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++) sum += (double)v[d] * v[d];
    return sqrt(sum);
}

/* v without its part along a direction of length 1. */
OSV_CPU_CLONES
static void leave(float *restrict v, const double *restrict direction, int D)
{
    double part = 0;
#pragma omp simd reduction(+ : part)
    for (int d = 0; d < D; d++) part += direction[d] * v[d];
    for (int d = 0; d < D; d++) v[d] = (float)(v[d] - part * direction[d]);
}

/* In double: the moments of a slow job differ from their last value by less than a float's digits. */
OSV_CPU_CLONES
static void step(float *restrict v, float *restrict m, float *restrict s, const float *restrict dv,
                 const osv_adam_params *p, int D)
{
    double keep1 = p->beta1, keep2 = p->beta2, lr = (double)p->lr / p->correction1, eps = p->eps;
    double second = 1 / (double)p->correction2;
    for (int d = 0; d < D; d++) {
        double g = dv[d];
        double mean = keep1 * m[d] + (1 - keep1) * g;
        double square = keep2 * s[d] + (1 - keep2) * g * g;
        m[d] = (float)mean;
        s[d] = (float)square;
        v[d] = (float)(v[d] - lr * mean / (sqrt(square * second) + eps));
    }
}

/* Adam (Kingma & Ba 2015, algorithm 1), then the projections off the directions and onto the ball of radius
 * max_norm. A job that rests (lr = 0) keeps its vector and moments, whatever its gradient. */
void osv_cpu_adam(osv_ops *o, float *v, float *m, float *s, const float *dv, const double *direction,
                  const osv_adam_params *params, int D, int J)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)J *D))
    for (int j = 0; j < J; j++) {
        const osv_adam_params *p = &params[j];
        if (p->lr == 0) continue;
        size_t at = (size_t)j * D;
        if (p->adamax)
            for (int d = 0; d < D; d++) osv_adamax(&v[at + d], &m[at + d], &s[at + d], dv[at + d], p->lr, p);
        else
            step(v + at, m + at, s + at, dv + at, p, D);
        for (int k = 0; k < p->directions; k++) leave(v + at, direction + (size_t)(p->direction + k) * D, D);
        double norm = length(v + at, D);
        if (p->max_norm >= 0 && norm > p->max_norm)
            for (int d = 0; d < D; d++) v[at + d] = (float)(v[at + d] * (p->max_norm / norm));
    }
}

void osv_cpu_norm(osv_ops *o, float *out, const float *v, int D, int J)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)J *D))
    for (int j = 0; j < J; j++) out[j] = (float)length(v + (size_t)j * D, D);
}
