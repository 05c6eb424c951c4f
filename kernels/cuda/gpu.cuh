/* The vocabulary of kernels: what they use of CUDA beyond plain C++, in words that nvcc and the emulation of
 * tests/emu both know. Blocks are one-dimensional and whole warps; collectives (everything with `warp_` or
 * `block_`, ldmatrix, mma) are called by the whole warp or block; no thread returns before a barrier. */
#ifndef OSV_KERNELS_CUDA_GPU_CUH
#define OSV_KERNELS_CUDA_GPU_CUH

#include <math.h>
#include <stdint.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"

#ifndef OSV_EMU
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
#define SHARED(T, name, n) __shared__ T name[n]
/* One buffer whatever T, because templates may not declare one name with several types. */
#define SHARED_DYNAMIC(T, name)                                      \
    extern __shared__ __align__(128) unsigned char shared_dynamic[]; \
    T *name = reinterpret_cast<T *>(shared_dynamic)
#endif

enum { WARP = 32 };

static inline __device__ int warp_lane()
{
    return (int)(threadIdx.x % WARP);
}

static inline __device__ int warp_index()
{
    return (int)(threadIdx.x / WARP);
}

static inline __device__ int block_warps()
{
    return (int)(blockDim.x / WARP);
}

/* ---- numbers ---- */

static inline __device__ float to_float(float x)
{
    return x;
}

static inline __device__ float to_float(bf16 x)
{
    return __bfloat162float(x);
}

static inline __device__ bf16 to_bf16(float x)
{
    return __float2bfloat16(x);
}

static inline __device__ uint32_t bits_of(bf16 x)
{
    return __bfloat16_as_ushort(x);
}

/* Two numbers as mma reads them: the first in the low half. */
static inline __device__ uint32_t pack_bf16(float low, float high)
{
    return bits_of(to_bf16(low)) | bits_of(to_bf16(high)) << 16;
}

static inline __device__ float bf16_low(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

static inline __device__ float bf16_high(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

/* 4 elements at once: p + i is aligned to 4 of them. */
static inline __device__ float4 load4(const float *p)
{
    return *reinterpret_cast<const float4 *>(p);
}

static inline __device__ float4 load4(const bf16 *p)
{
    uint2 two = *reinterpret_cast<const uint2 *>(p);
    return make_float4(bf16_low(two.x), bf16_high(two.x), bf16_low(two.y), bf16_high(two.y));
}

static inline __device__ void store4(float *p, float4 x)
{
    *reinterpret_cast<float4 *>(p) = x;
}

static inline __device__ void store4(bf16 *p, float4 x)
{
    *reinterpret_cast<uint2 *>(p) = make_uint2(pack_bf16(x.x, x.y), pack_bf16(x.z, x.w));
}

static inline __device__ void store(float *p, float x)
{
    *p = x;
}

static inline __device__ void store(bf16 *p, float x)
{
    *p = to_bf16(x);
}

static inline __device__ float4 add4(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

static inline __device__ float4 scale4(float4 a, float s)
{
    return make_float4(a.x * s, a.y * s, a.z * s, a.w * s);
}

static inline __device__ float dot4(float4 a, float4 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

/* ---- rows ---- */

/* For a block that goes over a row of n numbers: four(d) for this thread's groups of 4, or one(d) for its
 * numbers where the row cannot be read in groups. */
template <typename Four, typename One>
static inline __device__ void over_row(int n, bool by_four, Four four, One one)
{
    if (by_four)
        for (int d = 4 * (int)threadIdx.x; d < n; d += 4 * (int)blockDim.x) four(d);
    else
        for (int d = (int)threadIdx.x; d < n; d += (int)blockDim.x) one(d);
}

/* ---- collectives ---- */

enum { ALL_LANES = -1 };

static inline __device__ float warp_sum(float x)
{
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync((unsigned)ALL_LANES, x, step);
    return x;
}

static inline __device__ double warp_sum(double x)
{
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync((unsigned)ALL_LANES, x, step);
    return x;
}

static inline __device__ uint64_t warp_sum(uint64_t x)
{
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync((unsigned)ALL_LANES, x, step);
    return x;
}

static inline __device__ float warp_max(float x)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync((unsigned)ALL_LANES, x, step));
    return x;
}

/* The sum over the block, in all threads; in one fixed order. Ends with a barrier, so that calls may follow
 * each other. */
template <typename T> static __device__ T block_sum(T x)
{
    SHARED(T, part, WARP);
    x = warp_sum(x);
    if (warp_lane() == 0) part[warp_index()] = x;
    __syncthreads();
    x = warp_lane() < block_warps() ? part[warp_lane()] : (T)0;
    x = warp_sum(x);
    __syncthreads();
    return x;
}

static inline __device__ float block_max(float x)
{
    SHARED(float, part, WARP);
    x = warp_max(x);
    if (warp_lane() == 0) part[warp_index()] = x;
    __syncthreads();
    x = warp_lane() < block_warps() ? part[warp_lane()] : -INFINITY;
    x = warp_max(x);
    __syncthreads();
    return x;
}

/* ---- tensor cores and asynchronous copies (PTX manual, sections on mma, ldmatrix, cp.async) ---- */

#ifndef OSV_EMU

static inline __device__ unsigned shared_address(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

/* Four 8x8 matrices of bf16 from shared memory: lane i gives the address of row i % 8 of matrix i / 8,
 * aligned to 16 bytes; r[m] are the elements of matrix m at row lane / 4, columns 2 (lane % 4) and the next.
 */
static inline __device__ void ldmatrix_x4(uint32_t r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* The same, each matrix transposed. */
static inline __device__ void ldmatrix_x4_transposed(uint32_t r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* c += a b: a 16x16 (row-major fragments), b 16x8, c 16x8 fp32.
 *     g = lane / 4, t = lane % 4
 *     a[0]: row g,     columns 2t, 2t + 1      a[1]: row g + 8, the same columns
 *     a[2]: row g,     columns 2t + 8, + 9     a[3]: row g + 8, the same columns
 *     b[0]: rows 2t, 2t + 1 of column g        b[1]: rows 2t + 8, + 9
 *     c[0], c[1]: row g, columns 2t, 2t + 1    c[2], c[3]: row g + 8 */
static inline __device__ void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* 16 bytes from global to shared memory, both aligned to 16, or 16 zeros where not valid (src is then not
 * read). They are there after commit, wait and a barrier. */
static inline __device__ void cp_async(void *dst, const void *src, bool valid)
{
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src),
                 "r"(bytes)
                 : "memory");
}

/* Closes a group of copies. */
static inline __device__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits for all but the last `behind` groups of this thread. */
template <int behind> static inline __device__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(behind) : "memory");
}

#endif

#endif
