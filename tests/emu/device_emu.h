/* The emulated CUDA backend for tests: how it is opened, and what it lets tests see and do. */
#ifndef OSV_TESTS_EMU_DEVICE_EMU_H
#define OSV_TESTS_EMU_DEVICE_EMU_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The CUDA backend on the host. `number` of the device is always 0. */
int osv_emu_open(osv_ops **o, osv_dtype dtype, osv_error *error);

/* The same with a number, as osv_cuda_open, for whole programs: environment variables say
 * what a test would call. OSV_EMU_ORDER=n, OSV_EMU_MEMORY=bytes, OSV_EMU_FAIL=kind:n with the kinds alloc,
 * host, copy, launch and graph. */
int osv_emu_open_device(osv_ops **o, osv_dtype dtype, int number, osv_error *error);

/* In which order threads, warps and blocks run from now on: 0 forward, 1 backward, else shuffled by this
 * seed.
 */
void osv_emu_order(unsigned order);

/* Kinds of calls that can fail. */
typedef enum {
    OSV_EMU_ALLOC,
    OSV_EMU_HOST_ALLOC,
    OSV_EMU_COPY,   /* and fills */
    OSV_EMU_LAUNCH, /* and matrix products */
    OSV_EMU_GRAPH,
    OSV_EMU_KINDS
} osv_emu_kind;
/* The n-th call (1: the next) of a kind fails once, as the device would; 0: none. */
void osv_emu_fail(osv_emu_kind kind, int n);

/* What was asked of the device since the program started. */
typedef struct {
    size_t allocations, copies, launches, products, syncs, marks, graph_runs;
    size_t outside;              /* launches, products and fills that were not in a graph */
    size_t ranges, profiled;     /* ranges that began, times that the profiler was switched on */
    size_t calls[OSV_EMU_KINDS]; /* that could fail: osv_emu_fail counts the same */
} osv_emu_counts;
osv_emu_counts osv_emu_count(void);

/* The most bytes of device memory, without pinned host memory, that were allocated at once since the last
 * call.
 */
size_t osv_emu_peak(void);

/* Memory of devices that are opened from now on; 0: as much as there is. */
void osv_emu_memory(size_t bytes);

/* Bytes of device and pinned host memory that are allocated now. */
size_t osv_emu_bytes(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
