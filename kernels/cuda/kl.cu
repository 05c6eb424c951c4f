/* Limited by bandwidth: both passes read a row of logits and one of ln p, a chunk of a row a block
 * (chunk.cuh). */
#include "kernels/cuda/chunk.cuh"

typedef struct {
    float total, second;
} sums;

/* part [K, chunks]. A block a chunk of a distribution. */
static __global__ void kl_of_chunks(sums *part, const float *z, const float *max, osv_distributions d, int V,
                                    int chunks)
{
    chunk own = own_chunk(V, chunks); /* own.row: the distribution */
    int r = 0;
    while (d.first[r + 1] <= own.row) r++;
    float c = d.coldness[r], most = max[d.row[r]], total = 0, second = 0;
    const float *row = z + (size_t)d.row[r] * V + own.begin;
    const float *logp = d.logp + (size_t)d.aim[own.row] * V + own.begin;
    bool reverse = d.reverse[own.row] != 0;
    for (int j = (int)threadIdx.x; j < own.n; j += (int)blockDim.x) {
        float u = c * (row[j] - most), e = expf(u), l = logp[j], weight = reverse ? e : expf(l);
        total += e;
        if (weight != 0) second += weight * (u - l);
    }
    total = block_sum(total);
    second = block_sum(second);
    if (threadIdx.x == 0) part[blockIdx.x] = {total, second};
}

/* A warp a distribution. */
static __global__ void kl_of_rows(float *sum, const sums *part, int chunks)
{
    double total = 0, second = 0;
    part += (size_t)blockIdx.x * chunks;
    for (int i = warp_lane(); i < chunks; i += WARP) {
        total += part[i].total;
        second += part[i].second;
    }
    total = warp_sum(total);
    second = warp_sum(second);
    if (threadIdx.x == 0) {
        sum[2 * (size_t)blockIdx.x] = (float)total;
        sum[2 * (size_t)blockIdx.x + 1] = (float)second;
    }
}

extern "C" void osv_cuda_kl_sum(osv_ops *o, float *sum, const float *z, const float *max,
                                const osv_distributions *d, int V)
{
    if (osv_ops_status(o)) return;
    osv_device *device = osv_cuda_device(o);
    int chunks = chunks_of(V);
    sums *part = (sums *)((const osv_cuda *)o->state)->scratch;
    if ((size_t)d->K * (size_t)chunks * sizeof *part > ((const osv_cuda *)o->state)->scratch_bytes) {
        OSV_FAIL(o->error, OSV_DEVICE, "%d distributions over %d tokens are too many for one batch", d->K, V);
        return;
    }
    LAUNCH(device, d->K * chunks, chunk_threads(V), 0, kl_of_chunks, part, z, max, *d, V, chunks);
    LAUNCH(device, d->K, WARP, 0, kl_of_rows, sum, part, chunks);
}

/* ln total - second, or second / total - ln total where reverse: kernels/ref/kl.c has the derivation. */
static __global__ void kl_losses(float *loss, const float *sum, osv_distributions d)
{
    int k = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (k >= d.K) return;
    double total = sum[2 * (size_t)k], second = sum[2 * (size_t)k + 1];
    loss[k] = (float)(d.reverse[k] ? second / total - log(total) : log(total) - second);
}

extern "C" void osv_cuda_kl(osv_ops *o, float *loss, const float *sum, const osv_distributions *d)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), ((unsigned)d->K + WARP - 1) / WARP, WARP, 0, kl_losses, loss, sum, *d);
}

/* A block a chunk of a row. */
static __global__ void kl_dx(float *dz, const float *z, const float *max, const float *sum, const float *w,
                             osv_distributions d, int V, int chunks)
{
    chunk own = own_chunk(V, chunks);
    float c = d.coldness[own.row], most = max[d.row[own.row]], cap = (float)d.softcap;
    const float *row = z + (size_t)d.row[own.row] * V + own.begin;
    dz += (size_t)own.row * V + own.begin;
    for (int j = (int)threadIdx.x; j < own.n; j += (int)blockDim.x) {
        float x = row[j], u = c * (x - most), e = expf(u), all = 0;
        for (int k = d.first[own.row]; k < d.first[own.row + 1]; k++) {
            float total = sum[2 * (size_t)k], logp = d.logp[(size_t)d.aim[k] * V + own.begin + j],
                  P = e / total;
            float slope = P - expf(logp);
            if (d.reverse[k]) slope = P == 0 ? 0 : P * (u - logp - sum[2 * (size_t)k + 1] / total);
            all += w[k] * c * slope;
        }
        dz[j] = cap > 0 ? all * ((cap - x) * (cap + x) / (cap * cap)) : all;
    }
}

extern "C" void osv_cuda_kl_dx(osv_ops *o, float *dz, const float *z, const float *max, const float *sum,
                               const float *w, const osv_distributions *d, int V)
{
    if (osv_ops_status(o)) return;
    int chunks = chunks_of(V);
    LAUNCH(osv_cuda_device(o), d->rows * chunks, chunk_threads(V), 0, kl_dx, dz, z, max, sum, w, *d, V,
           chunks);
}
