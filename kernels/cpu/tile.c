#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* A block of LANES rows of x times HEIGHT rows of a weight, sums in registers: lanes are rows of x, so
 * nothing has to be added up across a register, and the weight is read along its rows, as it lies in the
 * file. */

enum {
    LANES = OSV_CPU_LANES,
    HEIGHT = 8, /* rows of the weight that are widened and multiplied together */
    DEPTH = 512 /* length of the sums in registers: the widened rows (16 KiB) stay in the first-level cache */
};

/* out[i, l] = sum over k of w[i * DEPTH + k] x[k, l] for i < HEIGHT, l < LANES, k < depth. WIDTH numbers fill
 * a register; ROWS of w at a time, so that ROWS * LANES / WIDTH sums stay in registers. */
#define TILE(NAME, TARGET, WIDTH, ROWS)                                                 \
    TARGET static void NAME(float *out, const float *w, const float *x, int depth)      \
    {                                                                                   \
        typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float))));        \
        enum { PARTS = LANES / WIDTH };                                                 \
        for (int row = 0; row < HEIGHT; row += ROWS, w += ROWS * DEPTH) {               \
            lanes sum[ROWS * PARTS];                                                    \
            memset(sum, 0, sizeof sum);                                                 \
            for (int k = 0; k < depth; k++) {                                           \
                const lanes *in = (const lanes *)(const void *)(x + (size_t)k * LANES); \
                _Pragma("GCC unroll 16") for (int i = 0; i < ROWS * PARTS; i++)         \
                    sum[i] += w[i / PARTS * DEPTH + k] * in[i % PARTS];                 \
            }                                                                           \
            memcpy(out + row * LANES, sum, sizeof sum);                                 \
        }                                                                               \
    }

TILE(tile_4, , 4, 2)
#if defined(__x86_64__)
TILE(tile_8, __attribute__((target("avx2,fma"))), 8, 4)
TILE(tile_16, __attribute__((target("avx512f"))), 16, 8)
#endif

static void tile(float *out, const float *w, const float *x, int depth)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        tile_16(out, w, x, depth);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tile_8(out, w, x, depth);
        return;
    }
#endif
    tile_4(out, w, x, depth);
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
                tile(out, wide, packed + ((size_t)t * w->cols + (size_t)at * LANES), depth);
                for (int l = 0; l < LANES && t + l < rows; l++)
                    for (int i = 0; i < height; i++) {
                        float *sum = &y[(size_t)(t + l) * w->rows + m + i];
                        *sum = at > 0 ? *sum + out[i * LANES + l] : out[i * LANES + l];
                    }
            }
        }
    }
}
