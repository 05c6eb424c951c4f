/* Products of few rows with a weight in the format of the file, for one thread: the loops behind matmul.c.
 * Dimensions: x [rows, w.cols], y and dy [rows, w.rows]. */
#ifndef OSV_KERNELS_CPU_PRODUCTS_H
#define OSV_KERNELS_CPU_PRODUCTS_H

#include "kernels/cpu/cpu.h"

/* a * b + c may round once, where the hardware can: -std=c17 forbids it to GCC, while Clang does it anyway.
 * It is half of the time of these loops. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#endif

enum {
    OSV_CPU_FEW = 4,          /* rows that the loops of loops.c take at once */
    OSV_CPU_LANES = 16,       /* rows of a block of tile.c */
    OSV_CPU_TILE_DEPTH = 512, /* longest sums in its registers */
    OSV_CPU_TILE_COLUMNS =
        64,                /* most columns of osv_cpu_tile_dx: whole cache lines of bf16, 128 KiB packed */
    OSV_CPU_COLUMNS = 512, /* most columns of osv_cpu_back */
};

/* y[t, m] = x[t] . w[m] for `count` rows m of w from `first`; rows <= OSV_CPU_FEW. */
void osv_cpu_dots(float *y, const float *x, const osv_weight *w, int first, int count, int rows);

/* sum[t, c] (+)= sum of dy[t, m] w[m, c] over m from `begin` to `end`, for `count` <= OSV_CPU_COLUMNS columns
 * c from `first`; adds if `add`. sum [rows, w.cols]; part is scratch, [rows rounded up to OSV_CPU_FEW,
 * OSV_CPU_COLUMNS]. */
void osv_cpu_back(float *sum, const float *dy, const osv_weight *w, int begin, int end, int first, int count,
                  int rows, bool add, float *part);

/* Blocks of OSV_CPU_LANES rows of x as osv_cpu_tile wants them: packed [blocks, cols, LANES], zeros where
 * there is no row. */
void osv_cpu_pack_rows(float *packed, const float *x, int cols, int rows);

/* What osv_cpu_dots does, for any number of rows. */
void osv_cpu_tile(float *y, const float *packed, const osv_weight *w, int first, int count, int rows);

/* dx = dy w, or dx += dy w if `add`, for `count` <= OSV_CPU_TILE_COLUMNS columns from `first` and any number
 * of rows. dx [rows, w.cols], dy [rows, w.rows]; packed is scratch, [OSV_CPU_TILE_COLUMNS,
 * OSV_CPU_TILE_DEPTH]. */
void osv_cpu_tile_dx(float *dx, const float *dy, const osv_weight *w, int first, int count, int rows,
                     bool add, float *packed);

#endif
