/* A bin: jobs that are trained together as one batch, with their vectors and moments on the device.
 *
 * Between bins the state of a job lives on the host (osv_job_state); opening a bin uploads it, closing saves
 * it. */
#ifndef OSV_OPTIM_BIN_H
#define OSV_OPTIM_BIN_H

#include "engine/traffic.h"
#include "optim/state.h"
#include "optim/train.h"

typedef struct osv_bin osv_bin;

/* The jobs job[0 .. J) (indexes of t->job); state [t->jobs]. recompute: osv_switches.recompute. */
int osv_bin_open(osv_bin **out, const osv_training *t, const int *job, int J, int recompute,
                 osv_job_state *state);
/* Saves vectors and moments into the states, after everything that was submitted. */
void osv_bin_save(osv_bin *b);
/* The same, and the bin is gone. */
void osv_bin_close(osv_bin *b);

/* Enqueues one iteration: forward, objective, backward, Adam. Counts the step in each job's state. op_by_op:
 * not as a recorded graph, so that a profiler sees the ops. wish: a small number, of rank 0, for all ranks;
 * those of ranks that share the jobs are added up. */
void osv_bin_submit(osv_bin *b, bool op_by_op, int wish);
/* The wish that this iteration (as below) was submitted with. */
int osv_bin_wish(const osv_bin *b, int iteration);
/* True where the last iteration was a recorded graph: then osv_bin_submit returns before it is done. */
bool osv_bin_recorded(const osv_bin *b);

/* What iteration number `iteration` (of this bin, from 0; one of the last two) measured for the i-th job,
 * once it has been waited for. */
void osv_bin_measurement(const osv_bin *b, int iteration, int i, double *losses, double *norm,
                         double *grad_norm, double *size);
/* The i-th job's parameters [rows, D] as they were `ago` steps before now. Waits for everything. */
void osv_bin_vector(osv_bin *b, int i, int ago, osv_real *out);

/* Of the batch: rows of the i-th job, rows in all. */
int osv_bin_rows(const osv_bin *b, int i);
int osv_bin_all_rows(const osv_bin *b);

/* Bytes of memory that a bin of the jobs job[0 .. J), with this batch, allocates, in one piece for the step
 * and one for itself. Pure. */
size_t osv_bin_bytes(const osv_training *t, const osv_batch *batch, const int *job, int J, int recompute);

/* What its iterations send between ranks: the step's, what the ranks decide by, and the vectors. Pure. */
osv_traffic osv_bin_traffic(const osv_training *t, const osv_batch *batch, const int *job, int J,
                            int recompute);

/* The sequences of some jobs in one array, renumbered; of jobs that replicas share this one's. *batch is made
 * from them. Also for osv_evaluate. */
int osv_bin_batch(osv_batch **batch, const osv_training *t, const int *job, int J, bool as_probability);

#endif
