/* The operators of one rank: the only thing the engine knows of a backend.
 *
 * A filling (ref, cpu, cuda) is opened once and gives one osv_ops: the table and, behind `state`, what the
 * filling keeps. All pointers to tensors are memory that this filling allocated (device memory on CUDA),
 * index arrays included, unless the name says host. Tensors are row-major and dense. Outputs are written with
 * `=`; residual_add alone adds. Output and input may be the same buffer only where the comment says so.
 *
 * Ops return nothing. The first failure sticks in `error` (with the place and a text), after that every op
 * does nothing; the engine asks once at the end of what it does (osv_ops_status). rows = 0 is legal
 * everywhere and does nothing.
 *
 * Dims, for the whole project:
 *   T packed tokens   D model width   F ffn width   H query heads   K kv heads   E head dim   V vocabulary N
 * blocks S scores (loss terms)   R rows of logits (distinct scored positions)   M distances   C completions
 * J jobs (vectors trained together) */
#ifndef OSV_KERNELS_OPS_H
#define OSV_KERNELS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/error.h"
#include "kernels/real.h"
#include "kernels/weight.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct osv_ops osv_ops;
typedef struct osv_graph osv_graph;

typedef enum { OSV_SILU, OSV_GELU_TANH, OSV_GELU } osv_activation;

/* Heads of this rank. Query head h is the global head first + h and reads the local kv head
 * (first + h) / group - first / group, group being the global number of query heads per kv head. */
typedef struct {
    int H, K, E;
    int first, group;
} osv_heads;

typedef struct {
    osv_heads heads;
    double scale;   /* multiplies q.k */
    double softcap; /* c > 0: scores are c tanh(s / c); 0: none */
    int window;     /* w > 0: a query at position p sees keys at p - w + 1 .. p; 0: all up to p */
} osv_attention;

/* RMSNorm of rows whose columns are split over ranks. */
typedef struct {
    int width; /* of a whole row */
    int first; /* columns before this one are another rank's too, and counted there */
    double offset, eps;
} osv_split_norm;

/* Attention's work list: who looks at whom, made once per batch (engine/worklist). A key at position pk is
 * visible to a query at position pq of the same path iff pk <= pq and (no window or pq - pk < window), so one
 * rule serves ancestors and a segment's own keys. Tiles hold at most OSV_TILE rows, all of one segment, so
 * that a filling can give a tile to a thread or block. Ranges are listed root first; sums over keys and over
 * queries run in list order, whatever the number of threads. */
enum { OSV_TILE = 64 };

typedef struct {
    int slot, count; /* consecutive slots of the K/V arena ... */
    int pos;         /* ... at positions pos, pos + 1, ... */
} osv_kv_range;

typedef struct {
    int row, count;    /* rows of q, out, lse: consecutive, of one segment, positions rising */
    int first, ranges; /* kv_range[first .. first + ranges) */
} osv_query_tile;

typedef struct {
    int slot, count, pos; /* as osv_kv_range; all slots live */
    int row, rows;        /* query rows that may see these keys: the segment's own and all its descendants' */
} osv_kv_tile;

typedef struct {
    int rows;       /* query rows */
    const int *pos; /* [rows] position of each query row */
    const osv_query_tile *query_tile;
    int query_tiles;
    const osv_kv_range *kv_range;
    int kv_ranges;
    const osv_kv_tile *kv_tile;
    int kv_tiles;
    int live_slot; /* dk and dv rows count from this slot: slots before it are frozen and get no gradient */
    int max_keys;  /* the largest number of keys that one tile's ranges hold */
} osv_worklist;

/* A score is one loss term: -ln(P + eps) of a target id and the like. Scores are sorted by (row, target). */
typedef enum {
    OSV_PROMOTE,   /* -ln(P + eps) */
    OSV_ONE_MINUS, /* -ln(1 - P + eps) */
    OSV_NEGATED,   /* +ln(P + eps) */
} osv_score_kind;

typedef struct {
    int R, S;
    const int *first;         /* [R + 1] scores of row r are first[r] .. first[r + 1) */
    const int *target;        /* [S] global vocabulary id */
    const int *kind;          /* [S] osv_score_kind */
    const osv_real *coldness; /* [R] P = softmax(coldness z) */
    const osv_real *eps;      /* [R] */
    int first_id;             /* global id of column 0 of z: this rank's slice of the vocabulary */
    double softcap; /* c > 0: z has been through softcap(c), and score_dx goes back through it; 0: none */
} osv_scores;

