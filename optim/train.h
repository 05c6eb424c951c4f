/* The optimizer loop: jobs -> vectors. Knows no files; what happens is told to an observer, iteration by
 * iteration.
 *
 * The observer's calls come from the thread that called osv_train; what they point to lives only during the
 * call. A status other than OSV_OK that an observer returns ends the training and is returned by osv_train.
 */
#ifndef OSV_OPTIM_TRAIN_H
#define OSV_OPTIM_TRAIN_H

#include <signal.h>

#include "engine/step.h"
#include "optim/state.h"

/* One measurement of one job: the loss at the vector *before* step `iter`, or, when the job has ended, of the
 * vector that is kept. */
typedef struct {
    int job;          /* index */
    int iter;         /* steps taken before the measurement */
    double loss;      /* osv_job_loss, nats */
    double norm;      /* of the vector; of several, one a block, the root of the summed squares */
    double grad_norm; /* of d objective / d vector, likewise; with noise of the mean over its draws; NaN in a
                         final report */
    int completions;
    const double *losses; /* [completions] in the order of the job's sequences */
    osv_stop stopped;     /* OSV_RUNNING, or why the job has ended: then this is its final report */
    int nan_iter;         /* with OSV_STOP_NAN: the iteration whose loss was not finite; else -1 */
    int phase;            /* 1, or 2: optim/phase.h */
    int rows, D;
    const osv_real *vector; /* [rows, D] the parameters that are kept; NULL unless final */
} osv_report;

typedef struct {
    void *context;
    int (*report)(void *context, const osv_report *report, osv_error *e);
    /* For a checkpoint; may be NULL. All that was measured up to here has been reported. A training that is
     * given this state as osv_training.resume goes on as if there had been no end: the same reports and
     * vectors, byte for byte. */
    int (*save)(void *context, const osv_training_state *state, osv_error *e);
    /* The same for memory alone, where ranks share the model, in case that one of them is lost: on all of
     * them together; may be NULL, on all of them. Before each save, too. */
    int (*keep)(void *context, const osv_training_state *state, osv_error *e);
} osv_observer;

typedef struct {
    osv_ops *ops;
    osv_comm *comm; /* of the ranks that share the model */
    osv_comm *data; /* of those that share the jobs (optim/share.h), with the same slice of the model on
                       other replicas; NULL: none do. Jobs are then trained one by one */
    const osv_model *model; /* placed */
    osv_switches on;        /* but `recompute`, which the memory decides */
    const osv_job *job;
    int jobs;
    size_t memory; /* bytes that a bin may take, beside the weights; 0: no limit */
    osv_observer observer;
    const osv_real *const
        *kept; /* [jobs] where jobs come before others (osv_job.before): the vectors of those
                  that have ended, from their final reports, kept by whoever observes */
    const volatile sig_atomic_t
        *interrupted;  /* nonzero: save, then end after one more iteration, keep the vectors; may be NULL */
    int profile;       /* > 0: for an attached profiler, see optim/profile.h */
    int save_every;    /* iterations between two calls of observer.save; 0: only when interrupted */
    double keep_every; /* seconds between two calls of observer.keep */
    const osv_training_state *resume; /* where to go on; NULL: from the start. Its `memory` is used */
} osv_training;

/* Trains all jobs, in the order given: as many together as the memory holds; where some have ended, the next
 * ones that may begin take their place (optim/pack.h). Interrupted, those that have not begun get no report;
 * else the end is saved too, as a state without jobs. The ops' sticky error says what went wrong. */
int osv_train(const osv_training *t);

#endif
