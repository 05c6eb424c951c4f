/* Attention's entries: which kernels run, and delta, which both need. Tensor cores serve the dtype bf16 and
 * the head sizes 64, 128 and 256; everything else is plain fp32. */
#include "kernels/cuda/attention.cuh"

enum { THREADS = 256 };

/* delta[i] = dout[i] . out[i], rows of E: limited by bandwidth; a warp a row. */
static __global__ void row_dots(float *delta, const float *dout, const float *out, int E, size_t rows)
{
    size_t i = (size_t)blockIdx.x * block_warps() + warp_index();
    if (i >= rows) return;
    float sum = 0;
    for (int e = warp_lane(); e < E; e += WARP) sum += dout[i * E + e] * out[i * E + e];
    sum = warp_sum(sum);
    if (warp_lane() == 0) delta[i] = sum;
}

static attention_inputs inputs_of(const float *q, const float *k, const float *v, const osv_worklist *work,
                                  const osv_attention *a)
{
    attention_inputs in;
    bool capped = a->softcap > 0;
    in.q = q;
    in.k = k;
    in.v = v;
    in.work = *work;
    in.heads = a->heads;
    in.window = a->window;
    in.scale = (float)a->scale;
    in.cap_in = capped ? (float)(a->scale / a->softcap) : 0;
    in.cap_out = (float)((capped ? a->softcap : a->scale) * LOG2_E);
    in.per_cap = capped ? 1 / in.cap_out : 0;
    return in;
}

static bool for_tensor_cores(const osv_ops *o, int E)
{
    return ((const osv_cuda *)o->state)->dtype == OSV_DTYPE_BF16 && (E == 64 || E == 128 || E == 256);
}

static bool head_fits(osv_ops *o, int E)
{
    if (E <= OSV_PLAIN_HEAD) return true;
    OSV_FAIL(o->error, OSV_DEVICE,
             "cuda: heads of %d numbers; its attention goes up to %d: use --backend cpu", E, OSV_PLAIN_HEAD);
    return false;
}

extern "C" void osv_cuda_attention(osv_ops *o, float *out, float *lse, const float *q, const float *k,
                                   const float *v, const osv_worklist *work, const osv_attention *a)
{
    int E = a->heads.E;
    if (osv_ops_status(o) || !head_fits(o, E)) return;
    attention_inputs in = inputs_of(q, k, v, work, a);
    bool aligned = osv_cuda_by_four(q, E) && osv_cuda_by_four(k, E) && osv_cuda_by_four(v, E);
    if (for_tensor_cores(o, E) && aligned && osv_cuda_by_four(out, E))
        osv_attention_mma(osv_cuda_device(o), out, lse, in);
    else
        osv_attention_plain(osv_cuda_device(o), out, lse, in);
}

extern "C" void osv_cuda_attention_dx(osv_ops *o, float *dq, float *dk, float *dv, float *delta,
                                      const float *dout, const float *q, const float *k, const float *v,
                                      const float *out, const float *lse, const osv_worklist *work,
                                      const osv_attention *a)
{
    int E = a->heads.E;
    if (osv_ops_status(o) || !head_fits(o, E)) return;
    osv_device *d = osv_cuda_device(o);
    size_t rows = (size_t)work->rows * a->heads.H;
    LAUNCH(d, (rows * WARP + THREADS - 1) / THREADS, THREADS, 0, row_dots, delta, dout, out, E, rows);
    attention_inputs in = inputs_of(q, k, v, work, a);
    attention_gradients g;
    g.dout = dout;
    g.lse = lse;
    g.delta = delta;
    g.dq = dq;
    g.dk = dk;
    g.dv = dv;
    bool aligned = osv_cuda_by_four(q, E) && osv_cuda_by_four(k, E) && osv_cuda_by_four(v, E) &&
                   osv_cuda_by_four(dout, E) && osv_cuda_by_four(dq, E) && osv_cuda_by_four(dk, E) &&
                   osv_cuda_by_four(dv, E);
    if (for_tensor_cores(o, E) && aligned)
        osv_attention_mma_dx(d, in, g);
    else
        osv_attention_plain_dx(d, in, g);
}
