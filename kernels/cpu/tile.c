#include <string.h>

#include "kernels/cpu/block.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* Products of any number of rows with a weight, by blocks of sums in registers (block.h):
 *
 *     y = x w^T    lanes are rows of x, packed once; the weight is widened a few rows at a time
 *     dx = dy w    lanes are columns of the weight, widened and packed a panel at a time
 *
 * Both go through the weight in pieces that are small enough to stay in the first-level cache while all rows
 * are multiplied with them, and fetch the next piece meanwhile. */

enum {
    LANES = OSV_CPU_LANES,
    DEPTH = OSV_CPU_DEPTH,
    PANEL = 32 /* columns of a panel: a cache line of bf16 */
};

/* ---- widening ---- */

/* A piece of a weight, and where it goes: out[r * step + c / LANES * block + c % LANES] becomes its number
 * [r, c], 0 for columns up to a multiple of LANES. */
typedef struct {
    const osv_weight *w;
    int row, rows, col, cols;
    float *out;
    size_t step, block;
} piece;

OSV_CPU_INLINE void widen_piece(const piece *p, osv_format format)
{
    size_t stride = (size_t)p->w->cols * (format == OSV_F32 ? 4 : 2);
    const char *in = osv_cpu_at(p->w, (size_t)p->row, (size_t)p->col);
    float *restrict out = p->out;
    int whole = p->cols / LANES * LANES;
    for (int r = 0; r < p->rows; r++, in += stride, out += p->step) {
        float *to = out;
        for (int c = 0; c < whole; c += LANES, to += p->block) {
#pragma omp simd
            for (int l = 0; l < LANES; l++) to[l] = osv_cpu_load(in, format, (size_t)c + (size_t)l);
        }
        if (whole == p->cols) continue;
        for (int l = 0; l < LANES; l++)
            to[l] = whole + l < p->cols ? osv_cpu_load(in, format, (size_t)whole + (size_t)l) : 0;
    }
}

OSV_CPU_CLONES
static void widen_f32(const piece *p)
{
    widen_piece(p, OSV_F32);
}

OSV_CPU_CLONES
static void widen_f16(const piece *p)
{
    widen_piece(p, OSV_F16);
}

OSV_CPU_CLONES
static void widen_bf16(const piece *p)
{
    widen_piece(p, OSV_BF16);
}

static void widen(const piece *p)
{
    switch (p->w->format) {
    case OSV_F32: widen_f32(p); break;
    case OSV_F16: widen_f16(p); break;
    case OSV_BF16: widen_bf16(p); break;
    }
}

/* Starts reading one of several parts of the rows [begin, end) of a piece, so that what is read next comes
 * while this piece is multiplied. Inline: GCC drops calls of functions that do nothing but fetch. */
OSV_CPU_INLINE void fetch(const osv_weight *w, int begin, int end, int col, int cols, int part, int parts)
{
    int rows = end - begin;
    osv_cpu_fetch(w, begin + rows * part / parts, begin + rows * (part + 1) / parts, col, cols);
}

/* ---- y = x w^T ---- */

/* The place of a block of rows in packed [cols / DEPTH, blocks, DEPTH, LANES], from column `at`, a multiple
 * of DEPTH, `depth` columns. */
static size_t place(int at, int depth, int block, int blocks)
{
    return ((size_t)at * (size_t)blocks + (size_t)depth * (size_t)block) * LANES;
}

void osv_cpu_pack_rows(float *packed, const float *x, int cols, int rows, int block)
{
    int t = block * LANES, blocks = osv_cpu_blocks(rows, LANES);
    for (int at = 0; at < cols; at += DEPTH) {
        int depth = osv_cpu_min(DEPTH, cols - at);
        float *to = packed + place(at, depth, block, blocks);
        for (int c = 0; c < depth; c += LANES) /* a cache line of each row at a time */
            for (int l = 0; l < LANES; l++)
                for (int k = c; k < osv_cpu_min(c + LANES, depth); k++)
                    to[k * LANES + l] = t + l < rows ? x[(size_t)(t + l) * cols + at + k] : 0;
    }
}

