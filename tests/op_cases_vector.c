#include <math.h>
#include <stdlib.h>

#include "kernels/form.h"
#include "kernels/penalty.h"
#include "tests/op_cases.h"

const op_case *const op_case_lists[] = {op_block_cases,    op_attention_cases, op_head_cases, op_kl_cases,
                                        op_distance_cases, op_vector_cases,    NULL};

static size_t area(int rows, int cols)
{
    return (size_t)rows * (size_t)cols;
}

/* ---- apply ---- */

enum { APPLY_COEF = 3, SITE_PARAM, SITE_GRAD, SITE_FIRST, SITE_ROW_PARAM, SITE_SIGN };

static int site_rows(const site_shape *s)
{
    return s->jobs ? s->jobs * s->per_job + 1 : 0;
}

/* Jobs in falling order; the first has one row more. */
static int site_job(const site_shape *s, int i)
{
    return s->J - 1 - i;
}

static int site_param(const op_call *c, int i)
{
    const site_shape *s = c->shape;
    return site_job(s, i) * osv_form_params(s->form);
}

/* In another order than the parameters. */
static int site_grad(const op_call *c, int i)
{
    const site_shape *s = c->shape;
    return i * osv_form_params(s->form);
}

static int site_first(const op_call *c, int i)
{
    const site_shape *s = c->shape;
    return i * s->per_job + (i > 0);
}

static int site_row_param(const op_call *c, int row)
{
    const site_shape *s = c->shape;
    return site_param(c, row == 0 ? 0 : (row - 1) / s->per_job);
}

/* +1, 0, -1 in turn. */
static int site_sign(const op_call *c, int row)
{
    (void)c;
    return 1 - row % 3;
}

/* Buffers APPLY_COEF and on. */
static void make_site(op_call *c)
{
    const site_shape *s = c->shape;
    op_poisoned(c, "coef", OP_SCRATCH, area(site_rows(s), osv_form_coefs(s->form)));
    op_ints(c, "param", s->jobs, site_param);
    op_ints(c, "grad", s->jobs, site_grad);
    op_ints(c, "first", s->jobs + 1, site_first);
    op_ints(c, "row_param", site_rows(s), site_row_param);
    op_ints(c, "sign", site_rows(s), site_sign);
}

osv_site op_site(const op_call *c)
{
    const site_shape *s = c->shape;
    return (osv_site){.row = s->row,
                      .rows = site_rows(s),
                      .form = s->form,
                      .jobs = s->jobs,
                      .param = op_int_at(c, SITE_PARAM),
                      .grad = op_int_at(c, SITE_GRAD),
                      .first = op_int_at(c, SITE_FIRST),
                      .row_param = op_int_at(c, SITE_ROW_PARAM),
                      .sign = op_int_at(c, SITE_SIGN)};
}

static size_t param_numbers(const site_shape *s)
{
    return area(s->J * osv_form_params(s->form), s->D);
}

static void apply_make(op_call *c)
{
    const site_shape *s = c->shape;
    op_random(c, "x", OP_UPDATED, area(s->T, s->D), 1);
    op_random(c, "x0", OP_INPUT, area(site_rows(s), s->D), 1);
    op_random(c, "p", OP_INPUT, param_numbers(s), 1);
    make_site(c);
}

static void apply_run(op_call *c)
{
    const site_shape *s = c->shape;
    osv_site site = op_site(c);
    const osv_real *x0 = s->in_place ? op_at(c, 0) + area(s->row, s->D) : op_at(c, 1);
    c->o->apply(c->o, op_at(c, 0), x0, op_at(c, 2), &site, op_at(c, APPLY_COEF), s->D);
}

static void apply_dx_run(op_call *c)
{
    const site_shape *s = c->shape;
    osv_site site = op_site(c);
    c->o->apply_dx(c->o, op_at(c, 0), op_at(c, 1), op_at(c, 2), &site, op_at(c, APPLY_COEF), s->D);
}

static void apply_dp_make(op_call *c)
{
    const site_shape *s = c->shape;
    op_random(c, "dp", OP_UPDATED, param_numbers(s), 1); /* other jobs' rows stay */
    op_random(c, "x0", OP_INPUT, area(site_rows(s), s->D), 1);
    op_random(c, "p", OP_INPUT, param_numbers(s), 1);
    make_site(c);
    op_random(c, "dx", OP_INPUT, area(s->T, s->D), 1); /* APPLY_DX */
}

