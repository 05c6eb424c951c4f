/* CUDA's language on the host, for kernels that keep to the vocabulary of kernels/cuda/gpu.cuh: included in
 * its place by nvcc's headers when OSV_EMU is defined. A thread of a block is a fiber; a warp's collective is
 * carried out when all of its lanes have come to it, a barrier when all warps have. Stricter than hardware:
 * blocks are one-dimensional and whole warps, collectives are called by all 32 lanes at the same line, no
 * thread ends before a barrier of its block. What breaks this ends the program with both places named.
 *
 * Shared memory is new and full of NaN for each block. cp_async copies only when they are waited for. */
#ifndef OSV_TESTS_EMU_EMU_H
#define OSV_TESTS_EMU_EMU_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct osv_device;

namespace emu
{
struct dim {
    unsigned x;
};

/* Where a lane stands, and what it asks of its warp: `perform` is called once with the arguments of all. */
typedef void operation(void *const args[32]);
void collective(operation *perform, void *args, const char *file, int line);
void barrier(const char *file, int line);

void *shared(const void *key, size_t bytes, size_t align);
void *shared_dynamic();

void copy_later(void *dst, const void *src, bool valid);
void copy_commit();
void copy_wait(int behind);
void copy_now(void *dst, const void *src, bool valid); /* cp_async.cpp */

void enqueue(osv_device *d, unsigned blocks, unsigned threads, size_t shared_bytes, const char *kernel,
             const char *file, int line, std::function<void()> thread);

template <typename... P, typename... A>
void launch(osv_device *d, unsigned blocks, unsigned threads, size_t shared_bytes, const char *kernel,
            const char *file, int line, void (*function)(P...), A... args)
{
    std::tuple<P...> copied(static_cast<P>(args)...);
    enqueue(d, blocks, threads, shared_bytes, kernel, file, line, [=] { std::apply(function, copied); });
}
} /* namespace emu */

/* Set by the scheduler whenever a lane goes on. initial-exec: a plain load also in a shared library. */
#define EMU_TLS extern __thread __attribute__((tls_model("initial-exec")))
EMU_TLS emu::dim threadIdx;
EMU_TLS emu::dim blockIdx;
EMU_TLS emu::dim blockDim;
EMU_TLS emu::dim gridDim;

/* The address of a static local tells the arrays apart. */
#define SHARED(T, name, n)                                                          \
    T(&name)                                                                        \
    [n] = *(T(*)[n])({                                                              \
        static const char key = 0;                                                  \
        emu::shared(&key, sizeof(T[n]), alignof(T) > 16 ? alignof(T) : (size_t)16); \
    })
#define SHARED_DYNAMIC(T, name) T *name = static_cast<T *>(emu::shared_dynamic())

/* ---- types ---- */

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline int2 make_int2(int x, int y)
{
    return {x, y};
}
static inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}
static inline double2 make_double2(double x, double y)
{
    return {x, y};
}

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

struct bf16 {
    uint16_t bits;
};
static inline float __bfloat162float(bf16 x)
{
    return __uint_as_float((unsigned)x.bits << 16);
}
/* Round to nearest even; every NaN becomes 0x7fff, as the toolkit's does. */
static inline bf16 __float2bfloat16(float x)
{
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
    return {(uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
static inline uint16_t __bfloat16_as_ushort(bf16 x)
{
    return x.bits;
}
static inline bf16 __ushort_as_bfloat16(uint16_t bits)
{
    return {bits};
}

/* Of whole numbers only: sums of floats would depend on the order. */
static inline unsigned atomicAdd(unsigned *p, unsigned x)
{
    return __atomic_fetch_add(p, x, __ATOMIC_RELAXED);
}

template <typename T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <typename T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}
static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1 / sqrt(x);
}
template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}

/* ---- collectives ---- */

#define EMU_HERE int line = __builtin_LINE(), const char *file = __builtin_FILE()

static inline void __syncthreads(EMU_HERE)
{
    emu::barrier(file, line);
}

static inline void __syncwarp(unsigned = 0xffffffffu, EMU_HERE)
{
    emu::collective(nullptr, nullptr, file, line);
}

