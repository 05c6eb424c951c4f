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
    OSV_CPU_FEW = 4,       /* rows that the loops of loops.c take at once */
    OSV_CPU_COLUMNS = 512, /* most columns of osv_cpu_back */
};

/* y[t, m] = x[t] . w[m] for `count` rows m of w from `first`; rows <= OSV_CPU_FEW. */
void osv_cpu_dots(float *y, const float *x, const osv_weight *w, int first, int count, int rows);

/* sum[t, c] (+)= sum of dy[t, m] w[m, c] over m from `begin` to `end`, for `count` <= OSV_CPU_COLUMNS columns
 * c from `first`; adds if `add`. sum [rows, w.cols]; rows <= OSV_CPU_FEW. */
void osv_cpu_back(float *sum, const float *dy, const osv_weight *w, int begin, int end, int first, int count,
                  int rows, bool add);

/* OSV_CPU_LANES rows of x, one of the blocks that it consists of, as osv_cpu_tile wants them, zeros where
 * there is no row. packed [cols, rows rounded up to OSV_CPU_LANES] */
void osv_cpu_pack_rows(float *packed, const float *x, int cols, int rows, int block);

/* What osv_cpu_dots does, for any number of rows. sums is scratch, [count, rows] with both rounded up to
 * OSV_CPU_LANES. */
void osv_cpu_tile(float *y, const float *packed, const osv_weight *w, int first, int count, int rows,
                  float *sums);

/* What osv_cpu_back does, for any number of rows and columns. */
void osv_cpu_tile_dx(float *dx, const float *dy, const osv_weight *w, int begin, int end, int first,
                     int count, int rows, bool add);

#endif
