/* A job: one vector, its datapoints, its layer and its hyperparameters. Plain data; whoever fills it owns
 * what it points to and keeps it alive for as long as osv_train runs. */
#ifndef OSV_OPTIM_JOB_H
#define OSV_OPTIM_JOB_H

#include <stdbool.h>

#include "engine/sequence.h"

typedef enum { OSV_TARGET_SUM, OSV_TARGET_EACH } osv_target_rule;

typedef struct {
    double lr, beta1, beta2, adam_eps;
    int max_iters;   /* exactly this many steps at most */
    double coldness; /* P = softmax(coldness z) */
    double eps;      /* inside the logarithms; slack of satisficing */
    unsigned long long seed;
    double init_norm;   /* of the random start vector */
    const float *init;  /* [D] start vector, taken as it is; NULL: random */
    double max_norm;    /* < 0: none */
    bool length_norm;   /* a completion's loss is divided by its token count */
    bool satisfice;     /* optimize (loss - target)^2 */
    double target_loss; /* nats; NaN: no target stop */
    osv_target_rule target_rule;
    int target_iters; /* consecutive iterations that must meet the target */
    double plateau_eps;
    int plateau_iters; /* consecutive changes below plateau_eps; 0: no plateau stop */
} osv_job_options;

/* The defaults of the brief: lr 0.01, 100 iterations, coldness 0.7, eps 1e-6, ... */
osv_job_options osv_job_defaults(void);

typedef struct {
    const char *name;  /* a file name: no slash */
    const char *start; /* what the random start vector is drawn by, with the seed; NULL: the name */
    int layer;         /* the vector is added to the input of this block, 0-based */
    osv_job_options options;
    int completions;
    const osv_sequence *sequence; /* [completions]; the field `job` is ignored here */
    const double *target;         /* [completions] nats, of each completion; NaN: options.target_loss */
} osv_job;

typedef enum {
    OSV_RUNNING,
    OSV_STOP_NAN,
    OSV_STOP_TARGET,
    OSV_STOP_MAX_ITERS,
    OSV_STOP_PLATEAU,
    OSV_STOP_INTERRUPTED,
} osv_stop;

/* "nan", "target", "max-iters", "plateau", "interrupted" */
const char *osv_stop_name(osv_stop stop);

#endif
