/* Kernels that are wrong, each in one way, for tests of what finds them. */
#include "tests/emu/faults.h"

#include "kernels/cuda/gpu.cuh"

enum { THREADS = 128 };

static __global__ void divergent_barrier(float *out)
{
    if (threadIdx.x % 2 == 0) __syncthreads();
    out[threadIdx.x] = 0;
    __syncthreads();
}

static __global__ void divergent_shuffle(float *out)
{
    float x = 1;
    if (threadIdx.x % WARP < 16)
        x = __shfl_xor_sync(0xffffffffu, x, 1);
    else
        x = __shfl_xor_sync(0xffffffffu, x, 1);
    out[threadIdx.x] = x;
}

static __global__ void early_return(float *out)
{
    if (threadIdx.x >= 64) return;
    out[threadIdx.x] = 0;
    __syncthreads();
}

static __global__ void no_wait(float *out)
{
    SHARED(float, tile, 4 * THREADS);
    cp_async(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
    cp_async_commit();
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x];
}

static __global__ void wait_too_short(float *out)
{
    SHARED(float, tile, 4 * THREADS);
    cp_async(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x];
    cp_async_wait<0>();
}

static __global__ void too_much_shared(float *out)
{
    SHARED(float, tile, 16 << 10);
    out[threadIdx.x] = tile[threadIdx.x];
}

static __global__ void unaligned_matrix(float *out)
{
    SHARED(bf16, tile, 9 * WARP);
    uint32_t r[4];
    ldmatrix_x4(r, tile + 9 * warp_lane());
    out[threadIdx.x] = bf16_low(r[0]);
}

static __global__ void beyond_the_end(float *out)
{
    out[threadIdx.x + FAULT_NUMBERS - THREADS + 1] = 0;
}

static __global__ void no_barrier_before_read(float *out)
{
    SHARED(float, x, THREADS);
    x[threadIdx.x] = (float)threadIdx.x;
    out[threadIdx.x] = x[(threadIdx.x + 64) % THREADS];
}

static __global__ void no_barrier_before_overwrite(float *out)
{
    SHARED(float, x, THREADS);
    x[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    float neighbour = x[(threadIdx.x + 64) % THREADS];
    x[threadIdx.x] = -1;
    __syncthreads();
    out[threadIdx.x] = neighbour;
}

static __global__ void all_write_the_same(float *out)
{
    SHARED(float, x, 1);
    x[0] = 5;
    __syncthreads();
    out[threadIdx.x] = x[0];
}

extern "C" void fault_launch(osv_device *d, fault kind, float *out)
{
    switch (kind) {
    case FAULT_DIVERGENT_BARRIER: LAUNCH(d, 1, THREADS, 0, divergent_barrier, out); break;
    case FAULT_DIVERGENT_SHUFFLE: LAUNCH(d, 1, THREADS, 0, divergent_shuffle, out); break;
    case FAULT_EARLY_RETURN: LAUNCH(d, 1, THREADS, 0, early_return, out); break;
    case FAULT_NO_WAIT: LAUNCH(d, 1, THREADS, 0, no_wait, out); break;
    case FAULT_WAIT_TOO_SHORT: LAUNCH(d, 1, THREADS, 0, wait_too_short, out); break;
    case FAULT_TOO_MUCH_SHARED: LAUNCH(d, 1, THREADS, 0, too_much_shared, out); break;
    case FAULT_UNALIGNED_MATRIX: LAUNCH(d, 1, THREADS, 0, unaligned_matrix, out); break;
    case FAULT_BEYOND_THE_END: LAUNCH(d, 1, THREADS, 0, beyond_the_end, out); break;
    case FAULT_PART_OF_A_WARP: LAUNCH(d, 1, 40, 0, all_write_the_same, out); break;
    case FAULT_NO_BARRIER_BEFORE_READ: LAUNCH(d, 1, THREADS, 0, no_barrier_before_read, out); break;
    case FAULT_NO_BARRIER_BEFORE_OVERWRITE: LAUNCH(d, 1, THREADS, 0, no_barrier_before_overwrite, out); break;
    case FAULT_ALL_WRITE_THE_SAME: LAUNCH(d, 1, THREADS, 0, all_write_the_same, out); break;
    }
}