/* Rows of logits that are to match whole distributions: reentrant steering, and anchors that keep a model as
 * it was. */
typedef struct {
    int rows, K;
    const int *row;           /* [rows] of z, rising, none twice */
    const int *first;         /* [rows + 1] the distributions of row[r] are first[r] .. first[r + 1) */
    const int *aim;           /* [K] its row of logp: jobs that are trained on the same text share them */
    const osv_real *logp;     /* [*, V] ln p, this rank's slice; -inf where p = 0 */
    const int *reverse;       /* [K] 0: KL(p || P) = sum of p ln(p / P); 1: KL(P || p) */
    const osv_real *coldness; /* [rows] P = softmax(coldness z) */
    double softcap;           /* as in osv_scores */
} osv_distributions;

/* Rows of the residual stream that are to go far away from where they are without a vector: MELBO (Mack &
 * Turner 2024). */
typedef struct {
    int M;
    const int *row;        /* [M] of x, none twice */
    const osv_real *power; /* [M] at least 1 */
} osv_distances;

/* What holds the loss L of a completion at or below a bound, by the modified differential method of
 * multipliers (Platt & Barr 1988): with the violation g = L - bound + slack^2,
 *     lambda g + g^2 / 2
 * is optimized; lambda >= 0 goes up its gradient and slack down, beside the parameters, by Adamax (Kingma &
 * Ba 2015, 7.1), whose moments stand here too. */
typedef struct {
    osv_real lambda, slack; /* slack NaN: not begun, as large as L leaves room */
    osv_real lambda_m, lambda_u, slack_m, slack_u;
} osv_multiplier;

/* How the scores of a completion become one loss L[c] = scale[c] (sum of its losses), and what is optimized:
 * the sum over completions of weight[c] f(L[c]),
 *     f = L                           where target[c] and partner[c] are none
 *     f = (L - target)^2              satisficing (Dunefsky & Cohan 2025)
 *     f as in osv_multiplier          where bound[c] is given, whatever the target
 * and for two completions that are partners, once for both and with the weight of either,
 *     f = -ln sigmoid(m),  m = sum over the two of beta (reference - L)
 * which is the preference loss of Rafailov et al. 2023 where beta is positive for the chosen one, as negative
 * for the other, and `reference` is the L of the unsteered model. */
typedef struct {
    int C;
    const int *first;           /* [C + 1] */
    const int *score;           /* [first[C]] indexes of loss[], completion by completion, in token order */
    const osv_real *scale;      /* [C] 1, or 1 / number of losses: length norm, distances */
    const osv_real *weight;     /* [C] */
    const osv_real *target;     /* [C] NaN: none */
    const int *partner;         /* [C] -1: none */
    const osv_real *beta;       /* [C] of those with a partner */
    const osv_real *reference;  /* [C] likewise */
    const osv_real *bound;      /* [C] NaN: none */
    osv_multiplier *multiplier; /* [C] of those with a bound */
} osv_objective;

/* How parameters meet a row x of the residual stream; s is the row's sign. The parameters of a job at a site
 * are consecutive rows of D: first v, then what the form has besides.
 *     add       x + s v
 *     add_norm  (x + s v) |x| / |x + s v|: turned, not lengthened
 *     clamp     x - (v.x / |v|^2) v + clamp s v, or with an offset mu (one more row) in the projection
 *               x - (v.(x - mu) / |v|^2) v + clamp s v; clamp 0 ablates
 *     affine    x + (x right^T) left + s v; left, then right [rank, D] (rank rows each)
 * A v of zeros has no direction: clamp changes nothing then, and neither does add_norm where a length is 0.
 * Two flags change the gradient alone, to what others compute (docs/parity.md). */
typedef enum { OSV_FORM_ADD, OSV_FORM_ADD_NORM, OSV_FORM_CLAMP, OSV_FORM_AFFINE } osv_form_kind;

typedef struct {
    osv_form_kind kind;
    double clamp;       /* clamp */
    bool offset;        /* clamp */
    int rank;           /* affine */
    bool constant_norm; /* clamp: |v|^2 is a constant in dv */
    bool cut;           /* dx of a steered row is zero */
} osv_form;

