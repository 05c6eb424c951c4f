/* checkpoint.safetensors in the folder of a run: where the training stands (optim/state.h), what became of
 * the jobs that have ended, and how long the trace was. Numbers are tensors, so that every bit of them comes
 * back, those of NaN included; nothing that is read is believed before it fits together. */
#ifndef OSV_OPTIM_SAVED_RUN_H
#define OSV_OPTIM_SAVED_RUN_H

#include "loader/safetensors.h"
#include "optim/train.h"

/* What became of a job. */
typedef struct {
    osv_stop stopped;  /* OSV_RUNNING: not ended */
    int iterations;    /* steps taken */
    int nan_iter;      /* iteration whose loss was not finite; else -1 */
    double loss_start; /* at the start vector, nats */
    double loss, norm; /* of the vector that was kept */
    double *losses;    /* [completions]; NULL unless it has ended */
} osv_outcome;

typedef struct {
    osv_training_state state;
    osv_outcome *outcome; /* [jobs] */
    long long trace_bytes;
} osv_saved_run;

/* Jobs and model, of which a checkpoint holds the shapes alone. */
typedef struct {
    const osv_job *job;
    int jobs, D, N;
} osv_saved_shape;

/* All or nothing, as osv_file_write. */
int osv_saved_run_write(const char *path, const osv_saved_run *saved, const osv_saved_shape *shape,
                        osv_error *e);
/* The same file in memory, to be written as it is; `path` is for messages. */
int osv_saved_run_pack(osv_packed *packed, const char *path, const osv_saved_run *saved,
                       const osv_saved_shape *shape, osv_error *e);
/* What is wrong in any way is OSV_BAD_INPUT. On failure nothing is left to free. */
int osv_saved_run_read(osv_saved_run *saved, const char *path, const osv_saved_shape *shape, osv_error *e);
/* Frees what osv_saved_run_read made. */
void osv_saved_run_free(osv_saved_run *saved, const osv_saved_shape *shape);

#endif
