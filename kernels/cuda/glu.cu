/* Limited by bandwidth: forward reads two numbers and writes one, _dx reads three and writes two; the
 * exponential and the division hide behind that. 4 numbers a thread and access. */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256 };

static inline __device__ float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* act(x) and its derivative; the formulas are in ref/glu.c. With u the inner sum of GELU tanh,
 * (1 + tanh(u)) / 2 = sigmoid(2 u). */
template <osv_activation act> static inline __device__ float activate(float x, float *slope)
{
    const float root = 0.7978845608028654f, cubic = 0.044715f; /* sqrt(2 / pi) */
    if (act == OSV_SILU) {
        float s = sigmoid(x);
        *slope = s * (1 + x * (1 - s));
        return x * s;
    }
    if (act == OSV_GELU_TANH) {
        float s = sigmoid(2 * root * (x + cubic * x * x * x));
        *slope = s + 2 * x * s * (1 - s) * root * (1 + 3 * cubic * x * x);
        return x * s;
    }
    float phi = 0.5f * erfcf(-0.7071067811865476f * x);
    *slope = phi + x * expf(-0.5f * x * x) * 0.3989422804014327f; /* 1 / sqrt(2 pi) */
    return x * phi;
}

template <osv_activation act> static inline __device__ float one(float gate, float up)
{
    float slope;
    return activate<act>(gate, &slope) * up;
}

/* *dgate = dy up act'(gate), *dup = dy act(gate) */
template <osv_activation act>
static inline __device__ void one_dx(float *dgate, float *dup, float dy, float gate, float up)
{
    float slope, value = activate<act>(gate, &slope);
    *dgate = dy * up * slope;
    *dup = dy * value;
}

/* y may be gate or up. The last n % 4 numbers, or all if not by_four, are taken one by one. */
template <osv_activation act>
static __global__ void glu(float *y, const float *gate, const float *up, size_t n, bool by_four)
{
    size_t step = (size_t)gridDim.x * blockDim.x, first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    size_t fours = by_four ? n / 4 : 0;
    for (size_t i = first; i < fours; i += step) {
        float4 g = load4(gate + 4 * i), u = load4(up + 4 * i);
        store4(y + 4 * i,
               make_float4(one<act>(g.x, u.x), one<act>(g.y, u.y), one<act>(g.z, u.z), one<act>(g.w, u.w)));
    }
    for (size_t i = 4 * fours + first; i < n; i += step) y[i] = one<act>(gate[i], up[i]);
}

/* dgate and dup may be dy, gate, up: a thread reads its numbers before it writes. */
template <osv_activation act>
static __global__ void glu_dx(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                              size_t n, bool by_four)
{
    size_t step = (size_t)gridDim.x * blockDim.x, first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    size_t fours = by_four ? n / 4 : 0;
    for (size_t i = first; i < fours; i += step) {
        float4 d = load4(dy + 4 * i), g = load4(gate + 4 * i), u = load4(up + 4 * i), dg, du;
        one_dx<act>(&dg.x, &du.x, d.x, g.x, u.x);
        one_dx<act>(&dg.y, &du.y, d.y, g.y, u.y);
        one_dx<act>(&dg.z, &du.z, d.z, g.z, u.z);
        one_dx<act>(&dg.w, &du.w, d.w, g.w, u.w);
        store4(dgate + 4 * i, dg);
        store4(dup + 4 * i, du);
    }
    for (size_t i = 4 * fours + first; i < n; i += step) {
        float dg, du;
        one_dx<act>(&dg, &du, dy[i], gate[i], up[i]);
        dgate[i] = dg;
        dup[i] = du;
    }
}

extern "C" void osv_cuda_glu(osv_ops *o, float *y, const float *gate, const float *up, osv_activation act,
                             size_t n)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    bool by_four = osv_cuda_by_four(y, 0) && osv_cuda_by_four(gate, 0) && osv_cuda_by_four(up, 0);
    unsigned blocks = osv_cuda_grid(o, by_four ? (n + 3) / 4 : n, THREADS);
    switch (act) {
    case OSV_SILU: LAUNCH(d, blocks, THREADS, 0, glu<OSV_SILU>, y, gate, up, n, by_four); break;
    case OSV_GELU_TANH: LAUNCH(d, blocks, THREADS, 0, glu<OSV_GELU_TANH>, y, gate, up, n, by_four); break;
    case OSV_GELU: LAUNCH(d, blocks, THREADS, 0, glu<OSV_GELU>, y, gate, up, n, by_four); break;
    }
}

extern "C" void osv_cuda_glu_dx(osv_ops *o, float *dgate, float *dup, const float *dy, const float *gate,
                                const float *up, osv_activation act, size_t n)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    bool by_four = osv_cuda_by_four(dgate, 0) && osv_cuda_by_four(dup, 0) && osv_cuda_by_four(dy, 0) &&
                   osv_cuda_by_four(gate, 0) && osv_cuda_by_four(up, 0);
    unsigned blocks = osv_cuda_grid(o, by_four ? (n + 3) / 4 : n, THREADS);
    switch (act) {
    case OSV_SILU:
        LAUNCH(d, blocks, THREADS, 0, glu_dx<OSV_SILU>, dgate, dup, dy, gate, up, n, by_four);
        break;
    case OSV_GELU_TANH:
        LAUNCH(d, blocks, THREADS, 0, glu_dx<OSV_GELU_TANH>, dgate, dup, dy, gate, up, n, by_four);
        break;
    case OSV_GELU:
        LAUNCH(d, blocks, THREADS, 0, glu_dx<OSV_GELU>, dgate, dup, dy, gate, up, n, by_four);
        break;
    }
}
