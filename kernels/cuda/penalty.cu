/* Limited by latency: a few rows of D numbers, two launches, a block for each row of a job's parameters. The
 * lengths that every row needs are made anew by each block: their numbers are in L2. */
#include "kernels/cuda/gpu.cuh"
#include "kernels/penalty.h"

enum { THREADS = 512 };

/* A warp a column of the gram's row. */
static __global__ void make_grams(float *gram, const float *p, const osv_penalty *penalty, int rows, int D)
{
    osv_penalty c = penalty[(int)blockIdx.x / rows];
    osv_penalty_row row = osv_penalty_row_of(&c, (int)blockIdx.x % rows, D);
    if (!row.exists || row.factor < 0) return; /* the whole block */
    float *out = gram + osv_penalty_gram(&c, row.block, row.factor) + (size_t)row.i * c.rank;
    for (int j = warp_index(); j < c.rank; j += block_warps()) {
        const float *x = p + row.at, *y = p + row.from + (size_t)j * D;
        double sum = 0;
        for (int d = warp_lane(); d < D; d += WARP) sum += (double)x[d] * y[d];
        sum = warp_sum(sum);
        if (warp_lane() == 0) out[j] = (float)sum;
    }
}

/* Of n numbers, in all threads. */
static __device__ double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) sum += (double)a[i] * b[i];
    return block_sum(sum);
}

static __device__ double absolutes(const float *v, int n)
{
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) sum += fabs((double)v[i]);
    return block_sum(sum);
}

static __global__ void add_gradient(float *dp, float *cost, const float *p, const osv_penalty *penalty,
                                    const float *gram, int rows, int D)
{
    int job = (int)blockIdx.x / rows, r = (int)blockIdx.x % rows;
    osv_penalty c = penalty[job];
    osv_penalty_row row = osv_penalty_row_of(&c, r, D);
    if (!row.exists) return; /* the whole block */
    double vector = 0, map = 0, own = 0, sum = 0;
    for (int b = 0; b < c.blocks; b++) {
        const float *v = p + osv_penalty_v(&c, b, D);
        double square = dot(v, v, D);
        vector += square;
        map += dot(gram + osv_penalty_gram(&c, b, 0), gram + osv_penalty_gram(&c, b, 1), c.rank * c.rank);
        if (b == row.block) own = sqrt(square);
        if (r == 0) sum += c.l1 * absolutes(v, D) + c.group * sqrt(square);
    }
    vector = sqrt(vector);
    map = map > 0 ? sqrt(map) : 0;
    if (r == 0 && threadIdx.x == 0) cost[job] = (float)(sum + c.norm * (vector + map));

    float *out = dp + row.at;
    if (row.factor < 0) {
        double factor = (own > 0 ? c.group / own : 0) + (vector > 0 ? c.norm / vector : 0);
        for (int d = (int)threadIdx.x; d < D; d += THREADS) {
            float v = p[row.at + d], sign = v > 0 ? 1.0f : v < 0 ? -1.0f : 0.0f;
            out[d] = (float)(out[d] + c.l1 * sign + factor * v);
        }
    } else if (map > 0) {
        const float *other = gram + osv_penalty_gram(&c, row.block, !row.factor) + (size_t)row.i * c.rank;
        for (int d = (int)threadIdx.x; d < D; d += THREADS) {
            double y = 0;
            for (int j = 0; j < c.rank; j++) y += (double)other[j] * p[row.from + (size_t)j * D + d];
            out[d] = (float)(out[d] + c.norm / map * y);
        }
    }
}

extern "C" void osv_cuda_penalty(osv_ops *o, float *dp, float *cost, const float *p,
                                 const osv_penalty *penalty, float *gram, int rows, int D, int J)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), J * rows, THREADS, 0, make_grams, gram, p, penalty, rows, D);
    LAUNCH(osv_cuda_device(o), J * rows, THREADS, 0, add_gradient, dp, cost, p, penalty, gram, rows, D);
}
