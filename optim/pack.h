/* Which jobs are trained together: a bin takes from those that may begin, in order, what fits into the
 * memory. Pure: it looks at shapes alone, so bins can be planned without weights and without a device. */
#ifndef OSV_OPTIM_PACK_H
#define OSV_OPTIM_PACK_H

#include "optim/train.h"

enum {
    /* With fewer rows than this a product waits for its weights, not for arithmetic (a GPU makes about 300
     * multiplications of bf16 in the time that it reads one): more jobs are then worth computing again what
     * the memory cannot keep for the reverse pass. */
    OSV_FEW_ROWS = 256,
    /* Past this many rows a bin gains nothing from being larger. */
    OSV_MOST_ROWS = 2048,
};

typedef struct {
    int jobs;
    int rows, frozen, scored; /* live tokens, those computed once, loss terms */
    int recompute;            /* osv_switches.recompute */
    size_t bytes;             /* of memory while the bin lives, beside the weights */
} osv_bin_size;

/* The jobs that wait and may begin, in order: all that come before them (osv_job.before) have ended. Returns
 * how many. queue, stage [jobs] */
int osv_pack_ready(int *queue, const osv_job *job, const osv_job_stage *stage, int jobs);

/* What the jobs job[0 .. J) need together, recomputing no more than makes them fit into `memory` (0: as much
 * as there is). `fits` false: they do not; then size->bytes is the least they need. */
int osv_pack_measure(osv_bin_size *size, bool *fits, const osv_training *t, const int *job, int J,
                     size_t memory);

/* Appends jobs queue[0], queue[1], ... to the *jobs jobs in `job` (room for all) as long as they fit into
 * t->memory. A bin without jobs takes at least one; where even that does not fit it is OSV_DEVICE, with what
 * to do. */
int osv_pack_fill(osv_bin_size *size, const osv_training *t, int *job, int *jobs, const int *queue,
                  int waiting);

/* Calls f for every bin, in order, as they are if no job ends before the others of its bin: its jobs are
 * job[0 .. size->jobs), indexes of t->job. A status other than OSV_OK ends it and is returned. */
int osv_pack_each(const osv_training *t, int (*f)(void *context, const int *job, const osv_bin_size *size),
                  void *context);
/* The same, where jobs wait for those that come before them (osv_job.before): the bins of a training. */
int osv_pack_each_ready(const osv_training *t,
                        int (*f)(void *context, const int *job, const osv_bin_size *size), void *context);

#endif
