/* Kernels with one fault each, for tests of the emulation. */
#ifndef OSV_TESTS_EMU_FAULTS_H
#define OSV_TESTS_EMU_FAULTS_H

#include "kernels/cuda/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FAULT_NUMBERS = 512 }; /* of out */

typedef enum {
    FAULT_DIVERGENT_BARRIER,
    FAULT_DIVERGENT_SHUFFLE,
    FAULT_EARLY_RETURN,
    FAULT_NO_WAIT,
    FAULT_WAIT_TOO_SHORT,
    FAULT_TOO_MUCH_SHARED,
    FAULT_UNALIGNED_MATRIX,
    FAULT_BEYOND_THE_END,
    FAULT_PART_OF_A_WARP,
    FAULT_NO_BARRIER_BEFORE_READ,
    FAULT_NO_BARRIER_BEFORE_OVERWRITE,
    FAULT_ALL_WRITE_THE_SAME,
} fault;

/* One block of 128 threads. out [FAULT_NUMBERS] device memory */
void fault_launch(osv_device *d, fault kind, float *out);

#ifdef __cplusplus
}
#endif

#endif
