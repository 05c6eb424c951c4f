/* The type of activations, gradients and vectors. float; double in the build that tests run finite
 * differences on. */
#ifndef OSV_KERNELS_REAL_H
#define OSV_KERNELS_REAL_H

#ifdef OSV_DOUBLE
typedef double osv_real;
#else
typedef float osv_real;
#endif

#endif
