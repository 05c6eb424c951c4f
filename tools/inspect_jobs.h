/* The jobs that osv-train would make of --data and the options, and their bins, from shapes alone; without
 * --data one job of a common size. Everything is owned by inspect_jobs and released by inspect_jobs_close, in
 * whatever state opening has left it. */
#ifndef OSV_TOOLS_INSPECT_JOBS_H
#define OSV_TOOLS_INSPECT_JOBS_H

#include "optim/pack.h"
#include "tools/inspect_options.h"
#include "tools/train_setup.h"

typedef struct {
    char layer[16]; /* the middle block, where --layer is not given */
    train_options train;
    train_setup setup; /* its model, and with --data its jobs */
    osv_model shapes;
    train_memory memory;
    osv_training training;
    struct { /* without --data */
        int *ids;
        signed char *steer;
        osv_sequence sequence;
        osv_job job;
    } common;
} inspect_jobs;

/* Of the job without --data. */
enum { INSPECT_PROMPT = 64, INSPECT_COMPLETION = 16 };

int inspect_jobs_open(inspect_jobs *j, const inspect_options *o, osv_error *e);
void inspect_jobs_close(inspect_jobs *j);

/* What a run of them takes: {"weights_bytes": .., "largest_bin_bytes": .., ..}. */
int inspect_memory_json(json_t **out, const inspect_jobs *j, osv_error *e);

#endif
