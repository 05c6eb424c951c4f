/* Products with weights that stay in the format of the file: what matmul.c and matmul_dx.c share, and the
 * loops that few rows take (loops.c). Dimensions: x [rows, w.cols], y and dy [rows, w.rows].
 *
 * By the number of rows of x:
 * few    Loops that widen weights in registers, which read them once and pack nothing.
 * more   Sums in registers (tile.c), while a weight is widened piece by piece, each small enough to stay in
 *        the first caches as all rows are multiplied with it, and the next piece is fetched. */
#ifndef OSV_KERNELS_CPU_PRODUCTS_H
#define OSV_KERNELS_CPU_PRODUCTS_H

#include "kernels/cpu/cpu.h"

/* a * b + c may round once, where the hardware can: -std=c17 forbids it to GCC, while Clang does it anyway.
 * It is half of the time of these loops. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#endif

enum {
    OSV_CPU_FEW = 4,       /* rows that the loops take at once */
    OSV_CPU_COLUMNS = 512, /* most columns of osv_cpu_back */
    OSV_CPU_BATCH = 256,   /* most rows that go over a weight together: they stay in the cache */
};

/* Weights that share an input, w[0 .. n - 1], and the rows that go through them, from `first`. */
typedef struct {
    const osv_weight *const *w;
    int n, first, rows;
} osv_cpu_product;

/* Rows of all weights together. */
OSV_CPU_INLINE int osv_cpu_outputs(const osv_cpu_product *p)
{
    int total = 0;
    for (int i = 0; i < p->n; i++) total += p->w[i]->rows;
    return total;
}

/* Threads for it: with few rows the weights are read no faster. */
OSV_CPU_INLINE int osv_cpu_threads_for(const osv_ops *o, const osv_cpu_product *p)
{
    return osv_cpu_product_threads(o, (double)osv_cpu_outputs(p) * p->w[0]->cols * osv_cpu_max(p->rows, 16));
}

OSV_CPU_INLINE int osv_cpu_round_up(int n, int to)
{
    return osv_cpu_blocks(n, to) * to;
}

/* y[t, m] = x[t] . w[m] for `count` rows m of w from `first`; rows <= OSV_CPU_FEW. */
void osv_cpu_dots(float *y, const float *x, const osv_weight *w, int first, int count, int rows);

/* sum[t, c] (+)= sum of dy[t, m] w[m, c] over m from `begin` to `end`, for `count` <= OSV_CPU_COLUMNS columns
 * c from `first`; adds if `add`. sum [rows, w.cols]; rows <= OSV_CPU_FEW. */
void osv_cpu_back(float *sum, const float *dy, const osv_weight *w, int begin, int end, int first, int count,
                  int rows, bool add);

#endif
