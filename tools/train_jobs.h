/* Dataset x configurations -> jobs, one vector each. The arrays are owned by train_jobs; they point into the
 * dataset, the configurations and the start vectors, which must outlive it. */
#ifndef OSV_TOOLS_TRAIN_JOBS_H
#define OSV_TOOLS_TRAIN_JOBS_H

#include "loader/datapoints.h"
#include "tools/train_sweep.h"

/* Where a job's completion comes from. */
typedef struct {
    const osv_datapoint *point;
    const osv_completion *completion;
    osv_completion_kind kind; /* what is wanted of it: that of the completion, but where it is */
    bool opposite;            /* one of a pair steered with the other sign, when the other one is chosen */
} train_source;

/* Where a job comes from. */
typedef struct {
    const char *group;      /* "job" of its datapoints */
    const train_line *line; /* its configuration, and */
    int index;              /* which one of those that this makes */
} train_origin;

typedef struct {
    const osv_dataset *data;
    const train_sweep *sweep;
    int jobs;
    osv_job *job;                   /* [jobs] by "job" in order of first appearance, then by configuration */
    train_origin *origin;           /* [jobs] */
    const train_source **from;      /* [jobs][completions of the job] */
    int completions;                /* of all jobs */
    char **name;                    /* [jobs] */
    char **start;                   /* [jobs] what their start vectors are drawn by, with the seed */
    bool varies[TRAIN_JOB_OPTIONS]; /* of train_job_options: has more than one value in this run */
    osv_sequence *sequence;         /* [completions] job by job; field `job` is the index in `job` */
    osv_goal *goal;                 /* [completions] */
    int *chain;                     /* [jobs] of --orthogonal: jobs that differ in the seed alone, in order */
    train_source *source;           /* [completions] */
} train_jobs;

/* What lines of the sweep start from: read from files, or NULL. */
typedef struct {
    float *init; /* [numbers] as osv_job_options.init */
    size_t numbers;
    float *offset; /* [D] */
    int given;     /* vectors to stay orthogonal to, as osv_job.orthogonal */
    float *orthogonal;
    size_t orthogonal_numbers;
} train_start;

/* start: [lines of the sweep]. Combinations of options and data that make no sense are
 * OSV_USAGE, or OSV_BAD_INPUT where a line of the sweep asks for them. */
int train_jobs_make(train_jobs *t, const osv_dataset *data, const train_sweep *sweep,
                    const train_start *start, osv_error *e);
void train_jobs_free(train_jobs *t);

#endif
