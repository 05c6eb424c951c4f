/* The fillings by name. */
#ifndef OSV_KERNELS_BACKEND_H
#define OSV_KERNELS_BACKEND_H

#include "kernels/ops.h"

enum { OSV_DTYPE_AUTO = OSV_DTYPE_BF16 + 1 };

/* Where and how it is computed, as a user says it. */
typedef struct {
    const char *backend; /* "auto" (cuda where there is a GPU, else cpu), "cpu", "ref", "cuda" */
    int dtype;           /* osv_dtype; OSV_DTYPE_AUTO: bf16 on cuda, f32 elsewhere */
    int threads;         /* of cpu; <= 0: one a processor */
    int device;          /* of cuda, counted from 0; < 0: the first */
} osv_machine;

/* An unknown name, and a device for a filling that has none, are OSV_USAGE; what this build or machine lacks
 * is OSV_DEVICE. `error` becomes the ops' sticky error. */
int osv_backend_open(osv_ops **o, const osv_machine *machine, osv_error *error);

/* GPUs that cuda can use here; 0 in a build without it. */
int osv_backend_gpus(void);

/* For --version: what the fillings stand on, a line each. */
const char *osv_backend_blas(void);
const char *osv_backend_cuda(void);

#endif
