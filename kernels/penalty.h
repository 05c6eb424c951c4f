/* The rows that a job's penalty (osv_penalty in kernels/ops.h) is about. Shared by all fillings; nothing here
 * owns anything.
 *
 * With the grams L = left left^T and R = right right^T
 *     |left^T right|_F^2 = sum of L[i, j] R[i, j]
 *     d |left^T right|_F / d left[i] = sum over j of R[i, j] left[j] / |left^T right|_F, and so for right. */
#ifndef OSV_KERNELS_PENALTY_H
#define OSV_KERNELS_PENALTY_H

#include "kernels/ops.h"
#include "kernels/philox.h"

/* Numbers of scratch that one job needs. */
OSV_DEVICE_INLINE int osv_penalty_grams(int blocks, int rank)
{
    return blocks * 2 * rank * rank;
}

/* Where in the scratch a block's gram of left (0) or right (1) begins. */
OSV_DEVICE_INLINE size_t osv_penalty_gram(const osv_penalty *c, int block, int factor)
{
    return (size_t)c->gram + (size_t)(2 * block + factor) * (size_t)c->rank * (size_t)c->rank;
}

/* Where a block's v begins in the parameters. */
OSV_DEVICE_INLINE size_t osv_penalty_v(const osv_penalty *c, int block, int D)
{
    return ((size_t)c->row + (size_t)block * (size_t)c->step) * (size_t)D;
}

/* The r-th of a job's rows: v (factor -1), or row i of left (0) or right (1); or none of these. */
typedef struct {
    bool exists;
    int block, factor, i;
    size_t at;   /* where it begins in the parameters, */
    size_t from; /* and its factor */
} osv_penalty_row;

OSV_DEVICE_INLINE osv_penalty_row osv_penalty_row_of(const osv_penalty *c, int r, int D)
{
    int block = r / c->step, row = r % c->step, factor = row == 0 ? -1 : row > c->rank;
    size_t v = osv_penalty_v(c, block, D);
    osv_penalty_row of;
    of.exists = block < c->blocks && row <= 2 * c->rank;
    of.block = block;
    of.factor = factor;
    of.i = factor < 0 ? 0 : row - 1 - factor * c->rank;
    of.at = v + (size_t)row * (size_t)D;
    of.from = v + (size_t)(factor < 0 ? 0 : 1 + factor * c->rank) * (size_t)D;
    return of;
}

#endif
