/* How long a call takes on any filling, with cold caches: several copies of the call, each in memory of its
 * own, run in turn, between two stamps of the filling's clock.
 *
 * Where the filling records graphs all copies, often several rounds of them, are one graph, as the calls of a
 * training iteration are: launching from the host costs nothing then. Two graphs run one after the other, so
 * that the second one waits in the queue when the first one ends; only the second is timed. Elsewhere each
 * call is timed for itself. */
#ifndef OSV_BENCH_TIMING_H
#define OSV_BENCH_TIMING_H

#include "kernels/ops.h"

/* True where ops run on a device, with memory, a cache and a queue of its own. */
bool osv_on_device(const osv_ops *o);

/* The clock for what takes longer than a call: with one thread of a CPU the time that this process has had
 * the processor, which other programs do not lengthen by theirs; else what passes. Seconds. */
double bench_seconds(const osv_ops *o, int threads);

typedef struct {
    void (*run)(osv_ops *o, void *state, int turn); /* the call on copy number turn */
    void *state;
    int copies;
} bench_work;

/* Seconds of one call: the least of several graphs, or calls, within about `seconds`. NaN after a failure,
 * which sticks in o->error. */
double bench_time(osv_ops *o, const bench_work *w, double seconds);

/* How many copies of a call that touches `touched` bytes and holds `held` are enough for cold caches: 4 times
 * the last cache of the devices and machines of today, if that is not too many. */
int bench_copies(const osv_ops *o, double touched, double held);

#endif
