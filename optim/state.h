/* Where a training stands between two iterations: all that it takes to go on to the same bytes. Knows no
 * files; optim/saved_run.h writes it to one. */
#ifndef OSV_OPTIM_STATE_H
#define OSV_OPTIM_STATE_H

#include <stddef.h>

#include "kernels/ops.h"
#include "optim/stop.h"

/* v and the vectors before it: a stop is noticed one or two iterations late and takes an older one. */
enum { OSV_HISTORY = 4, OSV_STATE_ROWS = OSV_HISTORY + 3 };

/* Of a job while it is in a bin. */
typedef struct {
    osv_real *vector; /* [OSV_HISTORY, rows, D] parameters, and what they were before the last step, the step
                         before that, ... */
    osv_real *m, *s;  /* [rows, D] Adam's moments, right behind them */
    osv_real *kept;   /* [rows, D] behind those: what is kept when the job ends; from the second phase on */
    osv_multiplier *multiplier; /* [completions] */
    int steps;                  /* taken (or enqueued) so far */
    osv_stop_state stop;
    osv_stop stopped;
    int stopped_at; /* iteration of the bin whose measurement ended it */
    /* second phase: optim/phase.h */
    int second;            /* 1: in it */
    int from;              /* steps before it */
    osv_stop reason;       /* why the first one ended */
    double size, shortest; /* |v| + |left^T right|_F where it began, and of what is kept */
    double *bound;         /* [completions] */
    /* the last finite measurement; in the second phase that of what is kept */
    int iter;
    double loss, norm;
    double *losses; /* [completions] */
} osv_job_state;

/* Zeros, and multipliers that have not begun; `numbers`: rows x D. */
int osv_job_state_open(osv_job_state *s, size_t numbers, int completions, osv_error *e);
/* Everything from `from`, which has the same sizes, into the memory of `to`. */
void osv_job_state_copy(osv_job_state *to, const osv_job_state *from, size_t numbers, int completions);
void osv_job_state_close(osv_job_state *s);

/* How far a job has come. */
typedef enum { OSV_JOB_WAITS, OSV_JOB_BEGUN, OSV_JOB_ENDED } osv_job_stage;

typedef struct {
    int iterations;       /* of all bins so far */
    size_t memory;        /* what the bins were packed with: osv_training.memory */
    osv_job_stage *stage; /* [jobs of the training] */
    /* The bin. Jobs of it that have ended rest in it and are computed all the same: without them the products
     * would have other shapes, and with them other last bits. */
    int jobs;
    int *job;             /* [jobs] in the order of the batch */
    osv_job_state *state; /* [jobs of the training]; of use are those of the bin */
    int recompute;        /* osv_switches.recompute */
    int submitted;        /* iterations of this bin, from which stopped_at counts */
} osv_training_state;

#endif