static void apply_dp_run(op_call *c)
{
    const site_shape *s = c->shape;
    osv_site site = op_site(c);
    c->o->apply_dp(c->o, op_at(c, 0), op_at(c, APPLY_DX), op_at(c, 1), op_at(c, 2), &site,
                   op_at(c, APPLY_COEF), s->D);
}

const op_kind op_apply = {"apply", apply_make, apply_run};
const op_kind op_apply_dp = {"apply_dp", apply_dp_make, apply_dp_run};
const op_kind op_apply_dx = {"apply_dx", apply_make, apply_dx_run}; /* x is dx */

/* ---- adam, norm ---- */

enum { MAX_JOBS = 64 };
enum { ADAM_V, ADAM_M, ADAM_S, ADAM_DV, ADAM_PARAMS, ADAM_DIRECTION };

/* `rows` orthonormal rows (Gram & Schmidt, twice). */
static void make_directions(op_call *c, int rows, int D)
{
    double *direction = malloc((area(rows, D) + 1) * sizeof *direction);
    if (!direction) {
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
        return;
    }
    for (int k = 0; k < rows; k++) {
        double *row = direction + area(k, D), square = 0;
        for (int d = 0; d < D; d++) row[d] = op_uniform(&c->random);
        for (int i = 0; i < 2 * k; i++) {
            const double *other = direction + area(i % k, D);
            double part = 0;
            for (int d = 0; d < D; d++) part += row[d] * other[d];
            for (int d = 0; d < D; d++) row[d] -= part * other[d];
        }
        for (int d = 0; d < D; d++) square += row[d] * row[d];
        for (int d = 0; d < D; d++) row[d] /= sqrt(square);
    }
    op_bytes(c, "direction", direction, area(rows, D) * sizeof *direction);
    free(direction);
}

static void adam_make(op_call *c)
{
    const adam_shape *s = c->shape;
    osv_adam_params params[MAX_JOBS] = {0};
    for (int j = 0; j < s->J; j++) {
        osv_adam_params *p = &params[j];
        *p = (osv_adam_params){.lr = (osv_real)(j == 1 ? 0 : 0.01 * (j + 1)), /* job 1 rests */
                               .beta1 = (osv_real)(j == 2 ? 0 : 0.9),
                               .beta2 = (osv_real)0.999,
                               .eps = (osv_real)1e-8,
                               .max_norm = (osv_real)(j == 3 ? -1 : s->max_norm),
                               .adamax = j % 3 == 2};
        p->directions = s->directions + 1 + j - s->J > 0 ? s->directions + 1 + j - s->J : 0;
        p->direction = s->directions - p->directions;
        p->correction1 = (osv_real)(1 - pow(p->beta1, s->step + 1));
        p->correction2 = (osv_real)(1 - pow(p->beta2, s->step + 1));
    }
    op_random(c, "v", OP_UPDATED, area(s->J, s->D), 1);
    op_random(c, "m", OP_UPDATED, area(s->J, s->D), s->step ? 1 : 0);
    size_t n = area(s->J, s->D);
    osv_real *second = calloc(n + 1, sizeof *second); /* a mean of squares */
    for (size_t i = 0; second && s->step && i < n; i++) second[i] = (osv_real)fabs(op_uniform(&c->random));
    if (second)
        op_given(c, "s", OP_UPDATED, second, n);
    else
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    free(second);
    op_random(c, "dv", OP_INPUT, n, 1);
    op_bytes(c, "params", params, (size_t)s->J * sizeof *params);
    make_directions(c, s->directions, s->D);
}

static void adam_run(op_call *c)
{
    const adam_shape *s = c->shape;
    c->o->adam(c->o, op_at(c, ADAM_V), op_at(c, ADAM_M), op_at(c, ADAM_S), op_at(c, ADAM_DV),
               (const void *)op_at(c, ADAM_DIRECTION), (const void *)op_at(c, ADAM_PARAMS), s->D, s->J);
}

static void norm_make(op_call *c)
{
    const adam_shape *s = c->shape;
    op_poisoned(c, "out", OP_OUTPUT, (size_t)s->J);
    op_random(c, "v", OP_INPUT, area(s->J, s->D), 1);
}