/* Consecutive rows of x that jobs meet in one form at one block. Rows of a job are consecutive. */
typedef struct {
    int row, rows;        /* rows of x */
    osv_form form;        /* of all jobs here */
    int jobs;             /* number of entries of the next three (first: one more) */
    const int *param;     /* [jobs] its first row of parameters */
    const int *grad;      /* [jobs] its first row of gradients */
    const int *first;     /* [jobs + 1] rows of job i are row + first[i] .. row + first[i + 1) */
    const int *row_param; /* [rows] first row of the parameters that each row meets */
    const int *sign;      /* [rows] +1, -1, or 0: not steered */
} osv_site;

/* How the next token of a row is chosen; in every digit: kernels/sampling.h. */
typedef struct {
    osv_real temperature; /* 0: the largest logit, the lowest id among equals */
    osv_real top_p;       /* 1: all; else the fewest most likely tokens that hold this much probability of
                             what top_k leaves; 0: one */
    int top_k;            /* 0: all; else only the k largest logits, lowest ids first among equals */
    unsigned seed[2];     /* the noise is Philox of seed, stream, place and the token's id: */
    unsigned stream;      /* which text, */
    unsigned place;       /* which token of it; so a draw is the same in any batch */
} osv_sampling;

/* A token of a row. */
typedef struct {
    osv_real z;
    int id; /* in the whole vocabulary; -1: none */
} osv_token;

/* What a rank has to tell of its slice of a row, when a token is chosen from all of them. */
typedef struct {
    osv_real first;  /* its largest logit */
    osv_real others; /* sum of exp(z - max) of its tokens but that one, `max` being that of the whole row */
    uint64_t weight; /* of its tokens, where top_p asks for it (kernels/sampling.h); else 0 */
    int more;        /* are there tokens in it that were not listed? */
} osv_slice;

/* One Adam step of one job; on the device, so that a recorded graph reads new values each time. */
typedef struct {
    osv_real lr; /* 0: the job rests, its vector stays */
    osv_real beta1, beta2, eps;
    osv_real correction1, correction2; /* 1 - beta^t */
    osv_real max_norm;                 /* < 0: none */
    int adamax;                        /* 1: the infinity norm of past gradients, not their second moment */
    int direction, directions;         /* v is kept orthogonal to so many rows from this one on */
} osv_adam_params;

/* Noise around one row of parameters, at which its gradient is taken instead (a flatter place of the loss is
 * found). Each draw n is standard normal times `scale`, a function of seed, name, row and place alone
 * (kernels/noise.h); with the gradient g at the row itself,
 *     tangent   n - (n.g / |g|^2) g: the loss is the same, to first order
 *     no_gain   likewise, but only where n.g < 0, that is where n would lower the loss
 *     anti      n less the draw before it (anticorrelated: Orvieto et al. 2022) */
typedef enum { OSV_NOISE_PLAIN, OSV_NOISE_TANGENT, OSV_NOISE_NO_GAIN, OSV_NOISE_ANTI } osv_noise_kind;

typedef struct {
    int draws; /* 0: no noise */
    osv_noise_kind kind;
    osv_real scale;
    unsigned seed[2], name[2], row;
    int place; /* number of the first draw; the k-th is number place + k */
} osv_noise;

/* What the parameters of one job cost by themselves, whatever they do to the model:
 *     l1 (sum of |v|_1) + group (sum of |v|_2) + norm (root of the sum of |v|_2^2 + that of |left^T
 * right|_F^2) sums over the blocks at which it has parameters of its own. */
typedef struct {
    int row;          /* its first row of parameters */
    int blocks, step; /* rows of parameters of each block: first v */
    int rank;         /* rows of left, then of right, behind v; 0: none */
    int gram;         /* where its 2 rank^2 numbers a block begin in the op's scratch */
    osv_real l1, group, norm;
} osv_penalty;

typedef void osv_host_call(void *context, void *x, size_t bytes);

typedef enum { OSV_TO_DEVICE, OSV_TO_HOST, OSV_ON_DEVICE } osv_direction;

/* f32: weights as in the file, all arithmetic fp32. bf16: weights and the inputs of products are bf16. */
typedef enum { OSV_DTYPE_F32, OSV_DTYPE_BF16 } osv_dtype;

