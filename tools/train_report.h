/* What happens while osv-train trains: the observer of osv_train. Writes the trace and the vectors, shows
 * progress, and keeps what the results need. Owns its outcomes; borrows the rest. */
#ifndef OSV_TOOLS_TRAIN_REPORT_H
#define OSV_TOOLS_TRAIN_REPORT_H

#include "optim/run_directory.h"
#include "tools/progress.h"
#include "tools/train_setup.h"

/* What became of a job. */
typedef struct {
    osv_stop stopped;  /* OSV_RUNNING: not ended */
    int iterations;    /* steps taken */
    int nan_iter;      /* iteration whose loss was not finite; else -1 */
    double loss_start; /* at the start vector, nats */
    double loss, norm; /* of the vector that was kept */
    double *losses;    /* [completions] */
    osv_real *vector;  /* [D] */
    char *file;        /* path of the vector */
} train_outcome;

typedef struct {
    const train_setup *setup;
    osv_run_directory *run;
    osv_progress progress;
    train_outcome *outcome; /* [jobs] */
    int *steps;             /* [jobs] the last iteration heard of */
    double *last_loss;      /* [jobs] */
    int most_steps;         /* of a job */
    long steps_to_do;       /* of all jobs */
    long all_steps;         /* of all jobs; those that have ended count as if they had gone on */
    int ended;
    bool interrupted; /* all jobs end now */
    int next_line;    /* iteration of the next plain line */
} train_report;

int train_report_open(train_report *r, const train_setup *s, osv_run_directory *run);
void train_report_close(train_report *r);

/* osv_observer.report; context: train_report. */
int train_report_observe(void *context, const osv_report *report, osv_error *e);

#endif
