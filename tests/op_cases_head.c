#include <math.h>
#include <stdlib.h>

#include "tests/op_cases.h"

/* ---- softcap ---- */

static void softcap_make(op_call *c)
{
    const score_shape *s = c->shape;
    op_random(c, "z", OP_UPDATED, (size_t)s->R * (size_t)s->V, 2 * s->softcap);
}

static void softcap_run(op_call *c)
{
    const score_shape *s = c->shape;
    c->o->softcap(c->o, op_at(c, 0), s->softcap, op_count(c, 0));
}

const op_kind op_softcap = {"softcap", softcap_make, softcap_run};

/* ---- score ---- */

enum { MAX_SCORES = 80 };

/* One problem on the host: logits, scores, and what ref's stages make of them. `z` are this slice's columns
 * of the rows of all ids, whose maximum and sums are those that ranks would have reduced. */
typedef struct {
    osv_real *whole, *z, *max, *sum, *coldness, *eps;
    int *first, *target, *kind;
    int S;
} problem;

static int ids_of(const score_shape *s)
{
    return s->first_id ? s->first_id + 2 * s->V : s->V;
}

static int draw(op_call *c, int n)
{
    return (int)((op_uniform(&c->random) + 1) / 2 * n) % n;
}

/* The scores of one row, sorted by target. */
static void draw_scores(op_call *c, problem *p, int row)
{
    const score_shape *s = c->shape;
    int count = s->per_row == 1 ? 1 : row % (s->per_row + 1);
    for (int i = 0; i < count; i++) {
        int target = i == 1 ? p->target[p->S] : draw(c, ids_of(s)), at = p->S + i;
        for (; at > p->S && p->target[at - 1] > target; at--) p->target[at] = p->target[at - 1];
        p->target[at] = target;
    }
    for (int i = 0; i < count; i++) p->kind[p->S + i] = (s->kind + row + i) % 3;
    p->S += count;
    p->first[row + 1] = p->S;
}

static void draw_row(op_call *c, problem *p, int row)
{
    const score_shape *s = c->shape;
    static const double coldness[] = {1, 0.7, 2.5}, eps[] = {1e-6, 0};
    int ids = ids_of(s);
    osv_real *z = p->whole + (size_t)row * ids;
    double max = -INFINITY;
    p->coldness[row] = (osv_real)coldness[row % 3];
    p->eps[row] = (osv_real)(s->eps < 0 ? eps[row / 3 % 2] : s->eps);
    draw_scores(c, p, row);
    int target = p->S ? p->target[p->S - 1] : -1;
    for (int j = 0; j < ids; j++) {
        double x = op_uniform(&c->random);
        z[j] = (osv_real)(s->softcap > 0 ? s->softcap * tanh(1.5 * x) : 5 * x);
        if (j != target && z[j] > max) max = z[j];
    }
    if (s->gap != 0 && target >= 0) z[target] = (osv_real)(max + s->gap);
    for (int j = 0; j < s->V; j++) p->z[(size_t)row * s->V + j] = z[s->first_id + j];
}

static void free_problem(problem *p)
{
    free(p->whole), free(p->z), free(p->max), free(p->sum), free(p->coldness), free(p->eps);
    free(p->first), free(p->target), free(p->kind);
}

static int make_problem(op_call *c, problem *p)
{
    const score_shape *s = c->shape;
    size_t R = (size_t)s->R, room = MAX_SCORES * (R + 1);
    *p = (problem){.whole = calloc(R * (size_t)ids_of(s) + 1, sizeof *p->whole),
                   .z = calloc(R * (size_t)s->V + 1, sizeof *p->z),
                   .max = calloc(R + 1, sizeof *p->max),
                   .sum = calloc(2 * room, sizeof *p->sum),
                   .coldness = calloc(R + 1, sizeof *p->coldness),
                   .eps = calloc(R + 1, sizeof *p->eps),
                   .first = calloc(R + 1, sizeof *p->first),
                   .target = calloc(room, sizeof *p->target),
                   .kind = calloc(room, sizeof *p->kind)};
    if (!p->whole || !p->z || !p->max || !p->sum || !p->coldness || !p->eps || !p->first || !p->target ||
        !p->kind)
        return OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    for (int r = 0; r < s->R; r++) draw_row(c, p, r);
    osv_ops *ref;
    OSV_TRY(osv_ref_open(&ref, OSV_DTYPE_F32, c->o->error));
    osv_scores scores = {.R = s->R,
                         .S = p->S,
                         .first = p->first,
                         .target = p->target,
                         .kind = p->kind,
                         .coldness = p->coldness,
                         .eps = p->eps};
    ref->score_max(ref, p->max, p->whole, s->R, ids_of(s));
    ref->score_sum(ref, p->sum, p->whole, p->max, &scores, ids_of(s));
    ref->close(ref);
    return OSV_OK;
}

