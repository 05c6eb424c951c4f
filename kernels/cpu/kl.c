#include <math.h>

#include "kernels/cpu/math.h"

enum { BLOCK = 4096 }; /* columns of an item */

typedef struct {
    double total, second;
} sums;

/* u = c (z - max); of exp(u), and of p (u - ln p) or exp(u) (u - ln p) */
OSV_CPU_CLONES
static sums sum_block(const float *z, const float *logp, float c, float max, bool reverse, int n)
{
    double total = 0, second = 0;
#pragma omp simd reduction(+ : total, second)
    for (int i = 0; i < n; i++) {
        float u = c * (z[i] - max), e = osv_cpu_exp(u);
        float weight = osv_cpu_select(reverse, e, osv_cpu_exp(logp[i]));
        total += (double)e;
        second += (double)osv_cpu_select(weight == 0, 0, weight * (u - logp[i]));
    }
    return (sums){total, second};
}

/* An item is a distribution's block of columns; they are put together in order. */
void osv_cpu_kl_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_distributions *d,
                    int V)
{
    int blocks = osv_cpu_blocks(V, BLOCK);
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)d->K * blocks * sizeof(sums))) return;
    const osv_cpu *cpu = o->state;
    sums *part = cpu->partial; /* [K, blocks] */
    for (int r = 0; r < d->rows; r++) {
        int first = d->first[r], count = d->first[r + 1] - first;
        const float *row = z + (size_t)d->row[r] * V;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)count *V))
        for (int item = 0; item < count * blocks; item++) {
            int k = first + item / blocks, at = item % blocks * BLOCK;
            part[(size_t)k * blocks + item % blocks] =
                sum_block(row + at, d->logp + (size_t)d->aim[k] * V + at, d->coldness[r], max[d->row[r]],
                          d->reverse[k], osv_cpu_min(BLOCK, V - at));
        }
    }
    for (int k = 0; k < d->K; k++) {
        sums all = {0, 0};
        for (int b = 0; b < blocks; b++) {
            all.total += part[(size_t)k * blocks + b].total;
            all.second += part[(size_t)k * blocks + b].second;
        }
        sum[2 * (size_t)k] = (float)all.total;
        sum[2 * (size_t)k + 1] = (float)all.second;
    }
}

/* ln total - second, or second / total - ln total where reverse: kernels/ref/kl.c has the derivation. */
void osv_cpu_kl(osv_ops *o, float *loss, const float *sum, const osv_distributions *d)
{
    if (osv_cpu_failed(o)) return;
    for (int k = 0; k < d->K; k++) {
        double total = sum[2 * (size_t)k], second = sum[2 * (size_t)k + 1];
        loss[k] = (float)(d->reverse[k] ? second / total - log(total) : log(total) - second);
    }
}

/* dz += factor (P - p), or factor P (u - ln p - mean), P = exp(u) inverse */
OSV_CPU_CLONES
static void add_block(float *dz, const float *z, const float *logp, float factor, float c, float max,
                      float inverse, float mean, bool reverse, int n)
{
    for (int i = 0; i < n; i++) {
        float u = c * (z[i] - max), P = osv_cpu_exp(u) * inverse;
        float back = osv_cpu_select(P == 0, 0, P * (u - logp[i] - mean));
        dz[i] += factor * osv_cpu_select(reverse, back, P - osv_cpu_exp(logp[i]));
    }
}

OSV_CPU_CLONES
static void cap_block(float *dz, const float *z, float cap, int n)
{
    for (int i = 0; i < n; i++) dz[i] *= osv_cpu_cap_slope(z[i], cap);
}

void osv_cpu_kl_dx(osv_ops *o, float *dz, const float *z, const float *max, const float *sum, const float *w,
                   const osv_distributions *d, int V)
{
    int blocks = osv_cpu_blocks(V, BLOCK);
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)d->rows *V))
    for (int item = 0; item < d->rows * blocks; item++) {
        int r = item / blocks, at = item % blocks * BLOCK, n = osv_cpu_min(BLOCK, V - at);
        const float *row = z + (size_t)d->row[r] * V + at;
        float *out = dz + (size_t)r * V + at, c = d->coldness[r];
        memset(out, 0, (size_t)n * sizeof *out);
        for (int k = d->first[r]; k < d->first[r + 1]; k++) {
            double total = sum[2 * (size_t)k], second = sum[2 * (size_t)k + 1];
            add_block(out, row, d->logp + (size_t)d->aim[k] * V + at, c * w[k], c, max[d->row[r]],
                      (float)(1 / total), (float)(second / total), d->reverse[k], n);
        }
        if (d->softcap > 0) cap_block(out, row, (float)d->softcap, n);
    }
}