namespace emu
{
struct vote {
    bool flag;
    unsigned result;
};

template <typename T> struct exchange {
    T value;
    int from; /* the lane to read; outside of 0 .. 31: its own */
};

/* These run on the scheduler's stack: no access of a lane's, so nothing for the thread sanitizer. */
#define EMU_OPERATION static __attribute__((no_sanitize("thread"), unused)) void

template <typename T> EMU_OPERATION carry(void *const args[32])
{
    T result[32];
    for (int i = 0; i < 32; i++) {
        int from = ((exchange<T> *)args[i])->from;
        result[i] = ((exchange<T> *)args[from >= 0 && from < 32 ? from : i])->value;
    }
    for (int i = 0; i < 32; i++) ((exchange<T> *)args[i])->value = result[i];
}

EMU_OPERATION count(void *const args[32])
{
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) bits |= (unsigned)((vote *)args[i])->flag << i;
    for (int i = 0; i < 32; i++) ((vote *)args[i])->result = bits;
}

template <typename T> static inline T shuffle(T value, int from, const char *file, int line)
{
    exchange<T> mine = {value, from};
    collective(carry<T>, &mine, file, line);
    return mine.value;
}
} /* namespace emu */

template <typename T> static inline T __shfl_sync(unsigned, T x, int from, EMU_HERE)
{
    return emu::shuffle(x, from & 31, file, line);
}
template <typename T> static inline T __shfl_xor_sync(unsigned, T x, int step, EMU_HERE)
{
    return emu::shuffle(x, (int)threadIdx.x % 32 ^ step, file, line);
}
template <typename T> static inline T __shfl_down_sync(unsigned, T x, int step, EMU_HERE)
{
    return emu::shuffle(x, (int)threadIdx.x % 32 + step, file, line);
}
template <typename T> static inline T __shfl_up_sync(unsigned, T x, int step, EMU_HERE)
{
    return emu::shuffle(x, (int)threadIdx.x % 32 - step, file, line);
}

static inline unsigned __ballot_sync(unsigned, int flag, EMU_HERE)
{
    emu::vote mine = {flag != 0, 0};
    emu::collective(emu::count, &mine, file, line);
    return mine.result;
}
static inline bool __any_sync(unsigned mask, int flag, EMU_HERE)
{
    return __ballot_sync(mask, flag, line, file) != 0;
}
static inline bool __all_sync(unsigned mask, int flag, EMU_HERE)
{
    return __ballot_sync(mask, flag, line, file) == 0xffffffffu;
}

/* ---- tensor cores and asynchronous copies: kernels/cuda/gpu.cuh says what they do ---- */

namespace emu
{
struct matrix_rows {
    uint16_t row[8];
    uint32_t *r;
};
void distribute(void *const args[32]);
void distribute_transposed(void *const args[32]);

struct product {
    float *c;
    const uint32_t *a, *b;
};
void multiply(void *const args[32]);

[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Read by the lane itself, so that a sanitizer sees it as the kernel's access. */
static inline matrix_rows read_row(uint32_t r[4], const bf16 *row, const char *file, int line)
{
    matrix_rows m;
    if ((uintptr_t)row % 16) die("%s:%d: ldmatrix: a row is not aligned to 16 bytes", file, line);
    for (int i = 0; i < 8; i++) m.row[i] = row[i].bits;
    m.r = r;
    return m;
}
} /* namespace emu */

static inline void ldmatrix_x4(uint32_t r[4], const bf16 *row, EMU_HERE)
{
    emu::matrix_rows m = emu::read_row(r, row, file, line);
    emu::collective(emu::distribute, &m, file, line);
}
static inline void ldmatrix_x4_transposed(uint32_t r[4], const bf16 *row, EMU_HERE)
{
    emu::matrix_rows m = emu::read_row(r, row, file, line);
    emu::collective(emu::distribute_transposed, &m, file, line);
}
static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], EMU_HERE)
{
    emu::product p = {c, a, b};
    emu::collective(emu::multiply, &p, file, line);
}

static inline void cp_async(void *dst, const void *src, bool valid, EMU_HERE)
{
    if (((uintptr_t)dst | (valid ? (uintptr_t)src : 0)) % 16)
        emu::die("%s:%d: cp_async: not aligned to 16 bytes", file, line);
    emu::copy_later(dst, src, valid);
}
static inline void cp_async_commit()
{
    emu::copy_commit();
}
template <int behind> static inline void cp_async_wait()
{
    emu::copy_wait(behind);
}

#endif