/* All four operators have the same buffers; `stage` is the one that it writes. */
static void score_make_stage(op_call *c, int stage)
{
    const score_shape *s = c->shape;
    problem p = {0};
    if (!make_problem(c, &p)) {
        size_t R = (size_t)s->R, S = (size_t)p.S;
        op_given(c, "z", stage == SCORE_Z ? OP_UPDATED : OP_INPUT, p.z, R * (size_t)s->V);
        op_bytes(c, "first", p.first, (R + 1) * sizeof *p.first);
        op_bytes(c, "target", p.target, S * sizeof *p.target);
        op_bytes(c, "kind", p.kind, S * sizeof *p.kind);
        op_given(c, "coldness", OP_INPUT, p.coldness, R);
        op_given(c, "eps", OP_INPUT, p.eps, R);
        if (stage == SCORE_MAX)
            op_poisoned(c, "max", OP_OUTPUT, R);
        else
            op_given(c, "max", OP_INPUT, p.max, R);
        if (stage == SCORE_SUM)
            op_poisoned(c, "sum", OP_OUTPUT, 2 * S);
        else
            op_given(c, "sum", OP_INPUT, p.sum, 2 * S);
        if (stage == SCORE_LAST)
            op_poisoned(c, "loss", OP_OUTPUT, S);
        else
            op_random(c, "w", OP_INPUT, S, 1);
    }
    free_problem(&p);
}

osv_scores op_scores(const op_call *c)
{
    const score_shape *s = c->shape;
    return (osv_scores){.R = s->R,
                        .S = (int)op_count(c, SCORE_LAST),
                        .first = op_int_at(c, SCORE_FIRST),
                        .target = op_int_at(c, SCORE_TARGET),
                        .kind = op_int_at(c, SCORE_KIND),
                        .coldness = op_at(c, SCORE_COLDNESS),
                        .eps = op_at(c, SCORE_EPS),
                        .first_id = s->first_id,
                        .softcap = s->softcap};
}

static void score_max_make(op_call *c)
{
    score_make_stage(c, SCORE_MAX);
}

static void score_max_run(op_call *c)
{
    const score_shape *s = c->shape;
    c->o->score_max(c->o, op_at(c, SCORE_MAX), op_at(c, SCORE_Z), s->R, s->V);
}

static void score_sum_make(op_call *c)
{
    score_make_stage(c, SCORE_SUM);
}

static void score_sum_run(op_call *c)
{
    const score_shape *s = c->shape;
    osv_scores scores = op_scores(c);
    c->o->score_sum(c->o, op_at(c, SCORE_SUM), op_at(c, SCORE_Z), op_at(c, SCORE_MAX), &scores, s->V);
}

static void score_make(op_call *c)
{
    score_make_stage(c, SCORE_LAST);
}

static void score_run(op_call *c)
{
    osv_scores scores = op_scores(c);
    c->o->score(c->o, op_at(c, SCORE_LAST), op_at(c, SCORE_SUM), &scores);
}

static void score_dx_make(op_call *c)
{
    score_make_stage(c, SCORE_Z);
}

static void score_dx_run(op_call *c)
{
    const score_shape *s = c->shape;
    osv_scores scores = op_scores(c);
    c->o->score_dx(c->o, op_at(c, SCORE_Z), op_at(c, SCORE_MAX), op_at(c, SCORE_SUM), op_at(c, SCORE_LAST),
                   &scores, s->V);
}

