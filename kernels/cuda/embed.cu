/* Limited by bandwidth: a row of w is read, a row of x written. A block a row, 4 numbers a thread and access.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256 };

/* x[r] = scale * w[ids[r] - first_id], or zero */
template <typename W>
static __global__ void embed(float *x, const int *ids, const W *w, int V, int D, int first_id, float scale,
                             bool by_four)
{
    int row = ids[blockIdx.x] - first_id;
    bool here = row >= 0 && row < V;
    const W *from = w + (size_t)(here ? row : 0) * D;
    x += (size_t)blockIdx.x * D;
    if (by_four) {
        for (int d = 4 * (int)threadIdx.x; d < D; d += 4 * THREADS) {
            float4 a = here ? load4(from + d) : make_float4(0, 0, 0, 0);
            store4(x + d, make_float4(scale * a.x, scale * a.y, scale * a.z, scale * a.w));
        }
    } else {
        for (int d = (int)threadIdx.x; d < D; d += THREADS) x[d] = here ? scale * to_float(from[d]) : 0;
    }
}

extern "C" void osv_cuda_embed(osv_ops *o, float *x, const int *ids, const osv_weight *w, int first_id,
                               double scale, int rows)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int V = w->rows, D = w->cols;
    bool by_four = osv_cuda_by_four(x, D);
    if (w->format == OSV_BF16)
        LAUNCH(d, rows, THREADS, 0, embed<bf16>, x, ids, (const bf16 *)w->data, V, D, first_id, (float)scale,
               by_four);
    else
        LAUNCH(d, rows, THREADS, 0, embed<float>, x, ids, (const float *)w->data, V, D, first_id,
               (float)scale, by_four);
}
