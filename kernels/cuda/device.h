/* The device as the CUDA backend sees it: memory, a queue of work, recorded graphs, the matrix product, and
 * LAUNCH. Two fillings: device_cuda.cu is CUDA (one stream, CUDA graphs, cuBLASLt); tests/emu/device_emu.cpp
 * runs the same kernels on the host, so that all of the backend is tested where there is no GPU. Nothing
 * outside of kernels/cuda and its communicator knows this header.
 *
 * Everything that takes work to the device is queued in order and returns at once; osv_device_sync waits.
 * Host memory of a copy is in use until then. The first failure sticks in the caller's osv_error, with the
 * call or kernel and its place; after that nothing is queued any more, but what was allocated can be freed.
 */
#ifndef OSV_KERNELS_CUDA_DEVICE_H
#define OSV_KERNELS_CUDA_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct osv_device osv_device;
typedef struct osv_device_graph osv_device_graph;

int osv_devices(void); /* that can be opened; 0 without a driver */
/* Opens device `number`; `error` stays the caller's. *d is NULL after a failure. */
int osv_device_open(osv_device **d, int number, osv_error *error);
void osv_device_close(osv_device *d);
/* For people: "NVIDIA H200, 132 multiprocessors, 140.1 GB, driver 13.0" */
const char *osv_device_name(const osv_device *d);
/* Blocks of one wave: for kernels whose blocks loop. It decides nothing about a result's bytes. */
int osv_device_processors(const osv_device *d);
/* Bytes of scratch that the backend should take on this device. */
size_t osv_device_scratch(const osv_device *d);

/* Device memory, aligned to 256, full of garbage; NULL after a failure, and where there is not so much: the
 * caller knows what it was for and makes the error. free waits for all work. */
void *osv_device_alloc(osv_device *d, size_t bytes);
void osv_device_free(osv_device *d, void *p);
/* Bytes of the device's memory that nobody has, and all of it. */
void osv_device_memory(osv_device *d, size_t *available, size_t *total);
/* Host memory that the device copies from and to at full speed while the host goes on. */
void *osv_device_host_alloc(osv_device *d, size_t bytes);
void osv_device_host_free(osv_device *d, void *p);

void osv_device_copy(osv_device *d, void *dst, const void *src, size_t bytes, osv_direction direction);
void osv_device_fill(osv_device *d, void *p, unsigned char byte, size_t bytes);

/* f(context, x, bytes) on the host, x being host memory; it calls nothing of CUDA. On CUDA a thread of the
 * driver calls it. */
void osv_device_call(osv_device *d, osv_host_call *f, void *context, void *x, size_t bytes);

/* A mark in the queue; sync waits until all work before the last `behind` marks is done, 0: all work. At most
 * OSV_DEVICE_MARKS - 1 can be left behind. */
enum { OSV_DEVICE_MARKS = 8 };
void osv_device_mark(osv_device *d);
void osv_device_sync(osv_device *d, int behind);

/* What is queued between begin and end is kept instead of run; NULL after a failure. Neither memory nor sync
 * may be asked for in between. */
void osv_device_graph_begin(osv_device *d);
osv_device_graph *osv_device_graph_end(osv_device *d);
void osv_device_graph_run(osv_device *d, osv_device_graph *graph);
void osv_device_graph_free(osv_device *d, osv_device_graph *graph); /* waits for all work */

/* c = a b, or c += a b: c [rows, cols] float, a [rows, inner], b [inner, cols] or, transposed, [cols, inner].
 * a and b are both OSV_F32 or both OSV_BF16, row-major, dense; sums are fp32. The same shape, alignment and
 * place give the same bytes. Rows, cols and inner are at least 1. */
typedef struct {
    float *c;
    const void *a, *b;
    int rows, cols, inner;
    osv_format format;
    bool transposed, accumulate;
} osv_product;
void osv_device_matmul(osv_device *d, const osv_product *p);

/* As osv_ops.stamp, between, range and profiler. */
void osv_device_stamp(osv_device *d, int k);
double osv_device_between(osv_device *d, int a, int b);
void osv_device_range(osv_device *d, const char *name, int number);
void osv_device_profiler(osv_device *d, bool on);

/* True if a kernel may be launched now with that much dynamic shared memory; and after its launch. */
bool osv_device_launch(osv_device *d, const void *kernel, size_t shared_bytes);
void osv_device_launched(osv_device *d, const char *kernel, const char *file, int line);
void *osv_device_stream(osv_device *d);

#ifdef __cplusplus
}
#endif

/* LAUNCH(device, blocks, threads, bytes of SHARED_DYNAMIC, kernel, arguments...): no blocks is legal and does
 * nothing. The arguments are copied now. A kernel with a comma in its name goes in parentheses. */
#if defined(OSV_EMU) && defined(__cplusplus)
#include "emu.h"
#define LAUNCH(d, blocks, threads, bytes, kernel, ...) \
    emu::launch(d, blocks, threads, bytes, #kernel, __FILE__, __LINE__, kernel, __VA_ARGS__)
#elif defined(__CUDACC__)
#define LAUNCH(d, blocks, threads, bytes, kernel, ...)                                              \
    do {                                                                                            \
        unsigned blocks_ = (unsigned)(blocks);                                                      \
        if (blocks_ > 0 && osv_device_launch(d, (const void *)(kernel), bytes)) {                   \
            (kernel)<<<blocks_, threads, bytes, (cudaStream_t)osv_device_stream(d)>>>(__VA_ARGS__); \
            osv_device_launched(d, #kernel, __FILE__, __LINE__);                                    \
        }                                                                                           \
    } while (0)
#endif

#endif
