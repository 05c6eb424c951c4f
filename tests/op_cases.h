/* The one table of operators and shapes that fillings are compared on, and that benchmarks may extend: for
 * each operator its kind (how to make and run a call, tests/op_check.h) and the type of its shapes. All
 * static. */
#ifndef OSV_TESTS_OP_CASES_H
#define OSV_TESTS_OP_CASES_H

#include "tests/op_check.h"

typedef struct {
    const op_kind *kind; /* NULL: end of the list */
    const void *shape;
    const char *text; /* the shape as written */
} op_case;

#define OP_CASE(operator, type, ...)                        \
    {                                                       \
        &operator, &(const type){__VA_ARGS__}, #__VA_ARGS__ \
    }

extern const op_case op_block_cases[], op_attention_cases[], op_head_cases[], op_kl_cases[],
    op_distance_cases[], op_vector_cases[];
extern const op_case *const op_case_lists[]; /* all of them, NULL at the end */

/* ---- block ---- */

typedef struct {
    int rows, V, D, first_id;
    double scale;
    osv_format format;
} embed_shape;
extern const op_kind op_embed;

typedef struct {
    int rows, cols, n, outputs[OP_WEIGHTS];
    osv_format format;
} matmul_shape;
extern const op_kind op_matmul, op_matmul_dx, op_bias;

typedef struct {
    int rows, D;
    double offset, scale; /* of x */
    osv_format format;
    bool in_place; /* y is x, dx is dy */
} norm_shape;
extern const op_kind op_rmsnorm, op_rmsnorm_dx;

typedef struct {
    int rows, D, width, first;
    double offset, scale; /* of x */
    osv_format format;
    bool in_place;
} split_norm_shape;
extern const op_kind op_rmsnorm_split, op_rmsnorm_split_dx; /* with the sums that they ask for */
/* Buffers of these. Y is y or dx, X itself or DY where it is made in place. */
enum { SPLIT_X, SPLIT_DY, SPLIT_SUM, SPLIT_DOT, SPLIT_Y };
osv_split_norm op_split_norm(const split_norm_shape *s);

typedef struct {
    int rows, D;
    bool in_place;
    int stride; /* > 0: with index, row r goes to row rows * stride - 1 - r * stride */
} residual_shape;
extern const op_kind op_residual_add;

typedef struct {
    size_t n;
    double factor;
} scale_shape;
extern const op_kind op_scale;

typedef struct {
    int rows, heads, E, rot, direction;
} rope_shape;
extern const op_kind op_rope;

typedef struct {
    size_t n;
    osv_activation act;
    enum { GLU_APART, GLU_ON_GATE, GLU_ON_UP, GLU_ON_BOTH, GLU_GATE_ON_DY, GLU_UP_ON_DY } alias;
} glu_shape;
extern const op_kind op_glu, op_glu_dx;

typedef struct {
    const op_forest_shape *forest;
    osv_heads heads;
    int window;
    double softcap;
    bool own; /* attention_dx reads what this filling's attention wrote, not ref's: ref is slow */
} attention_shape;
extern const op_kind op_attention, op_attention_dx;

/* Buffers of an attention_dx call. */
enum {
    ATTENTION_Q,
    ATTENTION_K,
    ATTENTION_V,
    ATTENTION_DOUT,
    ATTENTION_OUT,
    ATTENTION_LSE,
    ATTENTION_DQ,
    ATTENTION_DK,
    ATTENTION_DV
};
/* The work list of an attention call with its arrays in the filling's memory. */
osv_worklist op_attention_work(const op_call *c);
osv_attention op_attention_arguments(const attention_shape *s);

/* ---- head ---- */

