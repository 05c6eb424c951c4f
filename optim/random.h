/* What is drawn for jobs, by Philox (kernels/philox.h): it depends on a seed, a name and a number among the
 * draws of that name, and on nothing else, neither on the order nor on the batch. */
#ifndef OSV_OPTIM_RANDOM_H
#define OSV_OPTIM_RANDOM_H

#include "kernels/ops.h"

/* An isotropic direction of length `norm`: x [D]. */
void osv_random_direction(osv_real *x, int D, double norm, unsigned long long seed, const char *name,
                          unsigned number);

/* What the noise of a job is drawn by: seed and name of *n. */
void osv_random_noise(osv_noise *n, unsigned long long seed, const char *name);

/* +1 or -1, as likely. */
int osv_random_sign(unsigned long long seed, const char *name, unsigned number);

#endif
