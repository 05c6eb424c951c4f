/* A run from its begin, or from where it was left, to its end: the jobs of a setup are trained in the folder
 * that its options name. One rank of those that do it together writes. */
#ifndef OSV_TOOLS_TRAIN_WORK_H
#define OSV_TOOLS_TRAIN_WORK_H

#include "tools/train_report.h"

/* Of a run beside others. */
typedef struct {
    bool quiet;                 /* no progress */
    int (*look)(void *context); /* between iterations, on the rank that writes; may be NULL */
    void *context;
} train_work_manner;

typedef struct {
    const train_setup *setup;
    osv_run_directory run;
    osv_saved_run saved; /* what it went on from */
    train_report report;
    double *before, *after; /* [completions] ln P, unsteered and with the vectors; in one array */
    train_work_manner how;
} train_work;

/* Opens the folder of a run on the rank that writes: makes it, or, with --resume, goes on with what is there;
 * then *saved is what its checkpoint holds, *resumed whether there is one. */
int train_work_open(osv_run_directory *run, osv_saved_run *saved, bool *resumed, const train_setup *s);

/* A run that was interrupted has ended too: report.interrupted. Then, and after a failure, train_work_close.
 */
int train_work_train(train_work *w, const train_setup *s, train_work_manner how);

/* Closes the folder; a file of it that could not be written shows here at the latest. */
int train_work_close(train_work *w);

#endif