const op_kind op_score_max = {"score_max", score_max_make, score_max_run};
const op_kind op_score_sum = {"score_sum", score_sum_make, score_sum_run};
const op_kind op_score = {"score", score_make, score_run};
const op_kind op_score_dx = {"score_dx", score_dx_make, score_dx_run};

/* ---- objective ---- */

enum { MAX_COMPLETIONS = 300, COMPLETION_SCORES = 4 };

/* Buffers of both. In multipliers OBJECTIVE_OUT is nothing. */
enum { OBJECTIVE_OUT, OBJECTIVE_L, OBJECTIVE_LOSS, OBJECTIVE_FIRST, OBJECTIVE_SCORE, OBJECTIVE_SCALE };
enum { OBJECTIVE_TARGET = OBJECTIVE_SCALE + 1, OBJECTIVE_WEIGHT, OBJECTIVE_PARTNER, OBJECTIVE_BETA };
enum { OBJECTIVE_REFERENCE = OBJECTIVE_BETA + 1, OBJECTIVE_BOUND, OBJECTIVE_MULTIPLIER, OBJECTIVE_PARAMS };

/* Numbers of a multiplier; lambda is not negative. */
enum { MULTIPLIER = sizeof(osv_multiplier) / sizeof(osv_real) };

static void draw_multiplier(op_call *c, osv_multiplier *x, bool begun)
{
    const double u[MULTIPLIER] = {fabs(op_uniform(&c->random)), op_uniform(&c->random),
                                  op_uniform(&c->random),       fabs(op_uniform(&c->random)),
                                  op_uniform(&c->random),       fabs(op_uniform(&c->random))};
    *x = (osv_multiplier){.lambda = (osv_real)u[0],
                          .slack = (osv_real)u[1],
                          .lambda_m = (osv_real)u[2],
                          .lambda_u = (osv_real)u[3],
                          .slack_m = (osv_real)u[4],
                          .slack_u = (osv_real)u[5]};
    if (!begun) *x = (osv_multiplier){.slack = (osv_real)NAN};
}

/* Of the first two the lr is 0, so theirs stay. */
static void objective_buffers(op_call *c, bool steps)
{
    const objective_shape *s = c->shape;
    int first[MAX_COMPLETIONS + 1] = {0}, score[MAX_COMPLETIONS * COMPLETION_SCORES], n = 0;
    osv_real scale[MAX_COMPLETIONS], target[MAX_COMPLETIONS], weight[MAX_COMPLETIONS];
    osv_real beta[MAX_COMPLETIONS], reference[MAX_COMPLETIONS], bound[MAX_COMPLETIONS];
    int partner[MAX_COMPLETIONS];
    osv_multiplier multiplier[MAX_COMPLETIONS];
    osv_adam_params params[MAX_COMPLETIONS];
    size_t C = (size_t)s->C;
    for (int i = 0; i < s->C; i++) {
        int count = 1 + i % COMPLETION_SCORES, losses = s->S + s->constant;
        if (count > losses) count = losses;
        for (int k = 0; k < count; k++) score[n++] = (2 * i + k) % losses; /* neighbours share losses */
        first[i + 1] = n;
        scale[i] = (osv_real)(s->length_norm ? 1.0 / count : 1);
        target[i] = (osv_real)(s->satisfice && i % 2 == 0 ? 0.5 * i : NAN);
        weight[i] = (osv_real)(s->weights ? 0.25 * (i % 5) : 1);
        partner[i] = s->preference && i / 2 * 2 + 1 < s->C ? i ^ 1 : -1;
        beta[i] = (osv_real)(i % 2 ? -0.3 : 0.3);
        reference[i] = (osv_real)(0.1 * i);
        bound[i] = (osv_real)(s->bounds && i % 3 ? 0.5 * (i % 4) : NAN);
        params[i] = (osv_adam_params){.lr = (osv_real)(i > 1 ? 0.1 : 0),
                                      .beta1 = (osv_real)0.9,
                                      .beta2 = (osv_real)0.999,
                                      .eps = (osv_real)1e-8,
                                      .correction1 = (osv_real)(i % 2 ? 0.1 : 0.5)};
        draw_multiplier(c, &multiplier[i], isnan(bound[i]) || i < 2 || i % 2);
    }
    if (steps)
        op_random(c, "nothing", OP_INPUT, 0, 1);
    else
        op_poisoned(c, "w", OP_OUTPUT, (size_t)s->S);
    if (steps)
        op_random(c, "L", OP_INPUT, C, 3);
    else
        op_poisoned(c, "L", OP_OUTPUT, C);
    op_random(c, "loss", OP_INPUT, (size_t)(s->S + s->constant), 3);
    op_bytes(c, "first", first, (C + 1) * sizeof *first);
    op_bytes(c, "score", score, (size_t)n * sizeof *score);
    op_given(c, "scale", OP_INPUT, scale, C);
    op_given(c, "target", OP_INPUT, target, C);
    op_given(c, "weight", OP_INPUT, weight, C);
    op_bytes(c, "partner", partner, C * sizeof *partner);
    op_given(c, "beta", OP_INPUT, beta, C);
    op_given(c, "reference", OP_INPUT, reference, C);
    op_given(c, "bound", OP_INPUT, bound, C);
    op_given(c, "multiplier", steps ? OP_UPDATED : OP_INPUT, &multiplier[0].lambda, C * MULTIPLIER);
    op_bytes(c, "params", params, C * sizeof *params);
}

