/* The fillings by name. */
#ifndef OSV_KERNELS_BACKEND_H
#define OSV_KERNELS_BACKEND_H

#include "kernels/ops.h"

/* name: "auto" (the fastest that is there), "cpu", "ref", "cuda". An unknown name is OSV_USAGE, one that this
 * build or machine lacks OSV_DEVICE. `error` becomes the ops' sticky error. threads <= 0: all processors. */
int osv_backend_open(osv_ops **o, const char *name, osv_dtype dtype, int threads, osv_error *error);

/* For --version: what the fillings stand on, a line each. */
const char *osv_backend_blas(void);
const char *osv_backend_cuda(void);

#endif
