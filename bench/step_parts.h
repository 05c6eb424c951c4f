/* The time of every operator of one iteration, by the part of the step that calls it. */
#ifndef OSV_BENCH_STEP_PARTS_H
#define OSV_BENCH_STEP_PARTS_H

#include "bench/rates.h"
#include "optim/train.h"

enum { STEP_PARTS = 128 };

typedef struct {
    const char *part, *op;
    int calls;
    double seconds;
} step_part;

typedef struct {
    step_part part[STEP_PARTS];
    int count;
    double seconds; /* of all of them */
} step_parts;

/* One iteration of t's jobs ([J] = index) op by op, each between two stamps; not recorded, and on a device
 * behind work that keeps it busy until all is submitted, so that no op waits for the host. The least of
 * several runs. What only reaches the host (losses, norms) is left out. */
int step_parts_measure(step_parts *p, const osv_training *t, const int *index, osv_rates rates);

#endif