static osv_objective objective_of(const op_call *c)
{
    const objective_shape *s = c->shape;
    return (osv_objective){.C = s->C,
                           .first = op_int_at(c, OBJECTIVE_FIRST),
                           .score = op_int_at(c, OBJECTIVE_SCORE),
                           .scale = op_at(c, OBJECTIVE_SCALE),
                           .target = op_at(c, OBJECTIVE_TARGET),
                           .weight = op_at(c, OBJECTIVE_WEIGHT),
                           .partner = op_int_at(c, OBJECTIVE_PARTNER),
                           .beta = op_at(c, OBJECTIVE_BETA),
                           .reference = op_at(c, OBJECTIVE_REFERENCE),
                           .bound = op_at(c, OBJECTIVE_BOUND),
                           .multiplier = (osv_multiplier *)op_at(c, OBJECTIVE_MULTIPLIER)};
}

static void objective_make(op_call *c)
{
    objective_buffers(c, false);
}

static void objective_run(op_call *c)
{
    const objective_shape *s = c->shape;
    osv_objective objective = objective_of(c);
    c->o->objective(c->o, op_at(c, OBJECTIVE_OUT), op_at(c, OBJECTIVE_L), op_at(c, OBJECTIVE_LOSS),
                    &objective, s->S);
}

static void multipliers_make(op_call *c)
{
    objective_buffers(c, true);
}

static void multipliers_run(op_call *c)
{
    osv_objective objective = objective_of(c);
    c->o->multipliers(c->o, op_at(c, OBJECTIVE_L), &objective, (const void *)op_at(c, OBJECTIVE_PARAMS));
}

const op_kind op_objective = {"objective", objective_make, objective_run};
const op_kind op_multipliers = {"multipliers", multipliers_make, multipliers_run};

/* ---- sample ---- */

enum { MAX_SAMPLED = 256 };

static osv_sampling draw_sampling(op_call *c, int row)
{
    const sample_shape *s = c->shape;
    double temperature = s->temperature, top_p = s->top_p;
    int top_k = s->top_k;
    if (s->mixed) {
        temperature *= row % 5 / 4.0; /* 0: greedy */
        top_k = row % 3 ? 1 + draw(c, top_k) : 0;
        top_p = row % 4 ? top_p * (op_uniform(&c->random) + 1) / 2 : 1;
    }
    return (osv_sampling){.temperature = (osv_real)temperature,
                          .top_p = (osv_real)top_p,
                          .top_k = top_k,
                          .seed = {7, (unsigned)s->V},
                          .stream = (unsigned)(row % 9),
                          .place = (unsigned)row};
}

