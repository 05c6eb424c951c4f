/* Vectors that stay orthogonal to others: to those of jobs that have ended (osv_job.before) and to given ones
 * (osv_job.given). Each of a job's vectors goes with the others' one at the same block. */
#ifndef OSV_OPTIM_ORTHOGONAL_H
#define OSV_OPTIM_ORTHOGONAL_H

#include "optim/job.h"

/* How many directions each of the job's vectors has at most. */
int osv_orthogonal_most(const osv_job *job);

/* The directions of its `vector`-th vector -> orthonormal rows of `direction` [most, D]. Returns how many:
 * what is 0, not finite or in the span of those before makes none. kept [jobs]: the parameters that jobs have
 * ended with. */
int osv_orthogonal_make(double *direction, const osv_job *job, int vector, const osv_real *const *kept,
                        int D);

/* The start parameters [rows, D] of a job (osv_job_start): vectors lose their parts along the directions; a
 * random one has its norm all the same. OSV_BAD_INPUT where nothing is left of one. */
int osv_orthogonal_start(osv_real *rows, const osv_job *job, const osv_real *const *kept, int D,
                         osv_error *e);

#endif
