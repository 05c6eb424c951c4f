#include "kernels/cpu/block.h"

/* a * b + c may round once, where the hardware can: see products.h. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#endif

/* WIDTH numbers fill a register, ROWS * LANES / WIDTH sums stay in registers: they are set and stored one by
 * one, because GCC keeps an array that memset or memcpy touches in memory. */
#define KERNEL(NAME, TARGET, WIDTH, ROWS)                                                                   \
    TARGET static void NAME(float *sum, size_t cols, const float *a, size_t row, const float *x, int depth, \
                            bool add)                                                                       \
    {                                                                                                       \
        typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));                 \
        typedef float apart __attribute__((vector_size(WIDTH * sizeof(float)), may_alias, aligned(4)));     \
        enum { PARTS = OSV_CPU_LANES / WIDTH, SUMS = ROWS * PARTS };                                        \
        lanes s[SUMS];                                                                                      \
        _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++) s[i] = (lanes){0};                          \
        for (int k = 0; k < depth; k++, a++, x += OSV_CPU_LANES) {                                          \
            const lanes *in = (const lanes *)(const void *)x;                                               \
            _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++)                                         \
                s[i] += a[i / PARTS * row] * in[i % PARTS];                                                 \
        }                                                                                                   \
        _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++)                                             \
        {                                                                                                   \
            apart *to = (apart *)(void *)(sum + i / PARTS * cols) + i % PARTS;                              \
            if (add) s[i] += *to;                                                                           \
            *to = s[i];                                                                                     \
        }                                                                                                   \
    }

KERNEL(tile_4_2, , 4, 2)
#if defined(__x86_64__)
KERNEL(tile_8_6, __attribute__((target("avx2,fma"))), 8, 6)
KERNEL(tile_8_4, __attribute__((target("avx2,fma"))), 8, 4)
KERNEL(tile_16_8, __attribute__((target("avx512f"))), 16, 8)
KERNEL(tile_16_4, __attribute__((target("avx512f"))), 16, 4)
#elif defined(__aarch64__)
KERNEL(tile_4_4, , 4, 4)
#endif

static osv_cpu_kernels kernels_here(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return (osv_cpu_kernels){8, 4, tile_16_8, tile_16_4};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (osv_cpu_kernels){6, 4, tile_8_6, tile_8_4};
#elif defined(__aarch64__)
    return (osv_cpu_kernels){4, 2, tile_4_4, tile_4_2};
#endif
    return (osv_cpu_kernels){2, 2, tile_4_2, tile_4_2};
}

osv_cpu_kernels osv_cpu_kernels_for(int rows)
{
    osv_cpu_kernels k = kernels_here();
    return rows < k.rows ? (osv_cpu_kernels){k.last_rows, k.last_rows, k.last, k.last} : k;
}

void osv_cpu_block(const osv_cpu_sums *p, const float *x, int t, int col, int lanes)
{
    const osv_cpu_kernels *by = &p->by;
    int end = osv_cpu_min(t + by->rows, p->rows);
    bool last = end - t <= by->last_rows;
    int from = end - (last ? by->last_rows : by->rows); /* rows before t are multiplied once more */
    osv_cpu_kernel *tile = last ? by->last : by->tile;
    const float *a = p->a + (size_t)from * p->row;
    float *sum = p->sum + (size_t)t * p->cols + col;
    if (from == t && lanes == OSV_CPU_LANES) {
        tile(sum, p->cols, a, p->row, x, p->depth, p->add);
        return;
    }
    float all[OSV_CPU_HEIGHT * OSV_CPU_LANES];
    tile(all, OSV_CPU_LANES, a, p->row, x, p->depth, false);
    for (const float *one = all + (t - from) * OSV_CPU_LANES; t < end;
         t++, one += OSV_CPU_LANES, sum += p->cols)
        for (int l = 0; l < lanes; l++) sum[l] = p->add ? sum[l] + one[l] : one[l];
}
