/* A job: one vector, its datapoints, its layer and its hyperparameters. Plain data; whoever fills it owns
 * what it points to and keeps it alive for as long as osv_train runs. */
#ifndef OSV_OPTIM_JOB_H
#define OSV_OPTIM_JOB_H

#include <stdbool.h>

#include "engine/sequence.h"

typedef enum { OSV_TARGET_SUM, OSV_TARGET_EACH } osv_target_rule;

/* What the published reference implementation does otherwise, to be had by name (docs/parity.md); flags. */
typedef enum {
    OSV_PARITY_EXTRA_STEP = 1 << 0,        /* max_iters + 1 steps */
    OSV_PARITY_STEP_AFTER_TARGET = 1 << 1, /* what is kept has gone on for a step after it met the target */
    OSV_PARITY_PLATEAU_TOTAL = 1 << 2,     /* changes below plateau_eps count in all, not in a row */
} osv_parity;

/* How the learning rate goes from lr to 0 over max_iters steps. */
typedef enum { OSV_LR_CONSTANT, OSV_LR_LINEAR, OSV_LR_COSINE } osv_lr_schedule;

typedef struct {
    double lr, beta1, beta2, adam_eps;
    osv_lr_schedule schedule;
    int warmup;      /* first steps, over which the learning rate rises to lr */
    int max_iters;   /* exactly this many steps at most */
    double coldness; /* P = softmax(coldness z) */
    double eps;      /* inside the logarithms; slack of satisficing */
    double power;    /* of the distances of sequences with a target layer, at least 1 */
    unsigned long long seed;
    double init_norm;  /* of the random start vector */
    const float *init; /* [rows, D] start parameters, taken as they are; NULL: random */
    double max_norm;   /* of v; < 0: none */
    double init_affine_norm, max_affine_norm; /* of each row of left and right, likewise */
    const float *offset;                      /* [D] of a clamp with form.offset */
    bool length_norm;      /* a completion's loss is divided by its token count; not distances */
    bool satisfice;        /* optimize (loss - target)^2 */
    double l1;             /* times |v|_1 is optimized too, but is no part of the loss; */
    double group_sparsity; /* times the sum of |v|_2 over the blocks of a job: apart */
    bool adamax;           /* Adamax instead of Adam */
    double norm_weight;    /* times |v| + |left^T right|_F is optimized too */
    int min_norm_iters;    /* of the second phase (optim/phase.h); 0: there is none */
    double min_norm_lr;    /* of it; < 0: lr */
    double bound_lr;       /* learning rate of the multipliers and slacks of goals with a bound */
    double target_loss;    /* nats; NaN: no target stop */
    osv_target_rule target_rule;
    int target_iters; /* consecutive iterations that must meet the target */
    double plateau_eps;
    int plateau_iters; /* consecutive changes below plateau_eps; 0: no plateau stop */
    unsigned parity;   /* osv_parity */
    double noise;      /* scale of the noise around v at which gradients are taken */
    int noise_draws;   /* gradients that a step is the mean of; only with noise > 0 */
    osv_noise_kind noise_kind;
} osv_job_options;

/* The defaults of the brief: lr 0.01, 100 iterations, coldness 0.7, eps 1e-6, ... */
osv_job_options osv_job_defaults(void);

/* What is wanted of one completion's loss; osv_goal_plain where nothing more is said. */
typedef struct {
    double target;    /* nats; NaN: options.target_loss */
    double weight;    /* in what is optimized */
    bool mean;        /* the loss is that of a token on average */
    double bound;     /* nats; the loss is held at or below this (osv_multiplier), instead of made small; NaN:
                         none */
    bool aside;       /* measured and listed, but no part of the job's loss: not of its target or plateau */
    int partner;      /* preferences: the other completion of the pair; -1: none */
    double beta;      /* of those with a partner: > 0 chosen, < 0 rejected */
    double reference; /* likewise: the loss of the unsteered model */
    int sign; /* 0; +1 or -1: it takes part, with twice its weight, in the steps for which this is drawn
                 for the job, and in the others not */
} osv_goal;
extern const osv_goal osv_goal_plain;

typedef struct {
    const char *name;  /* a file name: no slash */
    const char *start; /* what the start vector and all else is drawn by, with the seed; NULL: the name */
    osv_form form;
    int layer;        /* the vector meets the input of this block, 0-based, */
    int laters;       /* and of so many blocks above, */
    const int *later; /* [laters] rising: */
    bool apart;       /* one vector each; else the same one */
    osv_job_options options;
    int befores;             /* jobs that end before this one begins, and to whose vectors its own */
    const int *before;       /* [befores] stay orthogonal: indexes below its own; */
    int given;               /* and to so many others, */
    const float *orthogonal; /* [given, vectors of the job, D] */
    int completions;
    const osv_sequence *sequence; /* [completions]; the field `job` is ignored here */
    const osv_goal *goal;         /* [completions]; NULL: plain ones */
} osv_job;

/* What random numbers of the job are drawn by, with its seed. */
const char *osv_job_draws(const osv_job *job);

/* Rows of parameters: for each block that has its own v, then what else the form has (kernels/ops.h). */
int osv_job_rows(const osv_job *job);

/* Its vectors: one, or one a block; each is the first row of its block's parameters. */
int osv_job_vectors(const osv_job *job);

osv_goal osv_job_goal(const osv_job *job, int completion);
/* The target of a completion: its own, or that of the job. NaN: none. */
double osv_job_target(const osv_job *job, int completion);

/* Has the completion a part of its own in the job's loss? Not where it stands aside, and of a pair the chosen
 * one speaks for both. */
bool osv_job_counts(const osv_job *job, int completion);
/* That part, from the losses of all [completions]: its own one, or -ln sigmoid(m) of its pair, as in
 * osv_objective; and the sum of them, which is the loss of the job. */
double osv_job_term(const osv_job *job, int completion, const double *losses);
double osv_job_loss(const osv_job *job, const double *losses);

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