/* x as a number of the run's dtype: rounded to bf16, or to osv_real. */
static inline double osv_dtype_round(osv_dtype dtype, double x)
{
    if (dtype == OSV_DTYPE_BF16) return (double)osv_float_from_bf16(osv_bf16_from_float((float)x));
    return (double)(osv_real)x;
}

/* Somebody who looks on: told when the engine begins and ends an op, and the parts of its work that hold ops
 * ("forward", "block" 3; number -1: there is only one). May call ops itself, but for profilers and clocks
 * below only what does not disturb. */
typedef struct {
    void *context;
    void (*begin)(void *context, osv_ops *o, const char *name, int number);
    void (*end)(void *context, osv_ops *o, const char *name, int number);
} osv_watch;

enum { OSV_STAMPS = 8192 };

struct osv_ops {
    const char *name;       /* "ref", "cpu", "cuda" */
    const char *hardware;   /* for people: "NVIDIA H200, 132 multiprocessors, ..."; the filling's */
    osv_dtype dtype;        /* as opened */
    osv_error *error;       /* sticky; the caller of osv_*_open owns it */
    const osv_watch *watch; /* NULL: nobody looks on; the caller's */
    void *state;
    void (*close)(osv_ops *o);

    /* ---- block ---- */

    /* x[r] = scale * w[ids[r] - first_id], zero where the id is not in this rank's slice. x [rows, D], w [V,
     * D] */
    void (*embed)(osv_ops *o, osv_real *x, const int *ids, const osv_weight *w, int first_id, double scale,
                  int rows);

    /* y[i] = x w[i]^T for i < n: y[i] [rows, w[i].rows], x [rows, cols]; all w share cols. */
    void (*matmul)(osv_ops *o, osv_real *const y[], const osv_real *x, const osv_weight *const w[], int n,
                   int rows);
    /* dx = sum over i of dy[i] w[i]. dx [rows, cols] */
    void (*matmul_dx)(osv_ops *o, osv_real *dx, const osv_real *const dy[], const osv_weight *const w[],
                      int n, int rows);
    /* y[r] += b, in place. y [rows, b.cols] (the bias of a matmul, part of its output) */
    void (*bias)(osv_ops *o, osv_real *y, const osv_weight *b, int rows);

    /* y = x / rms(x) * (offset + w), rms(x)^2 = mean(x^2) + eps (Zhang & Sennrich 2019). x, y [rows, w.cols];
     * y may be x. */
    void (*rmsnorm)(osv_ops *o, osv_real *y, const osv_real *x, const osv_weight *w, double offset,
                    double eps, int rows);
    /* x is the norm's input. dx may be dy. */
    void (*rmsnorm_dx)(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x, const osv_weight *w,
                       double offset, double eps, int rows);

    /* The same for rows of which a rank has some columns only, x, y [rows, w.cols], in stages between which
     * `sum` and `dot` [rows] are summed over ranks: sum of x^2; y from it (y may be x); ... */
    void (*rmsnorm_sum)(osv_ops *o, osv_real *sum, const osv_real *x, const osv_split_norm *n, int cols,
                        int rows);
    void (*rmsnorm_split)(osv_ops *o, osv_real *y, const osv_real *x, const osv_real *sum,
                          const osv_weight *w, const osv_split_norm *n, int rows);
    /* ... sum of x (offset + w) dy; dx from both (dx may be dy). Of columns that two ranks have, dy is a part
     * on each, and dx a part that is summed. */
    void (*rmsnorm_dot)(osv_ops *o, osv_real *dot, const osv_real *dy, const osv_real *x, const osv_weight *w,
                        const osv_split_norm *n, int rows);
    void (*rmsnorm_split_dx)(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x,
                             const osv_real *sum, const osv_real *dot, const osv_weight *w,
                             const osv_split_norm *n, int rows);

    /* out[i] = x[i] + y[r], i = index ? index[r] : r. The only `+=`. out may be x, and must be where index is
     * given (distinct rows). y [rows, D] */
    void (*residual_add)(osv_ops *o, osv_real *out, const osv_real *x, const osv_real *y, const int *index,
                         int D, int rows);

    /* y *= factor, in place. y [n] */
    void (*scale)(osv_ops *o, osv_real *y, double factor, size_t n);