static void norm_run(op_call *c)
{
    const adam_shape *s = c->shape;
    c->o->norm(c->o, op_at(c, 0), op_at(c, 1), s->D, s->J);
}

const op_kind op_adam = {"adam", adam_make, adam_run};
const op_kind op_norm = {"norm", norm_make, norm_run};

/* ---- penalty ---- */

enum { PENALTY_LIST = PENALTY_GRAM + 1 };

/* A row that is nobody's lies behind each block. Returns the numbers of scratch. */
static int draw_penalties(const penalty_shape *s, osv_penalty *list, int *rows)
{
    int gram = 0;
    *rows = 1;
    for (int j = 0; j < s->J; j++) {
        int rank = j % 2 ? 0 : s->rank, blocks = 1 + j % s->blocks;
        list[j] = (osv_penalty){.row = *rows,
                                .blocks = blocks,
                                .step = 2 * rank + 2,
                                .rank = rank,
                                .gram = gram,
                                .l1 = (osv_real)(s->l1 * (1 + j)),
                                .group = (osv_real)s->group,
                                .norm = (osv_real)s->norm};
        *rows += blocks * (2 * rank + 2);
        gram += osv_penalty_grams(blocks, rank);
    }
    return gram;
}

/* No component is near 0, where the gradient jumps. */
static void penalty_make(op_call *c)
{
    const penalty_shape *s = c->shape;
    osv_penalty list[MAX_JOBS] = {0};
    int rows, gram = draw_penalties(s, list, &rows);
    size_t n = area(rows, s->D);
    osv_real *p = calloc(n + 1, sizeof *p);
    for (size_t i = 0; p && !s->zero && i < n; i++) {
        double x = op_uniform(&c->random);
        p[i] = (osv_real)(x + copysign(0.1, x));
    }
    op_random(c, "dp", OP_UPDATED, n, 1);
    op_poisoned(c, "cost", OP_OUTPUT, (size_t)s->J);
    if (p)
        op_given(c, "p", OP_INPUT, p, n);
    else
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    free(p);
    op_poisoned(c, "gram", OP_SCRATCH, (size_t)gram);
    op_bytes(c, "penalty", list, (size_t)s->J * sizeof *list);
}

static void penalty_run(op_call *c)
{
    const penalty_shape *s = c->shape;
    c->o->penalty(c->o, op_at(c, PENALTY_DP), op_at(c, PENALTY_COST), op_at(c, PENALTY_P),
                  (const void *)op_at(c, PENALTY_LIST), op_at(c, PENALTY_GRAM), s->blocks * (2 * s->rank + 2),
                  s->D, s->J);
}

const op_kind op_penalty = {"penalty", penalty_make, penalty_run};

/* ---- noise ---- */

static void noise_make(op_call *c)
{
    const noise_shape *s = c->shape;
    size_t n = area(s->J, s->D);
    osv_noise list[MAX_JOBS];
    for (int j = 0; j < s->J; j++)
        list[j] = (osv_noise){.draws = j % 4,
                              .kind = (osv_noise_kind)(j / 2 % 4),
                              .scale = (osv_real)(0.5 + j),
                              .seed = {7, (unsigned)j},
                              .name = {1, 2},
                              .row = (unsigned)j % 3,
                              .place = j};
    op_poisoned(c, "q", OP_OUTPUT, n);
    op_random(c, "p", OP_INPUT, n, 1);
    op_random(c, "dp", OP_INPUT, n, 1);
    op_random(c, "mean", OP_UPDATED, n, 1);
    op_bytes(c, "noise", list, (size_t)s->J * sizeof *list);
}

static void noise_run(op_call *c)
{
    const noise_shape *s = c->shape;
    c->o->noise(c->o, op_at(c, 0), op_at(c, 1), op_at(c, 2), (const void *)op_at(c, 4), s->k, s->D, s->J);
}

static void noise_mean_run(op_call *c)
{
    const noise_shape *s = c->shape;
    c->o->copy(c->o, op_at(c, 0), op_at(c, 2), area(s->J, s->D) * sizeof(osv_real), OSV_ON_DEVICE);
    c->o->noise_mean(c->o, op_at(c, 3), op_at(c, 2), (const void *)op_at(c, 4), s->k, s->D, s->J);
}

