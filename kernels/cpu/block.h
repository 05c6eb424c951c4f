/* Blocks of sums in registers: what all products of more than a few rows are made of.
 *
 * Some rows of one side times OSV_CPU_LANES of the other, whose lanes are packed, so that nothing has to be
 * added up across a register. How many rows depends on the processor; each number is one sum in the order of
 * k all the same. */
#ifndef OSV_KERNELS_CPU_BLOCK_H
#define OSV_KERNELS_CPU_BLOCK_H

#include "kernels/cpu/cpu.h"

enum {
    OSV_CPU_LANES = 16,
    OSV_CPU_HEIGHT = 8, /* rows of a kernel, at most */
    OSV_CPU_FEWEST = 4, /* rows that a product by blocks has at least */
    OSV_CPU_DEPTH = 128 /* longest sums: what they go over stays in the first-level cache */
};

/* sum[i, l] (+)= sum over k of a[i * row + k] x[k, l] for l < OSV_CPU_LANES, k < depth and as many
 * rows i as the kernel has, rows of sum being `cols` apart; adds if `add`. x is aligned to 64 bytes. */
typedef void osv_cpu_kernel(float *sum, size_t cols, const float *a, size_t row, const float *x, int depth,
                            bool add);

/* As many sums as there are registers for, and fewer for the last rows. */
typedef struct {
    int rows, last_rows;
    osv_cpu_kernel *tile, *last;
} osv_cpu_kernels;

/* For a product of that many rows. */
osv_cpu_kernels osv_cpu_kernels_for(int rows);

/* A product with all of one side: sum [rows, cols] (+)= a x, the rows of a [rows, depth] being `row` apart.
 * rows >= OSV_CPU_FEWEST */
typedef struct {
    osv_cpu_kernels by;
    const float *a;
    size_t row;
    int rows, depth;
    float *sum;
    size_t cols;
    bool add;
} osv_cpu_sums;

/* Its block of by.rows rows from `t`, or what is left of them, and `lanes` columns from `col`. */
void osv_cpu_block(const osv_cpu_sums *p, const float *x, int t, int col, int lanes);

#endif
