/* What a machine can do: the rates that make the floor of an iteration (engine/cost.h). */
#ifndef OSV_KERNELS_RATES_H
#define OSV_KERNELS_RATES_H

#include <stddef.h>

typedef struct {
    double flops;     /* FLOP/s of a large matrix product */
    double bandwidth; /* bytes/s: read from memory on a CPU; read and written by a large copy on a device */
} osv_rates;

/* Of `threads` threads of this host, measured now for about `seconds` (0: once): BLAS, and reading `numbers`
 * floats, which should be well past any cache. The best of several; 0 where there is no memory. */
osv_rates osv_host_rates(int threads, size_t numbers, double seconds);

#endif