    /* Rotates the first `rot` components of each head in place, half against half (Su et al. 2021, the hub's
     * layout): component i < rot/2 pairs with i + rot/2. table [positions, rot]: rot/2 cosines, then rot/2
     * sines. direction +1; -1 is the transpose, for gradients. x [rows, heads, E] */
    void (*rope)(osv_ops *o, osv_real *x, const int *pos, const osv_real *table, int heads, int E, int rot,
                 int direction, int rows);

    /* out = softmax(scale q k^T, capped, masked) v by the work list; lse[row, h] = ln of the sum of
     * exponentials, for attention_dx. q, out [rows, H, E]; k, v [slots, K, E]; lse [rows, H] */
    void (*attention)(osv_ops *o, osv_real *out, osv_real *lse, const osv_real *q, const osv_real *k,
                      const osv_real *v, const osv_worklist *work, const osv_attention *a);
    /* dq [rows, H, E]; dk, dv [live slots, K, E]; delta [rows, H] is scratch (sum of dout * out). A live slot
     * that no query sees gets zeros. */
    void (*attention_dx)(osv_ops *o, osv_real *dq, osv_real *dk, osv_real *dv, osv_real *delta,
                         const osv_real *dout, const osv_real *q, const osv_real *k, const osv_real *v,
                         const osv_real *out, const osv_real *lse, const osv_worklist *work,
                         const osv_attention *a);

    /* y = act(gate) * up. All [n]; y may be gate or up. */
    void (*glu)(osv_ops *o, osv_real *y, const osv_real *gate, const osv_real *up, osv_activation act,
                size_t n);
    /* dgate may be gate or dy, dup may be up or dy, not both dy. */
    void (*glu_dx)(osv_ops *o, osv_real *dgate, osv_real *dup, const osv_real *dy, const osv_real *gate,
                   const osv_real *up, osv_activation act, size_t n);

    /* ---- head ---- */

    /* z = cap tanh(z / cap), in place. z [n] */
    void (*softcap)(osv_ops *o, osv_real *z, double cap, size_t n);

    /* Three stages, so that a split vocabulary can reduce between them. z [R, V] is this rank's slice.
     * max[r] = max over columns of z[r]. */
    void (*score_max)(osv_ops *o, osv_real *max, const osv_real *z, int R, int V);
    /* sum[s] = { sum over columns j != target of exp(coldness (z_j - max)), coldness (z_target - max) or 0 if
     * not in this slice }. The other tokens' exponentials are summed without the target, never subtracted, so
     * 1 - P keeps its digits. sum [S, 2] */
    void (*score_sum)(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                      const osv_scores *scores, int V);
    /* loss[s] in nats, from the reduced sums. loss [S] */
    void (*score)(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_scores *scores);
    /* z becomes dz = sum over the row's scores of w[s] dloss[s]/dz, in place. w [S]. Rows without scores
     * become zero. */
    void (*score_dx)(osv_ops *o, osv_real *z, const osv_real *max, const osv_real *sum, const osv_real *w,
                     const osv_scores *scores, int V);

    /* The same three stages for distributions, with u_j = coldness (z_j - max).
     * sum[k] = { sum of exp(u_j), sum of p_j (u_j - ln p_j), or of exp(u_j) (u_j - ln p_j) where reverse },
     * of this slice. sum [K, 2], max [R] */
    void (*kl_sum)(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                   const osv_distributions *d, int V);
    /* loss [K] in nats, from the reduced sums */
    void (*kl)(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_distributions *d);
    /* dz[r] = sum over the distributions of row[r] of w[k] dloss[k]/dz. dz [d.rows, V] is not z; w [K] */
    void (*kl_dx)(osv_ops *o, osv_real *dz, const osv_real *z, const osv_real *max, const osv_real *sum,
                  const osv_real *w, const osv_distributions *d, int V);

    /* loss[m] = -|x[row[m]] - x0[m]|^power[m]. x [*, D], x0 [M, D], loss [M] */
    void (*distance)(osv_ops *o, osv_real *loss, const osv_real *x, const osv_real *x0,
                     const osv_distances *distances, int D);
    /* dx[m] = w[m] dloss[m]/dx[row[m]]; 0 where x is x0, at which the distance has no gradient. dx [M, D] is
     * not x; w [M] */
    void (*distance_dx)(osv_ops *o, osv_real *dx, const osv_real *x, const osv_real *x0, const osv_real *w,
                        const osv_distances *distances, int D);

