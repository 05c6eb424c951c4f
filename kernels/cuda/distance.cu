/* Limited by bandwidth: both read a few rows of x and x0, and _dx writes as many; the second pass over a row
 * finds it in L1. A block a row. */
#include "kernels/cuda/gpu.cuh"
#include "kernels/distance.h"

/* |x - x0|^2, in all threads. In double: x and x0 may be long and near each other. */
static __device__ double square_of(const float *x, const float *x0, int D)
{
    double sum = 0;
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) {
        double far = (double)x[d] - x0[d];
        sum += far * far;
    }
    return block_sum(sum);
}

/* loss = -|x - x0|^power */
static __global__ void distance(float *loss, const float *x, const float *x0, osv_distances distances, int D)
{
    int m = (int)blockIdx.x;
    double square = square_of(x + (size_t)distances.row[m] * D, x0 + (size_t)m * D, D);
    if (threadIdx.x == 0) loss[m] = (float)osv_distance_loss(square, distances.power[m]);
}

static __global__ void distance_dx(float *dx, const float *x, const float *x0, const float *w,
                                   osv_distances distances, int D)
{
    int m = (int)blockIdx.x;
    x += (size_t)distances.row[m] * D;
    x0 += (size_t)m * D;
    dx += (size_t)m * D;
    double slope = w[m] * osv_distance_slope(square_of(x, x0, D), distances.power[m]);
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x)
        dx[d] = (float)(slope * ((double)x[d] - x0[d]));
}

extern "C" void osv_cuda_distance(osv_ops *o, float *loss, const float *x, const float *x0,
                                  const osv_distances *distances, int D)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), distances->M, osv_cuda_row_threads(D), 0, distance, loss, x, x0, *distances,
           D);
}

extern "C" void osv_cuda_distance_dx(osv_ops *o, float *dx, const float *x, const float *x0, const float *w,
                                     const osv_distances *distances, int D)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), distances->M, osv_cuda_row_threads(D), 0, distance_dx, dx, x, x0, w,
           *distances, D);
}
