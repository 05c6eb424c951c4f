/* Start vectors, drawn by Philox (kernels/philox.h): a start vector depends on a seed, a name and its number
 * among those of that name, and on nothing else, neither on the order nor on the batch. */
#ifndef OSV_OPTIM_RANDOM_H
#define OSV_OPTIM_RANDOM_H

#include "kernels/real.h"

/* An isotropic direction of length `norm`: x [D]. */
void osv_random_direction(osv_real *x, int D, double norm, unsigned long long seed, const char *name,
                          unsigned number);

#endif