    /* completion[c] = L[c]; w[s] = d objective / d loss[s] for s < S. loss [*] [S live ones first, then
     * constant ones]. A loss may belong to several completions. */
    void (*objective)(osv_ops *o, osv_real *w, osv_real *completion, const osv_real *loss,
                      const osv_objective *objective, int S);

    /* One step of the objective's multipliers: those whose completion has a bound, and whose lr is not 0. L
     * [C] as the op before has left it; params [C], of which lr, beta1, beta2, eps and correction1 count. */
    void (*multipliers)(osv_ops *o, const osv_real *L, const osv_objective *objective,
                        const osv_adam_params *params);

    /* id[r] = the token chosen from row r, logprob[r] = ln softmax(z[r])[id[r]] (all tokens, temperature 1).
     * With a temperature t: the largest z / t + Gumbel noise among the tokens that top_k, then top_p (of
     * softmax(z / t)) leave, which draws from their softmax (Gumbel 1954). All fillings choose the same ids.
     * A row without a softmax (NaN or +inf in it, or nothing above -inf) gives id -1 and logprob NaN. z [R,
     * V], how [R] */
    void (*sample)(osv_ops *o, int *id, osv_real *logprob, const osv_real *z, const osv_sampling *how, int R,
                   int V);

    /* The part of `sample` that a rank can do which has first_id .. first_id + V - 1 of a row: token [R, k]
     * is what may be chosen. Greedy: its first token; with a temperature alone: its largest x + noise; with
     * top_k or top_p: its first k tokens, in any order. The rest of a row's k are none. z [R, V], max [R] of
     * the whole rows, slice [R]; kernels/choice.h has the other part. */
    void (*candidates)(osv_ops *o, osv_slice *slice, osv_token *token, const osv_real *z, const osv_real *max,
                       const osv_sampling *how, int first_id, int k, int R, int V);

    /* ---- vector ---- */

    /* x[row + r] = the site's form of x0[r], x0[r] itself where sign is 0. x [T, D], x0 [site.rows, D] (may
     * be x + row), p the parameters [*, D]. coef is scratch, osv_form_coefs() for each of the site's rows; as
     * in the two ops below, `add` does without. This op and apply_dx read no number of a job: jobs, param,
     * grad and first may be empty. */
    void (*apply)(osv_ops *o, osv_real *x, const osv_real *x0, const osv_real *p, const osv_site *site,
                  osv_real *coef, int D);
    /* dp = the gradients of the parameters of the site's jobs, from dx [T, D], that of x: sums over a job's
     * rows, in order; all other rows of dp [*, D] stay. An offset has none: zeros. x0 as in apply. */
    void (*apply_dp)(osv_ops *o, osv_real *dp, const osv_real *dx, const osv_real *x0, const osv_real *p,
                     const osv_site *site, osv_real *coef, int D);
    /* dx [T, D], the gradient of what apply wrote, becomes that of x0. */
    void (*apply_dx)(osv_ops *o, osv_real *dx, const osv_real *x0, const osv_real *p, const osv_site *site,
                     osv_real *coef, int D);

    /* Adam (Kingma & Ba 2015, algorithm 1; Adamax: 7.1), then v loses its parts along the directions that it
     * is kept orthogonal to, and is scaled back to max_norm if it is longer. v, m, s, dv [J, D]; direction
     * [*, D]: those of a vector are orthonormal */
    void (*adam)(osv_ops *o, osv_real *v, osv_real *m, osv_real *s, const osv_real *dv,
                 const double *direction, const osv_adam_params *params, int D, int J);
    /* out[j] = |v[j]| */
    void (*norm)(osv_ops *o, osv_real *out, const osv_real *v, int D, int J);
    /* cost[j] = what penalty[j] says, and dp += its gradient: 0 where a length or a component is 0. All of a
     * call have at most `rows` rows; gram is scratch. p, dp [*, D]; penalty, cost [J] */
    void (*penalty)(osv_ops *o, osv_real *dp, osv_real *cost, const osv_real *p, const osv_penalty *penalty,
                    osv_real *gram, int rows, int D, int J);

