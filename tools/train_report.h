/* What happens while osv-train trains: the observer of osv_train. Writes the trace and the vectors, shows
 * progress, and keeps what the results need. Owns its outcomes; borrows the rest. */
#ifndef OSV_TOOLS_TRAIN_REPORT_H
#define OSV_TOOLS_TRAIN_REPORT_H

#include "optim/run_directory.h"
#include "optim/saved_run.h"
#include "tools/progress.h"
#include "tools/train_setup.h"

typedef struct {
    const train_setup *setup;
    osv_run_directory *run;
    osv_progress progress;
    osv_outcome *outcome; /* [jobs] */
    osv_real **vector;    /* [jobs] of those that have ended, [D] each */
    char **file;          /* [jobs] the paths of their vectors */
    int *steps;           /* [jobs] the last iteration heard of */
    double *last_loss;    /* [jobs]; not finite: none yet */
    double loss_sum;      /* of those */
    int heard;            /* how many they are */
    int most_steps;       /* of a job */
    long steps_to_do;     /* of all jobs */
    long all_steps;       /* of all jobs; those that have ended count as if they had gone on */
    int ended;
    bool interrupted; /* all jobs end now */
    bool saved;       /* the last checkpoint is on the disk */
    bool warned;      /* that one could not be saved */
    int next_line;    /* iteration of the next plain line */
} train_report;

/* from: the checkpoint that the run goes on from, whose vectors are read back; NULL: it begins. quiet: no
 * progress. */
int train_report_open(train_report *r, const train_setup *s, osv_run_directory *run,
                      const osv_saved_run *from, bool quiet);
void train_report_close(train_report *r);

/* osv_observer.report; context: train_report. */
int train_report_observe(void *context, const osv_report *report, osv_error *e);
/* The same on ranks that write nothing: keeps what became of the jobs. */
int train_report_follow(void *context, const osv_report *report, osv_error *e);
/* osv_observer.save: writes the checkpoint. Where it cannot be written a warning says so and the training
 * goes on: the one before stays good. */
int train_report_save(void *context, const osv_training_state *state, osv_error *e);
/* osv_observer.keep: the same into memory, on all ranks: train_rescue.h. */
int train_report_keep(void *context, const osv_training_state *state, osv_error *e);
/* That file. */
int train_report_checkpoint(const train_report *r, const osv_saved_run *saved, osv_error *e);

#endif
