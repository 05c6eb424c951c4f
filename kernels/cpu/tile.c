#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* Blocks of sums in registers: HEIGHT rows of one side times LANES of the other, whose lanes are packed, so
 * that nothing has to be added up across a register.
 *
 *     y = x w^T    lanes are rows of x, packed once; the weight is read along its rows, as it lies in the
 * file dx = dy w    lanes are columns of the weight, widened and packed a panel at a time; dy is read along
 * its rows */

enum {
    LANES = OSV_CPU_LANES,
    HEIGHT = 8,                /* rows that are multiplied together */
    AHEAD = 8,                 /* rows of the weight that are fetched before they are widened */
    DEPTH = OSV_CPU_TILE_DEPTH /* length of the sums in registers: the widened rows (16 KiB) stay in the
                                  first-level cache */
};

/* out[i, l] = sum over k of a[i * stride + k] x[k, l] for i < HEIGHT, l < LANES, k < depth. WIDTH numbers
 * fill a register; ROWS of a at a time, so that ROWS * LANES / WIDTH sums stay in registers: they are set and
 * stored one by one, because GCC keeps an array that memset or memcpy touches in memory. */
#define TILE(NAME, TARGET, WIDTH, ROWS)                                                           \
    TARGET static void NAME(float *out, const float *a, size_t stride, const float *x, int depth) \
    {                                                                                             \
        typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));       \
        enum { PARTS = LANES / WIDTH, SUMS = ROWS * PARTS };                                      \
        for (int row = 0; row < HEIGHT; row += ROWS, a += ROWS * stride) {                        \
            lanes sum[SUMS], *to = (lanes *)(void *)(out + row * LANES);                          \
            _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++) sum[i] = (lanes){0};          \
            for (int k = 0; k < depth; k++) {                                                     \
                const lanes *in = (const lanes *)(const void *)(x + (size_t)k * LANES);           \
                _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++)                           \
                    sum[i] += a[i / PARTS * stride + k] * in[i % PARTS];                          \
            }                                                                                     \
            _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++) to[i] = sum[i];               \
        }                                                                                         \
    }

TILE(tile_4, , 4, 2)
#if defined(__x86_64__)
TILE(tile_8, __attribute__((target("avx2,fma"))), 8, 4)
TILE(tile_16, __attribute__((target("avx512f"))), 16, 8)
#endif

static void tile(float *out, const float *a, size_t stride, const float *x, int depth)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        tile_16(out, a, stride, x, depth);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tile_8(out, a, stride, x, depth);
        return;
    }
#endif
    tile_4(out, a, stride, x, depth);
}

void osv_cpu_pack_rows(float *packed, const float *x, int cols, int rows)
{
    for (int t = 0; t < rows; t += LANES, packed += (size_t)LANES * cols)
        for (int l = 0; l < LANES; l++)
            for (int k = 0; k < cols; k++)
                packed[(size_t)k * LANES + l] = t + l < rows ? x[(size_t)(t + l) * cols + k] : 0;
}

void osv_cpu_tile(float *y, const float *packed, const osv_weight *w, int first, int count, int rows)
{
    float wide[HEIGHT * DEPTH] __attribute__((aligned(64)));
    float out[HEIGHT * LANES] __attribute__((aligned(64)));
    for (int at = 0; at < w->cols; at += DEPTH) {
        int depth = osv_cpu_min(DEPTH, w->cols - at);
        for (int m = first; m < first + count; m += HEIGHT) {
            int height = osv_cpu_min(HEIGHT, first + count - m);
            for (int i = 0; i < height; i++) osv_cpu_widen(wide + i * DEPTH, w, m + i, at, depth);
            osv_cpu_fetch(w, m + height, osv_cpu_min(m + height + HEIGHT, w->rows), at, depth);
            for (int i = height; i < HEIGHT; i++) memset(wide + i * DEPTH, 0, (size_t)depth * sizeof *wide);
            for (int t = 0; t < rows; t += LANES) {
                tile(out, wide, DEPTH, packed + ((size_t)t * w->cols + (size_t)at * LANES), depth);
                for (int l = 0; l < LANES && t + l < rows; l++)
                    for (int i = 0; i < height; i++) {
                        float *sum = &y[(size_t)(t + l) * w->rows + m + i];
                        *sum = at > 0 ? *sum + out[i * LANES + l] : out[i * LANES + l];
                    }
            }
        }
    }
}

/* packed [PANELS, depth, LANES]: `depth` rows of w from `m`, `count` <= OSV_CPU_TILE_COLUMNS columns from
 * `first`; zeros behind them. */
static void pack_columns(float *packed, const osv_weight *w, int m, int depth, int first, int count)
{
    float wide[OSV_CPU_TILE_COLUMNS];
    memset(wide, 0, sizeof wide);
    for (int k = 0; k < depth; k++) {
        osv_cpu_fetch(w, osv_cpu_min(m + k + AHEAD, w->rows - 1), osv_cpu_min(m + k + AHEAD + 1, w->rows),
                      first, count);
        osv_cpu_widen(wide, w, m + k, first, count);
        for (int c = 0; c < count; c += LANES)
            memcpy(packed + ((size_t)(c / LANES) * DEPTH + (size_t)k) * LANES, wide + c,
                   LANES * sizeof *wide);
    }
}

void osv_cpu_tile_dx(float *dx, const float *dy, const osv_weight *w, int first, int count, int rows,
                     bool add, float *packed)
{
    float out[HEIGHT * LANES] __attribute__((aligned(64)));
    float tail[HEIGHT * DEPTH] __attribute__((aligned(64))); /* the last rows of dy, with zeros behind them */
    for (int at = 0; at < w->rows; at += DEPTH, add = true) {
        int depth = osv_cpu_min(DEPTH, w->rows - at);
        pack_columns(packed, w, at, depth, first, count);
        for (int t = 0; t < rows; t += HEIGHT) {
            int height = osv_cpu_min(HEIGHT, rows - t);
            const float *from = dy + (size_t)t * w->rows + at;
            size_t stride = (size_t)w->rows;
            if (height < HEIGHT) {
                memset(tail, 0, sizeof tail);
                for (int i = 0; i < height; i++)
                    memcpy(tail + (size_t)i * DEPTH, from + (size_t)i * stride, (size_t)depth * sizeof *tail);
                from = tail;
                stride = DEPTH;
            }
            for (int c = 0; c < count; c += LANES) {
                int lanes = osv_cpu_min(LANES, count - c);
                tile(out, from, stride, packed + (size_t)c * DEPTH, depth);
                for (int i = 0; i < height; i++) {
                    float *sum = dx + (size_t)(t + i) * w->cols + first + c;
                    for (int l = 0; l < lanes; l++)
                        sum[l] = add ? sum[l] + out[i * LANES + l] : out[i * LANES + l];
                }
            }
        }
    }
}
