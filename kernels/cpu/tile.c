#include "kernels/cpu/tile.h"

#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

enum { LINE = 64 /* bytes of the cache */ };

OSV_CPU_INLINE void fetch(osv_cpu_ahead *a)
{
    for (int i = 0; i < a->few && a->rows > 0; i++) {
        __builtin_prefetch(a->at, 0, 2);
        a->at += LINE;
        if (--a->left > 0) continue;
        a->at += a->skip;
        a->left = a->lines;
        a->rows--;
    }
}

/* A register of sums for each row and WIDTH lanes, so that nothing has to be added up across a register.
 * Sums are set and stored one by one: GCC keeps an array that memset or memcpy touches in memory. */
#define EACH_SUM _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; i++)
#define TILE(NAME, TARGET, WIDTH, PARTS, ROWS)                                                        \
    TARGET static void NAME##_##PARTS##_##ROWS(float *sum, const float *a, const float *x, int depth, \
                                               bool add, osv_cpu_ahead *ahead)                        \
    {                                                                                                 \
        typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));           \
        enum { SUMS = (ROWS) * (PARTS) };                                                             \
        lanes s[SUMS], *to = (lanes *)(void *)sum;                                                    \
        EACH_SUM s[i] = (lanes){0};                                                                   \
        for (int k = 0; k < depth;) {                                                                 \
            int end = osv_cpu_min(k + OSV_CPU_EVERY, depth);                                          \
            fetch(ahead);                                                                             \
            for (; k < end; k++, x += (WIDTH) * (PARTS)) {                                            \
                const lanes *in = (const lanes *)(const void *)x;                                     \
                EACH_SUM s[i] += a[i / (PARTS)*OSV_CPU_APART + k] * in[i % (PARTS)];                  \
            }                                                                                         \
        }                                                                                             \
        if (add) {                                                                                    \
            EACH_SUM s[i] += to[i];                                                                   \
        }                                                                                             \
        EACH_SUM to[i] = s[i];                                                                        \
    }

/* All of an instruction set: THRICE rows and two registers of lanes take as many sums as it has room for. */
#define TILES(NAME, TARGET, WIDTH, UNIT, TWICE, THRICE)                                         \
    TILE(NAME, TARGET, WIDTH, 1, UNIT)                                                          \
    TILE(NAME, TARGET, WIDTH, 1, TWICE)                                                         \
    TILE(NAME, TARGET, WIDTH, 1, THRICE)                                                        \
    TILE(NAME, TARGET, WIDTH, 2, UNIT)                                                          \
    TILE(NAME, TARGET, WIDTH, 2, TWICE)                                                         \
    TILE(NAME, TARGET, WIDTH, 2, THRICE)                                                        \
    static const osv_cpu_tiles NAME = {WIDTH,                                                   \
                                       UNIT,                                                    \
                                       {{NAME##_1_##UNIT, NAME##_1_##TWICE, NAME##_1_##THRICE}, \
                                        {NAME##_2_##UNIT, NAME##_2_##TWICE, NAME##_2_##THRICE}}};

#if defined(__x86_64__)
TILES(sse2, , 4, 2, 4, 6)
TILES(avx2, __attribute__((target("avx2,fma"))), 8, 2, 4, 6)
TILES(avx512, __attribute__((target("avx512f"))), 16, 4, 8, 12)
#else
TILES(plain, , 4, 4, 8, 12) /* NEON has 32 registers */
#endif

const osv_cpu_tiles *osv_cpu_tiles_here(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return &avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2 : &sse2;
#else
    return &plain;
#endif
}

void osv_cpu_multiply(const osv_cpu_tiles *tiles, float *sum, const float *a, int rows, const float *x,
                      int lanes, int depth, bool add, osv_cpu_ahead *ahead)
{
    osv_cpu_tile *const *tile = tiles->tile[lanes > tiles->width];
    for (int units, r = 0; r < rows; r += units * tiles->unit) {
        units = osv_cpu_min((rows - r) / tiles->unit, 3);
        tile[units - 1](sum + (size_t)r * lanes, a + (size_t)r * OSV_CPU_APART, x, depth, add, ahead);
    }
}

/* Of each 64 bytes of a row the last one is fetched: where their line begins before them, the piece before
 * has read it. */
osv_cpu_ahead osv_cpu_look_ahead(const osv_cpu_tiles *tiles, const osv_cpu_piece *next, int panels, int rows,
                                 int depth)
{
    const osv_weight *w = next->w;
    size_t size = osv_format_bytes(w->format);
    int lines = osv_cpu_blocks(osv_cpu_min(next->cols, w->cols - next->col) * (int)size, LINE);
    int there = osv_cpu_max(osv_cpu_min(next->rows, w->rows - next->row), 0);
    int looks = panels * osv_cpu_blocks(rows, 3 * tiles->unit) * osv_cpu_blocks(depth, OSV_CPU_EVERY);
    return (osv_cpu_ahead){
        .at = (const char *)osv_cpu_at(w, (size_t)next->row, (size_t)next->col) + LINE - 1,
        .skip = (size_t)w->cols * size - (size_t)lines * LINE,
        .lines = lines,
        .left = lines,
        .rows = there,
        .few = osv_cpu_blocks(lines * there, looks),
    };
}