    /* q[j] = p[j] + the k-th draw of noise[j]; p[j] itself where it has no such draw. dp: the gradient at p.
     * q, p, dp [J, D] */
    void (*noise)(osv_ops *o, osv_real *q, const osv_real *p, const osv_real *dp, const osv_noise *noise,
                  int k, int D, int J);
    /* mean[j] = (0 for the first draw, then mean[j]) + dq[j] / draws; as it is where there is no k-th draw.
     */
    void (*noise_mean)(osv_ops *o, osv_real *mean, const osv_real *dq, const osv_noise *noise, int k, int D,
                       int J);

    /* ---- memory ---- */

    /* At least `bytes`, aligned to 256; NULL after a failure. */
    void *(*alloc)(osv_ops *o, size_t bytes);
    void (*free)(osv_ops *o, void *p);
    /* Bytes that alloc could still give. */
    size_t (*available)(osv_ops *o);
    /* Ordered with the ops. Host memory of a copy is in use until sync: one TO_DEVICE is read, one TO_HOST
     * written until then. In a graph that holds for each of its runs. */
    void (*copy)(osv_ops *o, void *dst, const void *src, size_t bytes, osv_direction direction);
    void (*zero)(osv_ops *o, void *p, size_t bytes);
    /* f(context, ...) changes x [bytes] on the host: where it lies, or in copies of parts of it, one after
     * the other, each a multiple of 256 bytes but the last. Ordered with the ops; in a graph f runs with each
     * of its runs. f calls no op. */
    void (*on_host)(osv_ops *o, void *x, size_t bytes, osv_host_call *f, void *context);
    /* out[r] = in[index[r]] and out[index[r]] = in[r]. Rows of D. */
    void (*gather_rows)(osv_ops *o, osv_real *out, const osv_real *in, const int *index, int D, int rows);
    void (*scatter_rows)(osv_ops *o, osv_real *out, const osv_real *in, const int *index, int D, int rows);
    /* Makes a weight in host memory (a mapped file) usable by this filling, in the format that its dtype asks
     * for: the CPU leaves it where it is unless it has to be rounded to bf16. w is changed in place; memory
     * made here is released by close. */
    void (*place)(osv_ops *o, osv_weight *w);
    /* Waits until all that was submitted is done, except the last `behind` runs of a graph. */
    void (*sync)(osv_ops *o, int behind);

    /* Between begin and end the ops are recorded instead of run, and run again and again by graph_run. A
     * filling without graphs returns false from begin ("not recorded": what follows runs at once), NULL from
     * end and false from run: then the caller calls the ops again. */
    bool (*graph_begin)(osv_ops *o);
    osv_graph *(*graph_end)(osv_ops *o);
    bool (*graph_run)(osv_ops *o, osv_graph *graph);
    void (*graph_free)(osv_ops *o, osv_graph *graph);

    /* ---- profilers and clocks: they change no result ---- */

    /* A profiler that is attached shows what is submitted from here on under this name, until the call with
     * NULL that belongs to it; ranges lie in one another. number -1: none. */
    void (*range)(osv_ops *o, const char *name, int number);
    /* An attached profiler begins, or ends, to collect. */
    void (*profiler)(osv_ops *o, bool on);
    /* Stamp k (< OSV_STAMPS) is taken when all that was submitted before is done; not in a graph. */
    void (*stamp)(osv_ops *o, int k);
    /* Seconds from stamp a to stamp b, by the device's clock. Waits. */
    double (*between)(osv_ops *o, int a, int b);
};

/* Opens a filling. On failure *o is NULL and `error` says why. threads <= 0: all processors.
 * cuda is there in builds with nvcc only; its scratch and the workspace of its products are FIXED bytes of
 * the device. */
int osv_ref_open(osv_ops **o, osv_dtype dtype, osv_error *error);
int osv_cpu_open(osv_ops **o, osv_dtype dtype, int threads, osv_error *error);
int osv_cuda_open(osv_ops **o, osv_dtype dtype, int device, osv_error *error);
enum { OSV_CUDA_SCRATCH = 64 << 20, OSV_CUDA_WORKSPACE = 32 << 20, OSV_CUDA_FIXED = 96 << 20 };
/* Devices that can be opened here; 0 without a driver. */
int osv_cuda_devices(void);

static inline int osv_ops_status(const osv_ops *o)
{
    return o->error->status;
}

#ifdef __cplusplus
}
#endif

#endif