const op_kind op_noise = {"noise", noise_make, noise_run};
const op_kind op_noise_mean = {"noise_mean", noise_make, noise_mean_run};

/* ---- rows ---- */

static int rows_index(const op_call *c, int row)
{
    const rows_shape *s = c->shape;
    return s->total - 1 - row;
}

static void rows_make(op_call *c, int out, int in, op_role role)
{
    const rows_shape *s = c->shape;
    if (role == OP_OUTPUT)
        op_poisoned(c, "out", role, area(out, s->D));
    else
        op_random(c, "out", role, area(out, s->D), 1);
    op_random(c, "in", OP_INPUT, area(in, s->D), 1);
    op_ints(c, "index", s->rows, rows_index);
}

static void gather_make(op_call *c)
{
    const rows_shape *s = c->shape;
    rows_make(c, s->rows, s->total, OP_OUTPUT);
}

static void gather_run(op_call *c)
{
    const rows_shape *s = c->shape;
    c->o->gather_rows(c->o, op_at(c, 0), op_at(c, 1), op_int_at(c, 2), s->D, s->rows);
}

static void scatter_make(op_call *c)
{
    const rows_shape *s = c->shape;
    rows_make(c, s->total, s->rows, OP_UPDATED);
}

static void scatter_run(op_call *c)
{
    const rows_shape *s = c->shape;
    c->o->scatter_rows(c->o, op_at(c, 0), op_at(c, 1), op_int_at(c, 2), s->D, s->rows);
}

const op_kind op_gather_rows = {"gather_rows", gather_make, gather_run};
const op_kind op_scatter_rows = {"scatter_rows", scatter_make, scatter_run};

/* ---- shapes ---- */

#define SITE(...)                                                                              \
    OP_CASE(op_apply, site_shape, __VA_ARGS__), OP_CASE(op_apply_dp, site_shape, __VA_ARGS__), \
        OP_CASE(op_apply_dx, site_shape, __VA_ARGS__)
#define IN_PLACE(...) OP_CASE(op_apply, site_shape, .in_place = true, __VA_ARGS__)
#define CLAMP(...)    .form = {.kind = OSV_FORM_CLAMP, __VA_ARGS__}
#define AFFINE(R)     .form = {.kind = OSV_FORM_AFFINE, .rank = R}
#define ADD_NORM      .form = {.kind = OSV_FORM_ADD_NORM}
#define ADAM(...)     OP_CASE(op_adam, adam_shape, __VA_ARGS__)
#define NORM(...)     OP_CASE(op_norm, adam_shape, __VA_ARGS__)
#define PENALTY(...)  OP_CASE(op_penalty, penalty_shape, __VA_ARGS__)
#define NOISE(...) \
    OP_CASE(op_noise, noise_shape, __VA_ARGS__), OP_CASE(op_noise_mean, noise_shape, __VA_ARGS__)
#define ROWS(...) \
    OP_CASE(op_gather_rows, rows_shape, __VA_ARGS__), OP_CASE(op_scatter_rows, rows_shape, __VA_ARGS__)

