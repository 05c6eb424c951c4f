/* How long an iteration of training takes: from the reports of osv_train itself. */
#ifndef OSV_BENCH_ITERATION_H
#define OSV_BENCH_ITERATION_H

#include "optim/train.h"

/* Trains, with an observer of its own. *seconds: the fastest iteration, or with graphs the fastest mean of 8
 * in a row, by the clock of bench_seconds; NaN where there were too few. */
int bench_iteration(double *seconds, osv_training *t, int threads, int iterations);

#endif
