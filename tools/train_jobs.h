/* Dataset x layers -> jobs, one vector each. The arrays are owned by train_jobs; they point into the dataset,
 * the options and the start vector, which must outlive it. */
#ifndef OSV_TOOLS_TRAIN_JOBS_H
#define OSV_TOOLS_TRAIN_JOBS_H

#include "loader/datapoints.h"
#include "tools/train_options.h"

/* Where a job's completion comes from. */
typedef struct {
    const osv_datapoint *point;
    const osv_completion *completion;
} train_source;

typedef struct {
    int jobs;
    osv_job *job;              /* [jobs] by name in order of first appearance, then by layer as given */
    const train_source **from; /* [jobs][completions of the job] */
    int completions;           /* of all jobs */
    char **name;               /* [jobs] */
    osv_sequence *sequence;    /* [completions] job by job; field `job` is the index in `job` */
    double *target;            /* [completions] */
    train_source *source;      /* [completions] */
} train_jobs;

/* init: [D] or NULL. Combinations of options and data that make no sense are OSV_USAGE. */
int train_jobs_make(train_jobs *t, const osv_dataset *data, const train_options *o, const float *init,
                    osv_error *e);
void train_jobs_free(train_jobs *t);

/* Positions that all of a job's datapoints have, or "mixed". */
const char *train_job_positions(const train_jobs *t, int job);
/* Does any of a job's datapoints have messages? */
bool train_job_chat(const train_jobs *t, int job);
/* "promote + suppress one-minus, satisfice" */
void train_job_objective(char *text, size_t room, const train_jobs *t, int job);

#endif
