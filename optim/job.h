/* A job: one vector, its datapoints, its layer and its hyperparameters. Plain data; whoever fills it owns
 * what it points to and keeps it alive for as long as osv_train runs. */
#ifndef OSV_OPTIM_JOB_H
#define OSV_OPTIM_JOB_H

#include <stdbool.h>

#include "engine/sequence.h"

typedef enum { OSV_TARGET_SUM, OSV_TARGET_EACH } osv_target_rule;

/* How the learning rate goes from lr to 0 over max_iters steps. */
typedef enum { OSV_LR_CONSTANT, OSV_LR_LINEAR, OSV_LR_COSINE } osv_lr_schedule;

typedef struct {
    double lr, beta1, beta2, adam_eps;
    osv_lr_schedule schedule;
    int warmup;      /* first steps, over which the learning rate rises to lr */
    int max_iters;   /* exactly this many steps at most */
    double coldness; /* P = softmax(coldness z) */
    double eps;      /* inside the logarithms; slack of satisficing */
    unsigned long long seed;
    double init_norm;  /* of the random start vector */
    const float *init; /* [rows, D] start parameters, taken as they are; NULL: random */
    double max_norm;   /* of v; < 0: none */
    double init_affine_norm, max_affine_norm; /* of each row of left and right, likewise */
    const float *offset;                      /* [D] of a clamp with form.offset */
    bool length_norm;                         /* a completion's loss is divided by its token count */
    bool satisfice;                           /* optimize (loss - target)^2 */
    double target_loss;                       /* nats; NaN: no target stop */
    osv_target_rule target_rule;
    int target_iters; /* consecutive iterations that must meet the target */
    double plateau_eps;
    int plateau_iters; /* consecutive changes below plateau_eps; 0: no plateau stop */
} osv_job_options;

/* The defaults of the brief: lr 0.01, 100 iterations, coldness 0.7, eps 1e-6, ... */
osv_job_options osv_job_defaults(void);

/* What is wanted of one completion's loss; osv_goal_plain where nothing more is said. */
typedef struct {
    double target;    /* nats; NaN: options.target_loss */
    double weight;    /* in what is optimized */
    int partner;      /* preferences: the other completion of the pair; -1: none */
    double beta;      /* of those with a partner: > 0 chosen, < 0 rejected */
    double reference; /* likewise: the loss of the unsteered model */
} osv_goal;
extern const osv_goal osv_goal_plain;

typedef struct {
    const char *name;  /* a file name: no slash */
    const char *start; /* what the random start vector is drawn by, with the seed; NULL: the name */
    osv_form form;
    int layer;        /* the vector meets the input of this block, 0-based, */
    int laters;       /* and of so many blocks above, */
    const int *later; /* [laters] rising: */
    bool apart;       /* one vector each; else the same one */
    osv_job_options options;
    int completions;
    const osv_sequence *sequence; /* [completions]; the field `job` is ignored here */
    const osv_goal *goal;         /* [completions]; NULL: plain ones */
} osv_job;

/* Rows of parameters: for each block that has its own v, then what else the form has (kernels/ops.h). */
int osv_job_rows(const osv_job *job);

osv_goal osv_job_goal(const osv_job *job, int completion);
/* The target of a completion: its own, or that of the job. NaN: none. */
double osv_job_target(const osv_job *job, int completion);

/* What a row of parameters is. */
typedef enum { OSV_ROW_VECTOR, OSV_ROW_FACTOR, OSV_ROW_OFFSET } osv_row_role;
osv_row_role osv_job_role(const osv_job *job, int row);

/* The parameters before the first step [rows, D]: the given ones, or random ones that depend on seed and
 * name. */
void osv_job_start(osv_real *rows, const osv_job *job, int D);

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
