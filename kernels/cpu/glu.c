#include <math.h>

#include "kernels/cpu/math.h"

/* y = act(gate) up, and its gradients dgate = dy up act'(gate), dup = dy act(gate). Outputs may be inputs, at
 * the same index: `omp simd` says that nothing else overlaps, and a number is read before one is written. */

enum { BLOCK = 4096 }; /* numbers of an item */

/* The tanh form of GELU as x sigmoid(2 inner), which keeps its digits where 1 + tanh cancels;
 * inner = sqrt(2 / pi) (x + 0.044715 x^3). */
static const float INNER = 0x1.988454p-1f; /* sqrt(2 / pi) */
static const float CUBIC = 0.044715f;

OSV_CPU_CLONES
static void silu(float *y, const float *gate, const float *up, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] = gate[i] * osv_cpu_sigmoid(gate[i]) * up[i];
}

OSV_CPU_CLONES
static void silu_dx(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float x = gate[i], d = dy[i], u = up[i];
        float s = osv_cpu_sigmoid(x);
        dgate[i] = d * u * (s * (1 + x * (1 - s)));
        dup[i] = d * (x * s);
    }
}

OSV_CPU_CLONES
static void gelu_tanh(float *y, const float *gate, const float *up, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float x = gate[i];
        y[i] = x * osv_cpu_sigmoid(2 * INNER * (x + CUBIC * x * x * x)) * up[i];
    }
}

OSV_CPU_CLONES
static void gelu_tanh_dx(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float x = gate[i], d = dy[i], u = up[i];
        float s = osv_cpu_sigmoid(2 * INNER * (x + CUBIC * x * x * x));
        float slope = 2 * INNER * (1 + 3 * CUBIC * x * x);
        dgate[i] = d * u * (s + x * s * (1 - s) * slope);
        dup[i] = d * (x * s);
    }
}

/* The exact GELU, x Phi(x): no model that we know to be slow has it, so libm's erfc will do. */
static void gelu(float *y, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) y[i] = (float)(gate[i] * (erfc(-gate[i] * M_SQRT1_2) / 2) * up[i]);
}

static void gelu_dx(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) {
        double x = gate[i], d = dy[i], u = up[i];
        double phi = erfc(-x * M_SQRT1_2) / 2;
        double density = exp(-x * x / 2) * (M_2_SQRTPI * M_SQRT1_2 / 2);
        dgate[i] = (float)(d * u * (phi + x * density));
        dup[i] = (float)(d * x * phi);
    }
}

void osv_cpu_glu(osv_ops *o, float *y, const float *gate, const float *up, osv_activation act, size_t n)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, n))
    for (size_t at = 0; at < n; at += BLOCK) {
        int count = (int)(n - at < BLOCK ? n - at : BLOCK);
        switch (act) {
        case OSV_SILU: silu(y + at, gate + at, up + at, count); break;
        case OSV_GELU_TANH: gelu_tanh(y + at, gate + at, up + at, count); break;
        case OSV_GELU: gelu(y + at, gate + at, up + at, count); break;
        }
    }
}

void osv_cpu_glu_dx(osv_ops *o, float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                    osv_activation act, size_t n)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, n))
    for (size_t at = 0; at < n; at += BLOCK) {
        int count = (int)(n - at < BLOCK ? n - at : BLOCK);
        switch (act) {
        case OSV_SILU: silu_dx(dgate + at, dup + at, dy + at, gate + at, up + at, count); break;
        case OSV_GELU_TANH: gelu_tanh_dx(dgate + at, dup + at, dy + at, gate + at, up + at, count); break;
        case OSV_GELU: gelu_dx(dgate + at, dup + at, dy + at, gate + at, up + at, count); break;
        }
    }
}
