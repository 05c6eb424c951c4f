/* Rows of logits are long and often few, so a block takes not a row but a chunk of one, into registers. Where
 * a row is cut depends on V alone: its sums come out alike whatever other rows there are. What the blocks of
 * a row find is put together by a second kernel, a warp or block a row, in a fixed order. */
#ifndef OSV_KERNELS_CUDA_CHUNK_CUH
#define OSV_KERNELS_CUDA_CHUNK_CUH

#include "kernels/cuda/gpu.cuh"

/* 16 numbers a thread are 4 loads under way at once, and 8 blocks of a multiprocessor 128 KiB. */
enum { CHUNK_THREADS = 256, CHUNK_EACH = 16, CHUNK = CHUNK_THREADS * CHUNK_EACH };

/* n columns of `row` from `begin` on */
typedef struct {
    int row, begin, n;
} chunk;

/* At least one, so that a row of no columns has results too. */
static inline int chunks_of(int V)
{
    return V > CHUNK ? V / CHUNK + (V % CHUNK != 0) : 1;
}

/* Of a block: no more than a short row needs. */
static inline unsigned chunk_threads(int V)
{
    unsigned threads = ((unsigned)V + CHUNK_EACH - 1) / CHUNK_EACH;
    return threads > CHUNK_THREADS ? (unsigned)CHUNK_THREADS
           : threads > WARP        ? (threads + WARP - 1) / WARP * WARP
                                   : (unsigned)WARP;
}

/* Rows of which `bytes` of scratch each can be held at once. */
static inline int rows_at_once(const osv_ops *o, int R, size_t bytes)
{
    size_t rows = ((const osv_cuda *)o->state)->scratch_bytes / bytes;
    return rows < (size_t)R ? (int)rows : R;
}

static inline __device__ chunk own_chunk(int V, int chunks)
{
    int row = (int)blockIdx.x / chunks, begin = (int)blockIdx.x % chunks * CHUNK;
    return {row, begin, min((int)CHUNK, V - begin)};
}

/* Which of the chunk's columns a thread's i-th number is: four neighbours of four where rows can be read so,
 * rising with i in any case. */
template <bool by_four> static inline __device__ int chunk_column(int i)
{
    return by_four ? (i / 4 * (int)blockDim.x + (int)threadIdx.x) * 4 + i % 4
                   : i * (int)blockDim.x + (int)threadIdx.x;
}

/* z [n] is the chunk; `beyond` stands for what is behind its end. */
template <bool by_four>
static inline __device__ void chunk_load(float x[CHUNK_EACH], const float *z, int n, float beyond)
{
    if (by_four) {
#pragma unroll
        for (int i = 0; i < CHUNK_EACH; i += 4) {
            int j = chunk_column<by_four>(i);
            float4 a = j < n ? load4(z + j) : make_float4(beyond, beyond, beyond, beyond);
            x[i] = a.x, x[i + 1] = a.y, x[i + 2] = a.z, x[i + 3] = a.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < CHUNK_EACH; i++) {
            int j = chunk_column<by_four>(i);
            x[i] = j < n ? z[j] : beyond;
        }
    }
}

template <bool by_four> static inline __device__ void chunk_store(float *z, const float x[CHUNK_EACH], int n)
{
    if (by_four) {
#pragma unroll
        for (int i = 0; i < CHUNK_EACH; i += 4) {
            int j = chunk_column<by_four>(i);
            if (j < n) store4(z + j, make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]));
        }
    } else {
#pragma unroll
        for (int i = 0; i < CHUNK_EACH; i++) {
            int j = chunk_column<by_four>(i);
            if (j < n) z[j] = x[i];
        }
    }
}

#endif
