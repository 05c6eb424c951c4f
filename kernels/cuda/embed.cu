/* Limited by bandwidth: a row of w is read, a row of x written. A block a row. */
#include "kernels/cuda/gpu.cuh"

/* x[r] = scale * w[ids[r] - first_id], or zero */
template <typename W>
static __global__ void embed(float *x, const int *ids, const W *w, int V, int D, int first_id, float scale,
                             bool by_four)
{
    int row = ids[blockIdx.x] - first_id;
    bool here = row >= 0 && row < V;
    w += (size_t)(here ? row : 0) * D;
    x += (size_t)blockIdx.x * D;
    over_row(
        D, by_four,
        [&](int d) { store4(x + d, here ? scale4(load4(w + d), scale) : make_float4(0, 0, 0, 0)); },
        [&](int d) { x[d] = here ? scale * to_float(w[d]) : 0; });
}

extern "C" void osv_cuda_embed(osv_ops *o, float *x, const int *ids, const osv_weight *w, int first_id,
                               double scale, int rows)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int V = w->rows, D = w->cols;
    bool by_four = osv_cuda_by_four(x, D);
    if (w->format == OSV_BF16)
        LAUNCH(d, rows, osv_cuda_row_threads(D), 0, embed<bf16>, x, ids, (const bf16 *)w->data, V, D,
               first_id, (float)scale, by_four);
    else
        LAUNCH(d, rows, osv_cuda_row_threads(D), 0, embed<float>, x, ids, (const float *)w->data, V, D,
               first_id, (float)scale, by_four);
}
