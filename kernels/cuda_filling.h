/* The CUDA filling as the others see it. It is a library of its own, libosv_cuda, beside libosv, loaded when
 * it is asked for: NVIDIA's libraries take a tenth of a gigabyte and a quarter of a second, and are not
 * everywhere. Defined by cuda_loaded.c, or by cuda_absent.c in a build without nvcc; tests/emu has a third.
 */
#ifndef OSV_KERNELS_CUDA_FILLING_H
#define OSV_KERNELS_CUDA_FILLING_H

#include "kernels/ops.h"

/* As osv_cuda_open. */
int osv_cuda_filling_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error);
/* Devices that can be opened here; 0 where anything is missing. */
int osv_cuda_filling_devices(void);
/* For --version. */
const char *osv_cuda_filling_text(void);

#endif
