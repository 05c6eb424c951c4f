/* Tiles of bf16 in shared memory and their products on tensor cores, as attention needs them. Layouts of
 * fragments: kernels/cuda/gpu.cuh; in what follows g = lane / 4, t = lane % 4.
 *
 * Rows of a tile are E + 8 numbers apart: 16 bytes more than a multiple of 128, so the 8 rows that ldmatrix
 * reads at once lie in different banks. */
#ifndef OSV_KERNELS_CUDA_ATTENTION_MMA_CUH
#define OSV_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"

enum { SLICE = 16 }; /* rows of a warp's fragment */

template <int E> struct tile {
    enum { LD = E + 8 };
    static constexpr size_t bytes(int rows) { return (size_t)rows * LD * sizeof(bf16); }
};

/* Rows on their way from fp32 in memory to bf16 in shared memory: read before a piece of work, written after
 * it, so that the work hides the memory's latency. A row that is not there becomes zeros. */
template <int E, int threads, int rows> struct staged_rows {
    enum { GROUPS = E / 4, APART = threads / GROUPS, PARTS = rows / APART };
    float4 x[PARTS]; /* a thread's rows are APART rows apart */

    __device__ void read(const float *from, const int *at)
    {
        at += threadIdx.x / GROUPS;
        from += threadIdx.x % GROUPS * 4;
#pragma unroll
        for (int n = 0; n < PARTS; n++) {
            int row = at[n * APART];
            x[n] = row >= 0 ? load4(from + (size_t)row * E) : make_float4(0, 0, 0, 0);
        }
    }

    __device__ void write(bf16 *to) const
    {
        to += threadIdx.x / GROUPS * tile<E>::LD + threadIdx.x % GROUPS * 4;
#pragma unroll
        for (int n = 0; n < PARTS; n++) store4(to + n * APART * tile<E>::LD, x[n]);
    }
};

/* The first `count` of a tile's rows and zeros up to a whole round: as many rows at once as 64 registers
 * hold.
 */
template <int E, int threads, int rows>
static inline __device__ void load_tile(bf16 *to, const float *from, const int *at, int count)
{
    enum { FIT = 64 * threads / E, ROUND = FIT < rows ? FIT : rows };
    for (int r = 0; r < count; r += ROUND) {
        staged_rows<E, threads, ROUND> staged;
        staged.read(from, at + r);
        staged.write(to + r * tile<E>::LD);
    }
}

/* s[i] = a b^T for `slices` slices of 16 rows of a and `columns` rows of b. s[i][n]: columns 8 n .. 8 n + 7.
 */
template <int E, int slices, int columns>
static inline __device__ void rows_by_rows(float s[slices][columns / 8][4], const bf16 *a, const bf16 *b)
{
    enum { LD = tile<E>::LD };
    int lane = warp_lane();
    a += lane % 16 * LD + lane / 16 * 8;
    b += (lane / 16 * 8 + lane % 8) * LD + lane / 8 % 2 * 8;
#pragma unroll
    for (int i = 0; i < slices; i++)
#pragma unroll
        for (int n = 0; n < columns / 8; n++) s[i][n][0] = s[i][n][1] = s[i][n][2] = s[i][n][3] = 0;
#pragma unroll
    for (int e = 0; e < E; e += 16) {
        uint32_t fa[slices][4], fb[4];
#pragma unroll
        for (int i = 0; i < slices; i++) ldmatrix_x4(fa[i], a + i * SLICE * LD + e);
#pragma unroll
        for (int n = 0; n < columns / 8; n += 2) {
            ldmatrix_x4(fb, b + n * 8 * LD + e);
#pragma unroll
            for (int i = 0; i < slices; i++) {
                mma_bf16(s[i][n], fa[i], fb);
                mma_bf16(s[i][n + 1], fa[i], fb + 2);
            }
        }
    }
}

/* A slice of weights [16, columns] as the left side of a product: what lies in a lane of the right layout of
 * sums is what it has to give as a fragment. */
template <int columns> struct weights {
    uint32_t a[columns / 16][4];

    __device__ void pack(const float s[columns / 8][4])
    {
#pragma unroll
        for (int k = 0; k < columns / 16; k++) {
            a[k][0] = pack_bf16(s[2 * k][0], s[2 * k][1]);
            a[k][1] = pack_bf16(s[2 * k][2], s[2 * k][3]);
            a[k][2] = pack_bf16(s[2 * k + 1][0], s[2 * k + 1][1]);
            a[k][3] = pack_bf16(s[2 * k + 1][2], s[2 * k + 1][3]);
        }
    }
};

/* `slices` slices of 16 rows and E columns: x[i][n][0], [1] are row g, columns 8 n + 2 t and the next; [2],
 * [3] row g + 8. */
template <int E, int slices> struct slice_sums {
    float x[slices][E / 8][4];

    __device__ void clear()
    {
#pragma unroll
        for (int i = 0; i < slices; i++)
#pragma unroll
            for (int n = 0; n < E / 8; n++) x[i][n][0] = x[i][n][1] = x[i][n][2] = x[i][n][3] = 0;
    }

    /* += w[i] b, b [columns, E] */
    template <int columns> __device__ void add(const weights<columns> w[slices], const bf16 *b)
    {
        enum { LD = tile<E>::LD };
        int lane = warp_lane();
        b += lane % 16 * LD + lane / 16 * 8;
#pragma unroll
        for (int k = 0; k < columns / 16; k++)
#pragma unroll
            for (int n = 0; n < E / 8; n += 2) {
                uint32_t fb[4];
                ldmatrix_x4_transposed(fb, b + k * 16 * LD + n * 8);
#pragma unroll
                for (int i = 0; i < slices; i++) {
                    mma_bf16(x[i][n], w[i].a[k], fb);
                    mma_bf16(x[i][n + 1], w[i].a[k], fb + 2);
                }
            }
    }

    /* Rows g (half 0) or g + 8 (half 1) of slice i. */
    __device__ void scale_row(int i, int half, float factor)
    {
#pragma unroll
        for (int n = 0; n < E / 8; n++) {
            x[i][n][2 * half] *= factor;
            x[i][n][2 * half + 1] *= factor;
        }
    }

    __device__ void write_row(float *to, int i, int half, float factor) const
    {
        to += 2 * (warp_lane() % 4);
#pragma unroll
        for (int n = 0; n < E / 8; n++)
            *reinterpret_cast<float2 *>(to + 8 * n) =
                make_float2(factor * x[i][n][2 * half], factor * x[i][n][2 * half + 1]);
    }
};

/* Over the 4 lanes that hold a row. */
static inline __device__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync((unsigned)ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync((unsigned)ALL_LANES, x, 2));
}

static inline __device__ float quad_sum(float x)
{
    x += __shfl_xor_sync((unsigned)ALL_LANES, x, 1);
    return x + __shfl_xor_sync((unsigned)ALL_LANES, x, 2);
}

/* The ring of step tables: `now` is worked on, next() read ahead, far() written. */
struct ring {
    int now;

    __device__ int next() const { return now == RING - 1 ? 0 : now + 1; }

    __device__ int far() const { return now == 0 ? RING - 1 : now - 1; }

    __device__ void turn() { now = next(); }
};

#endif
