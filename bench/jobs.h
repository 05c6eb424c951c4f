/* Jobs to be measured: one datapoint each, a prompt and one completion of made-up ids, all of them steered.
 */
#ifndef OSV_BENCH_JOBS_H
#define OSV_BENCH_JOBS_H

#include "engine/config.h"
#include "optim/job.h"

typedef struct {
    int jobs;
    osv_job *job;
    int *index; /* 0 .. jobs - 1 */
    osv_sequence *sequence;
    int *ids;
    signed char *steer;
} bench_jobs;

/* The struct stays where it is until bench_jobs_free, which may also follow a failure. */
int bench_jobs_make(bench_jobs *b, const osv_config *c, int jobs, int layer, int prompt, int completion,
                    int iterations, osv_error *e);
void bench_jobs_free(bench_jobs *b);

#endif