const op_case op_vector_cases[] = {
    SITE(.T = 2, .jobs = 1, .per_job = 1, .J = 1, .D = 48),
    SITE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48),
    SITE(.T = 130, .row = 1, .jobs = 1, .per_job = 128, .J = 2, .D = 100),
    SITE(.T = 7, .row = 7, .jobs = 0, .J = 3, .D = 48),

    IN_PLACE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48),

    SITE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, CLAMP(.clamp = -0.5)),
    SITE(.T = 130, .row = 0, .jobs = 1, .per_job = 128, .J = 2, .D = 317, CLAMP(.clamp = 3)),
    SITE(.T = 9, .row = 2, .jobs = 2, .per_job = 3, .J = 2, .D = 2304, CLAMP(.clamp = 0)),
    SITE(.T = 9, .row = 2, .jobs = 2, .per_job = 3, .J = 2, .D = 1, CLAMP(.clamp = 2)),
    SITE(.T = 7, .row = 7, .jobs = 0, .J = 3, .D = 48, CLAMP(.clamp = 1)),
    SITE(.T = 40, .row = 3, .jobs = 3, .per_job = 9, .J = 4, .D = 100, CLAMP(.clamp = 1, .offset = true)),
    SITE(.T = 40, .row = 3, .jobs = 3, .per_job = 9, .J = 4, .D = 100,
         CLAMP(.clamp = 1, .constant_norm = true)),
    SITE(.T = 40, .row = 3, .jobs = 3, .per_job = 9, .J = 4, .D = 100, CLAMP(.clamp = 1, .cut = true)),
    SITE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, .form = {.cut = true}),
    IN_PLACE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, CLAMP(.clamp = -0.5)),
    IN_PLACE(.T = 20, .row = 5, .jobs = 2, .per_job = 6, .J = 3, .D = 52, CLAMP(.clamp = 2, .offset = true)),

    SITE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, AFFINE(1)),
    SITE(.T = 30, .row = 1, .jobs = 2, .per_job = 13, .J = 2, .D = 317, AFFINE(3)),
    SITE(.T = 9, .row = 2, .jobs = 2, .per_job = 3, .J = 2, .D = 2304, AFFINE(2)),
    SITE(.T = 9, .row = 2, .jobs = 2, .per_job = 3, .J = 3, .D = 1, AFFINE(2)),
    SITE(.T = 7, .row = 7, .jobs = 0, .J = 3, .D = 48, AFFINE(1)),
    IN_PLACE(.T = 30, .row = 1, .jobs = 2, .per_job = 13, .J = 2, .D = 100, AFFINE(5)),

    SITE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, ADD_NORM),
    SITE(.T = 130, .row = 0, .jobs = 1, .per_job = 128, .J = 2, .D = 317, ADD_NORM),
    SITE(.T = 9, .row = 2, .jobs = 2, .per_job = 3, .J = 2, .D = 2304, ADD_NORM),
    IN_PLACE(.T = 65, .row = 5, .jobs = 4, .per_job = 7, .J = 6, .D = 48, ADD_NORM),

    ADAM(.D = 48, .J = 1, .step = 0, .max_norm = -1),
    ADAM(.D = 100, .J = 5, .step = 7, .max_norm = 2),
    ADAM(.D = 317, .J = 4, .step = 1000, .max_norm = 0),
    ADAM(.D = 1, .J = 8, .step = 1, .max_norm = 0.5),
    ADAM(.D = 48, .J = 0, .max_norm = -1),
    ADAM(.D = 48, .J = 5, .step = 3, .max_norm = 2, .directions = 4),
    ADAM(.D = 2304, .J = 1, .step = 0, .max_norm = -1, .directions = 9),
    ADAM(.D = 5, .J = 4, .step = 2, .max_norm = 0.5, .directions = 2),

    NORM(.D = 48, .J = 1),
    NORM(.D = 2304, .J = 5),
    NORM(.D = 48, .J = 0),

    PENALTY(.J = 1, .D = 48, .blocks = 1, .l1 = 0.3),
    PENALTY(.J = 3, .D = 100, .blocks = 4, .group = 0.7),
    PENALTY(.J = 4, .D = 317, .blocks = 2, .rank = 3, .norm = 1),
    PENALTY(.J = 7, .D = 52, .blocks = 3, .rank = 5, .l1 = 0.01, .group = 2, .norm = 0.5),
    PENALTY(.J = 1, .D = 2304, .blocks = 1, .rank = 2, .norm = 3),
    PENALTY(.J = 2, .D = 1, .blocks = 2, .rank = 1, .l1 = 1, .norm = 1),
    PENALTY(.J = 2, .D = 48, .blocks = 2, .rank = 2, .l1 = 1, .group = 1, .norm = 1, .zero = true),
    PENALTY(.J = 0, .D = 48, .blocks = 1),

    NOISE(.J = 8, .D = 48, .k = 0),
    NOISE(.J = 8, .D = 317, .k = 1),
    NOISE(.J = 3, .D = 1, .k = 2),
    NOISE(.J = 0, .D = 48),

    ROWS(.rows = 1, .D = 48, .total = 1),
    ROWS(.rows = 65, .D = 100, .total = 130),
    ROWS(.rows = 7, .D = 1, .total = 9),
    ROWS(.rows = 0, .D = 48, .total = 9),
    {0},
};