/* y[t, m] = sum[m, t] for t < rows, m < count, rows of y being `cols` apart. sum [count, LANES] */
OSV_CPU_INLINE void turn(float *y, size_t cols, const float *restrict sum, int rows, int count)
{
    for (int t = 0; t < rows; t++, y += cols, sum++)
        for (int m = 0; m < count; m++) y[m] = sum[m * LANES];
}

void osv_cpu_tile(float *y, const float *packed, const osv_weight *w, int first, int count, int rows,
                  float *sums)
{
    const osv_cpu_kernels by = osv_cpu_kernels_for(OSV_CPU_HEIGHT);
    float wide[OSV_CPU_HEIGHT * DEPTH] __attribute__((aligned(64)));
    int blocks = osv_cpu_blocks(rows, LANES), cols = w->cols;
    memset(wide, 0, sizeof wide); /* rows that are not there are multiplied, too */
    for (int at = 0; at < cols; at += DEPTH) {
        int depth = osv_cpu_min(DEPTH, cols - at);
        for (int m = 0; m < count; m += by.rows) {
            int height = osv_cpu_min(by.rows, count - m);
            osv_cpu_kernel *tile = height <= by.last_rows ? by.last : by.tile;
            widen(&(piece){.w = w,
                           .row = first + m,
                           .rows = height,
                           .col = at,
                           .cols = depth,
                           .out = wide,
                           .step = DEPTH,
                           .block = LANES});
            for (int b = 0; b < blocks; b++) {
                fetch(w, first + m + height, first + osv_cpu_min(m + height + by.rows, count), at, depth, b,
                      blocks);
                tile(sums + ((size_t)m * blocks + (size_t)b * by.rows) * LANES, LANES, wide, DEPTH,
                     packed + place(at, depth, b, blocks), depth, at > 0);
            }
        }
    }
    for (int m = 0; m < count; m += by.rows)
        for (int t = 0; t < rows; t += LANES, sums += by.rows * LANES) {
            float *to = y + (size_t)t * w->rows + first + m;
            int height = osv_cpu_min(by.rows, count - m), width = osv_cpu_min(LANES, rows - t);
            switch (height) { /* of known length the loops are twice as fast */
            case 8: turn(to, (size_t)w->rows, sums, width, 8); break;
            case 6: turn(to, (size_t)w->rows, sums, width, 6); break;
            default: turn(to, (size_t)w->rows, sums, width, height);
            }
        }
}

/* ---- dx = dy w ---- */

void osv_cpu_tile_dx(float *dx, const float *dy, const osv_weight *w, int begin, int end, int first,
                     int count, int rows, bool add)
{
    float panel[PANEL * DEPTH] __attribute__((aligned(64)));
    osv_cpu_sums p = {.by = osv_cpu_kernels_for(rows),
                      .row = (size_t)w->rows,
                      .rows = rows,
                      .sum = dx,
                      .cols = (size_t)w->cols};
    int blocks = osv_cpu_blocks(rows, p.by.rows);
    for (int at = begin; at < end; at += DEPTH) {
        p.depth = osv_cpu_min(DEPTH, end - at);
        p.a = dy + at;
        p.add = add || at > begin;
        for (int col = first; col < first + count; col += PANEL) {
            int width = osv_cpu_min(PANEL, first + count - col);
            widen(&(piece){.w = w,
                           .row = at,
                           .rows = p.depth,
                           .col = col,
                           .cols = width,
                           .out = panel,
                           .step = LANES,
                           .block = DEPTH * LANES});
            for (int b = 0; b < blocks; b++) {
                fetch(w, at + p.depth, osv_cpu_min(at + p.depth + DEPTH, end), col, width, b, blocks);
                for (int l = 0; l < width; l += LANES)
                    osv_cpu_block(&p, panel + l * DEPTH, b * p.by.rows, col + l,
                                  osv_cpu_min(LANES, width - l));
            }
        }
    }
}