typedef struct {
    int R, V;
    int first_id;   /* > 0: a slice of a vocabulary of first_id + 2 V, in which targets are drawn */
    double softcap; /* > 0: z lies within it */
    double gap;     /* not 0: the target's logit is the maximum of the others + gap */
    int per_row;    /* 1: one score a row; n: 0 .. n in turn, some with the same target */
    int kind;       /* of the first score; the next ones take turns */
    double eps;     /* < 0: 1e-6 and 0 in turn */
} score_shape;
extern const op_kind op_softcap; /* z [R, V] */
extern const op_kind op_score_max, op_score_sum, op_score, op_score_dx;

/* Buffers of all score calls. In score_dx SCORE_LAST is w, in score it is loss. */
enum {
    SCORE_Z,
    SCORE_FIRST,
    SCORE_TARGET,
    SCORE_KIND,
    SCORE_COLDNESS,
    SCORE_EPS,
    SCORE_MAX,
    SCORE_SUM,
    SCORE_LAST
};
/* The scores of a call, with their arrays in the filling's memory. */
osv_scores op_scores(const op_call *c);

typedef struct {
    int rows, per_row, V; /* of 2 rows + 1 rows of z */
    int reverse;          /* 2: every other one */
    double softcap;
    bool slice; /* there is more of the vocabulary */
} kl_shape;
extern const op_kind op_kl_sum, op_kl, op_kl_dx;
/* Buffers of all of these. In kl_dx KL_LAST is w, in kl it is loss. */
enum { KL_DZ, KL_SUM, KL_LAST, KL_Z, KL_MAX };
osv_distributions op_distributions(const op_call *c);

typedef struct {
    int M, D;        /* of 2 M rows of x */
    double apart;    /* x0 from x, in each number */
    double power[3]; /* in turn */
} distance_shape;
extern const op_kind op_distance, op_distance_dx;
/* Buffers of both; DISTANCE_OUT is loss or dx. */
enum { DISTANCE_OUT, DISTANCE_X, DISTANCE_X0, DISTANCE_W };
osv_distances op_distances(const op_call *c);

typedef struct {
    int C, S, constant; /* losses: S live ones, then constant ones */
    bool satisfice;     /* every other completion has a target */
    bool weights;
    bool preference; /* neighbours are partners */
    bool bounds;     /* of all but every third; half of their multipliers have not begun */
    bool length_norm;
} objective_shape;
extern const op_kind op_objective, op_multipliers;

typedef struct {
    int R, V;
    double temperature, top_p; /* 1: all */
    int top_k;                 /* 0: all */
    double spread;             /* of the logits, +- */
    bool ties;                 /* logits are whole numbers, and some of them -inf */
    bool mixed;                /* every row has its own temperature, top_k and top_p, those here at most */
} sample_shape;
extern const op_kind op_sample;

/* ---- vector ---- */

typedef struct {
    int T, row, jobs, per_job, J, D; /* per_job: rows of a job, the first has one more */
    osv_form form;
    bool in_place; /* op_apply only: x0 is x + row */
} site_shape;
extern const op_kind op_apply, op_apply_dp, op_apply_dx;
enum { APPLY_DX = 9 }; /* buffer of op_apply_dp */
/* The site of such a call, with its arrays in the filling's memory. */
osv_site op_site(const op_call *c);

typedef struct {
    int D, J, step; /* steps taken before */
    double max_norm;
    int directions; /* that the last job is kept orthogonal to; the one before it to one less, and so on */
} adam_shape;
extern const op_kind op_adam, op_norm;

typedef struct {
    int J, D, blocks, rank; /* at most: jobs have 1 .. blocks blocks, every other one no map */
    double l1, group, norm;
    bool zero; /* all parameters */
} penalty_shape;
extern const op_kind op_penalty;

typedef struct {
    int J, D, k; /* rows have 0, 1, 2 ... draws, in all kinds */
} noise_shape;
extern const op_kind op_noise, op_noise_mean;
enum { PENALTY_DP, PENALTY_COST, PENALTY_P, PENALTY_GRAM };

/* ---- memory ---- */

typedef struct {
    int rows, D, total;
} rows_shape;
extern const op_kind op_gather_rows, op_scatter_rows;

#endif
