/* Philox4x32-10 (Salmon et al. 2011): a random number is a function of a key and a counter, so a start vector
 * depends on seed and job name and on nothing else, neither on the order nor on the batch. */
#ifndef OSV_OPTIM_RANDOM_H
#define OSV_OPTIM_RANDOM_H

#include <stdint.h>

#include "kernels/real.h"

void osv_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* An isotropic direction of length `norm`: x [D]. */
void osv_random_direction(osv_real *x, int D, double norm, unsigned long long seed, const char *name);

#endif