static void sample_make(op_call *c)
{
    const sample_shape *s = c->shape;
    osv_sampling how[MAX_SAMPLED];
    size_t R = (size_t)s->R, n = R * (size_t)s->V;
    op_poisoned_ints(c, "id", OP_OUTPUT, R);
    op_poisoned(c, "logprob", OP_OUTPUT, R);
    osv_real *z = malloc((n + 1) * sizeof *z);
    for (size_t i = 0; z && i < n; i++) {
        double x = s->spread * op_uniform(&c->random);
        z[i] = (osv_real)(!s->ties ? x : i % 7 == 3 ? -INFINITY : round(x)); /* -0 as well as 0 */
    }
    if (z)
        op_given(c, "z", OP_INPUT, z, n);
    else
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    free(z);
    for (int r = 0; r < s->R; r++) how[r] = draw_sampling(c, r);
    op_bytes(c, "how", how, R * sizeof *how);
}

static void sample_run(op_call *c)
{
    const sample_shape *s = c->shape;
    c->o->sample(c->o, op_int_at(c, 0), op_at(c, 1), op_at(c, 2), (const void *)op_at(c, 3), s->R, s->V);
}

const op_kind op_sample = {"sample", sample_make, sample_run};

/* ---- shapes ---- */

#define SOFTCAP(...) OP_CASE(op_softcap, score_shape, __VA_ARGS__)
#define SCORE(...)                                                                                    \
    OP_CASE(op_score_max, score_shape, __VA_ARGS__), OP_CASE(op_score_sum, score_shape, __VA_ARGS__), \
        OP_CASE(op_score, score_shape, __VA_ARGS__), OP_CASE(op_score_dx, score_shape, __VA_ARGS__)
#define SAMPLE(...)    OP_CASE(op_sample, sample_shape, __VA_ARGS__)
#define OBJECTIVE(...) OP_CASE(op_objective, objective_shape, __VA_ARGS__)
#define BOUNDS(...)                                                      \
    OP_CASE(op_objective, objective_shape, .bounds = true, __VA_ARGS__), \
        OP_CASE(op_multipliers, objective_shape, .bounds = true, __VA_ARGS__)

