/* The machine's rates, which make the floor of an iteration (engine/cost.h), printed beside every
 * measurement.
 */
#ifndef OSV_BENCH_FLOOR_H
#define OSV_BENCH_FLOOR_H

#include "kernels/ops.h"

typedef struct {
    double flops;     /* FLOP/s of a large matrix product */
    double bandwidth; /* bytes/s read from memory */
} osv_rates;

/* Measured on this machine, best of several, with `threads` threads. */
osv_rates osv_measure_rates(int threads);

#endif