const op_case op_head_cases[] = {
    SOFTCAP(.R = 7, .V = 317, .softcap = 30),
    SOFTCAP(.R = 1, .V = 1, .softcap = 5),
    SOFTCAP(.R = 3, .V = 32003, .softcap = 50),
    SOFTCAP(.R = 0, .V = 317, .softcap = 30),

    SCORE(.R = 1, .V = 317, .per_row = 1, .kind = OSV_PROMOTE, .eps = 1e-6),
    SCORE(.R = 7, .V = 317, .per_row = 1, .kind = OSV_PROMOTE, .eps = -1),
    SCORE(.R = 65, .V = 317, .per_row = 4, .kind = OSV_PROMOTE, .eps = -1),
    SCORE(.R = 13, .V = 50, .per_row = 5, .kind = OSV_ONE_MINUS, .eps = -1, .softcap = 30),
    SCORE(.R = 12, .V = 100, .first_id = 100, .per_row = 4, .kind = OSV_NEGATED, .eps = -1),
    SCORE(.R = 2, .V = 2, .per_row = 1, .kind = OSV_PROMOTE, .eps = 0),
    SCORE(.R = 3, .V = 5000, .per_row = 3, .kind = OSV_ONE_MINUS, .eps = 1e-6, .softcap = 30),
    SCORE(.R = 2, .V = 1, .per_row = 1, .kind = OSV_NEGATED, .eps = 1e-6),
    SCORE(.R = 5, .V = 31, .per_row = 4, .kind = OSV_ONE_MINUS, .eps = -1),
    SCORE(.R = 72, .V = 124, .per_row = 71, .kind = OSV_PROMOTE, .eps = -1),
    SCORE(.R = 4, .V = 32003, .per_row = 3, .kind = OSV_NEGATED, .eps = -1),
    SCORE(.R = 2, .V = 128256, .per_row = 1, .kind = OSV_PROMOTE, .eps = 1e-6, .softcap = 30),
    /* alone in its call, so that its relative error counts: 1 - P of 1e-12, P of 1e-87 (no float) */
    SCORE(.R = 1, .V = 317, .gap = 27, .per_row = 1, .kind = OSV_PROMOTE, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = 27, .per_row = 1, .kind = OSV_PROMOTE, .eps = 1e-6),
    SCORE(.R = 1, .V = 317, .gap = 27, .per_row = 1, .kind = OSV_ONE_MINUS, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = 27, .per_row = 1, .kind = OSV_ONE_MINUS, .eps = 1e-6),
    SCORE(.R = 1, .V = 317, .gap = 27, .per_row = 1, .kind = OSV_NEGATED, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = -200, .per_row = 1, .kind = OSV_PROMOTE, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = -200, .per_row = 1, .kind = OSV_PROMOTE, .eps = 1e-6),
    SCORE(.R = 1, .V = 317, .gap = -200, .per_row = 1, .kind = OSV_ONE_MINUS, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = -200, .per_row = 1, .kind = OSV_NEGATED, .eps = 0),
    SCORE(.R = 1, .V = 317, .gap = -12, .per_row = 1, .kind = OSV_ONE_MINUS, .eps = 0),
    SCORE(.R = 0, .V = 317, .per_row = 1, .eps = 0),

    OBJECTIVE(.C = 9, .S = 12, .constant = 2, .weights = true),
    OBJECTIVE(.C = 20, .S = 31, .weights = true, .preference = true, .length_norm = true),
    OBJECTIVE(.C = 7, .S = 9, .constant = 1, .preference = true, .satisfice = true),
    OBJECTIVE(.C = 1, .S = 1),
    OBJECTIVE(.C = 9, .S = 7, .length_norm = true),
    OBJECTIVE(.C = 9, .S = 7, .constant = 5, .satisfice = true),
    OBJECTIVE(.C = 32, .S = 65, .constant = 1, .satisfice = true, .length_norm = true),
    OBJECTIVE(.C = 300, .S = 700, .constant = 9, .satisfice = true, .length_norm = true),
    OBJECTIVE(.C = 2, .S = 0, .constant = 3),
    BOUNDS(.C = 2, .S = 3),
    BOUNDS(.C = 20, .S = 31, .weights = true, .satisfice = true, .length_norm = true),
    BOUNDS(.C = 300, .S = 700),
    BOUNDS(.C = 0, .S = 0),
    OBJECTIVE(.C = 0, .S = 0),

    SAMPLE(.R = 1, .V = 1, .temperature = 1, .top_p = 0.5, .top_k = 3, .spread = 1),
    SAMPLE(.R = 7, .V = 317, .temperature = 0, .top_p = 0.5, .top_k = 3, .spread = 10),
    SAMPLE(.R = 3, .V = 31, .temperature = 0, .top_p = 1, .spread = 30, .ties = true),
    SAMPLE(.R = 3, .V = 128256, .temperature = 0, .top_p = 1, .spread = 10),
    SAMPLE(.R = 65, .V = 317, .temperature = 1, .top_p = 1, .spread = 5),
    SAMPLE(.R = 256, .V = 317, .temperature = 2, .top_p = 1, .top_k = 400, .spread = 8, .mixed = true),
    SAMPLE(.R = 256, .V = 317, .temperature = 3, .top_p = 1, .top_k = 317, .spread = 3, .ties = true,
           .mixed = true),
    SAMPLE(.R = 65, .V = 100, .temperature = 0.7, .top_p = 0.9, .top_k = 40, .spread = 0, .ties = true),
    SAMPLE(.R = 9, .V = 100, .temperature = 1e-30, .top_p = 0.9, .spread = 1e30),
    SAMPLE(.R = 9, .V = 100, .temperature = 1e30, .top_p = 0.5, .top_k = 60, .spread = 1e30),
    SAMPLE(.R = 9, .V = 5000, .temperature = 1, .top_p = -1, .spread = 10, .ties = true),
    SAMPLE(.R = 5, .V = 70001, .temperature = 1.3, .top_p = 0.95, .spread = 12),
    SAMPLE(.R = 20, .V = 20000, .temperature = 1.5, .top_p = 1, .top_k = 20000, .spread = 12, .mixed = true),
    SAMPLE(.R = 1, .V = 262144, .temperature = 1, .top_p = 0.999, .top_k = 200000, .spread = 6, .ties = true),
    SAMPLE(.R = 0, .V = 317, .temperature = 1, .top_p = 1),
    {0},
};
