/* Every gradient of ref against central differences of its forward, in double, on the shapes of
 * tests/op_cases.h. Memory of ref is host memory, so operators are called on it directly. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"
#include "tests/op_cases.h"

static const double tolerance = 1e-7;
static double worst; /* fraction of what is allowed; a test is a process */

/* ---- directional differences ---- */

enum { LEAVES = 4, DIRECTIONS = 3 };

/* What is perturbed, and its gradient. */
typedef struct {
    osv_real *x;
    const osv_real *dx;
    size_t n;
} leaf;

/* A scalar function of leaves. */
typedef struct {
    double (*value)(void *context);
    void *context;
    leaf leaf[LEAVES];
    int leaves;
    const char *what, *shape;
} function;

/* f at x + step d. The leaves are put back. */
static double value_at(const function *f, osv_real *const *direction, double step)
{
    osv_real *saved[LEAVES];
    for (int i = 0; i < f->leaves; i++) {
        const leaf *l = &f->leaf[i];
        saved[i] = malloc(l->n * sizeof *l->x);
        memcpy(saved[i], l->x, l->n * sizeof *l->x);
        for (size_t k = 0; k < l->n; k++) l->x[k] += step * direction[i][k];
    }
    double value = f->value(f->context);
    for (int i = 0; i < f->leaves; i++) {
        memcpy(f->leaf[i].x, saved[i], f->leaf[i].n * sizeof *f->leaf[i].x);
        free(saved[i]);
    }
    return value;
}

/* One random direction, in leaf `only`, or in all (-1). The difference has five points, so that the step can
 * be wide: its truncation falls with step^4. The error is relative to the derivative, or to what a derivative
 * in a random direction is on average, |g| |d| / sqrt(n), if that is more; what the rounding of f alone makes
 * of the quotient is allowed on top. */
static void check_direction(const function *f, int only, uint64_t *random)
{
    const double step = 1e-3;
    osv_real *direction[LEAVES];
    double expected = 0, gradient_norm = 0, direction_norm = 0;
    size_t n = 0;
    for (int i = 0; i < f->leaves; i++) {
        const leaf *l = &f->leaf[i];
        direction[i] = calloc(l->n + 1, sizeof **direction);
        if (only >= 0 && only != i) continue;
        for (size_t k = 0; k < l->n; k++) {
            direction[i][k] = op_uniform(random);
            expected += l->dx[k] * direction[i][k];
            gradient_norm += l->dx[k] * l->dx[k];
            direction_norm += direction[i][k] * direction[i][k];
        }
        n += l->n;
    }
    double value[4], at[4] = {-2 * step, -step, step, 2 * step}, largest = 0;
    for (int i = 0; i < 4; i++) {
        value[i] = value_at(f, direction, at[i]);
        largest = fmax(largest, fabs(value[i]));
    }
    double found = (8 * (value[2] - value[1]) - (value[3] - value[0])) / (12 * step);
    double size = fmax(fabs(expected), sqrt(gradient_norm * direction_norm / (double)n));
    double allowed = tolerance * size + 8 * 0x1p-52 * largest / step;
    double error = fabs(found - expected);
    if (!(error / allowed <= worst)) worst = error / allowed;
    cr_expect(error <= allowed, "%s (%s), leaf %d: difference %.15g, gradient %.15g (error %.3g)", f->what,
              f->shape, only, found, expected, error / size);
    for (int i = 0; i < f->leaves; i++) free(direction[i]);
}

static void check(const function *f)
{
    uint64_t random = 1;
    for (int i = 0; i < DIRECTIONS; i++) check_direction(f, -1, &random);
    for (int i = 0; i < f->leaves; i++) check_direction(f, i, &random);
}

static double dot(const osv_real *a, const osv_real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ---- calls ---- */

typedef struct {
    const op_call *c;
    osv_real *out[OP_WEIGHTS]; /* where the forward writes */
} forward;

static osv_real *initial(const op_call *c, int buffer)
{
    return c->buffer[buffer].initial;
}

/* Runs every case of a kind and calls `test` with the gradients in the call's buffers and what went in in
 * their `initial`. */
static void each_case(const op_case *list, const op_kind *kind, void (*test)(op_call *c, const char *text))
{
    osv_error error = {0};
    osv_ops *o;
    cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_F32, &error), OSV_OK);
    int cases = 0;
    for (const op_case *at = list; at->kind; at++) {
        if (at->kind != kind) continue;
        op_call c;
        op_call_make(&c, kind, at->shape, o);
        op_call_run(&c);
        cr_assert_eq(osv_ops_status(o), OSV_OK, "%s", error.text);
        test(&c, at->text);
        op_call_free(&c);
        cases++;
    }
    cr_assert(cases > 0);
    cr_log_info("%s: %d cases, at most %.2g of the error allowed", kind->name, cases, worst);
    o->close(o);
}

/* ---- matmul ---- */

static double matmul_value(void *context)
{
    forward *f = context;
    const matmul_shape *s = f->c->shape;
    const osv_weight *w[OP_WEIGHTS];
    for (int i = 0; i < s->n; i++) w[i] = &f->c->weight[i];
    f->c->o->matmul(f->c->o, f->out, f->out[OP_WEIGHTS - 1], w, s->n, s->rows);
    double sum = 0;
    for (int i = 0; i < s->n; i++) sum += dot(f->out[i], initial(f->c, 1 + i), op_count(f->c, 1 + i));
    return sum;
}

static void matmul_test(op_call *c, const char *text)
{
    const matmul_shape *s = c->shape;
    size_t n = op_count(c, 0);
    if (n == 0) return;
    forward f = {.c = c};
    for (int i = 0; i < s->n; i++) f.out[i] = malloc(c->buffer[1 + i].bytes);
    osv_real *x = f.out[OP_WEIGHTS - 1] = malloc(n * sizeof *x);
    uint64_t random = 2;
    for (size_t i = 0; i < n; i++) x[i] = op_uniform(&random);
    function g = {matmul_value, &f, {{x, op_at(c, 0), n}}, 1, "matmul_dx", text};
    check(&g);
    for (int i = 0; i < OP_WEIGHTS; i++) free(f.out[i]);
}

Test(gradient, matmul)
{
    each_case(op_block_cases, &op_matmul_dx, matmul_test);
}

/* ---- rmsnorm ---- */

static double rmsnorm_value(void *context)
{
    forward *f = context;
    const norm_shape *s = f->c->shape;
    f->c->o->rmsnorm(f->c->o, f->out[0], initial(f->c, 0), &f->c->weight[0], s->offset, 1e-6, s->rows);
    return dot(f->out[0], initial(f->c, 1), op_count(f->c, 1));
}

/* x is drawn on the scale of the shape; the derivative is by x / scale, which the step fits. */
typedef struct {
    forward f;
    osv_real *unit;
    double scale;
} scaled;

static double scaled_rmsnorm_value(void *context)
{
    scaled *s = context;
    osv_real *x = initial(s->f.c, 0);
    for (size_t i = 0; i < op_count(s->f.c, 0); i++) x[i] = s->scale * s->unit[i];
    return rmsnorm_value(&s->f);
}

static void rmsnorm_test(op_call *c, const char *text)
{
    const norm_shape *shape = c->shape;
    size_t n = op_count(c, 0);
    if (n == 0) return;
    scaled s = {.f = {.c = c, .out = {malloc(n * sizeof(osv_real))}}, .scale = shape->scale};
    osv_real *dx = op_read(c, shape->in_place ? 1 : 2);
    s.unit = malloc(n * sizeof *s.unit);
    for (size_t i = 0; i < n; i++) {
        s.unit[i] = initial(c, 0)[i] / shape->scale;
        dx[i] *= shape->scale;
    }
    function g = {scaled_rmsnorm_value, &s, {{s.unit, dx, n}}, 1, "rmsnorm_dx", text};
    check(&g);
    free(s.unit);
    free(s.f.out[0]);
    free(dx);
}

Test(gradient, rmsnorm)
{
    each_case(op_block_cases, &op_rmsnorm_dx, rmsnorm_test);
}

/* ---- rmsnorm of split rows: what comes of the columns that a rank has ---- */

static double split_norm_value(void *context)
{
    scaled *s = context;
    const op_call *c = s->f.c;
    const split_norm_shape *shape = c->shape;
    osv_split_norm n = op_split_norm(shape);
    osv_real *x = initial(c, SPLIT_X), *sum = s->f.out[1];
    for (size_t i = 0; i < op_count(c, SPLIT_X); i++) x[i] = s->scale * s->unit[i];
    c->o->rmsnorm_sum(c->o, sum, x, &n, shape->D, shape->rows);
    c->o->rmsnorm_split(c->o, s->f.out[0], x, sum, &c->weight[0], &n, shape->rows);
    return dot(s->f.out[0], initial(c, SPLIT_DY), op_count(c, SPLIT_DY));
}

static void split_norm_test(op_call *c, const char *text)
{
    const split_norm_shape *shape = c->shape;
    size_t n = op_count(c, SPLIT_X), rows = (size_t)shape->rows;
    if (n == 0) return;
    osv_real *dx = op_read(c, shape->in_place ? SPLIT_DY : SPLIT_Y), *unit = malloc(n * sizeof *unit);
    scaled s = {.f = {.c = c, .out = {malloc(n * sizeof *unit), malloc(rows * sizeof *unit)}},
                .unit = unit,
                .scale = shape->scale};
    for (size_t i = 0; i < n; i++) {
        unit[i] = initial(c, SPLIT_X)[i] / shape->scale;
        dx[i] *= shape->scale;
    }
    function g = {split_norm_value, &s, {{unit, dx, n}}, 1, "rmsnorm_split_dx", text};
    check(&g);
    free(unit);
    free(s.f.out[0]);
    free(s.f.out[1]);
    free(dx);
}

Test(gradient, rmsnorm_split)
{
    each_case(op_block_cases, &op_rmsnorm_split_dx, split_norm_test);
}

/* ---- rope: direction -1 is the gradient of direction +1 and the other way round ---- */

static double rope_value(void *context)
{
    forward *f = context;
    const rope_shape *s = f->c->shape;
    memcpy(f->out[0], f->out[1], f->c->buffer[0].bytes);
    f->c->o->rope(f->c->o, f->out[0], op_int_at(f->c, 2), op_at(f->c, 1), s->heads, s->E, s->rot,
                  -s->direction, s->rows);
    return dot(f->out[0], initial(f->c, 0), op_count(f->c, 0));
}

static void rope_test(op_call *c, const char *text)
{
    size_t n = op_count(c, 0);
    if (n == 0) return;
    forward f = {.c = c, .out = {malloc(n * sizeof(osv_real)), malloc(n * sizeof(osv_real))}};
    uint64_t random = 3;
    for (size_t i = 0; i < n; i++) f.out[1][i] = op_uniform(&random);
    function g = {rope_value, &f, {{f.out[1], op_at(c, 0), n}}, 1, "rope", text};
    check(&g);
    free(f.out[0]);
    free(f.out[1]);
}

Test(gradient, rope)
{
    each_case(op_block_cases, &op_rope, rope_test);
}

/* ---- glu ---- */

static double glu_value(void *context)
{
    forward *f = context;
    const glu_shape *s = f->c->shape;
    f->c->o->glu(f->c->o, f->out[0], initial(f->c, 0), initial(f->c, 1), s->act, s->n);
    return dot(f->out[0], initial(f->c, 2), s->n);
}

static void glu_test(op_call *c, const char *text)
{
    const glu_shape *s = c->shape;
    if (s->n == 0 || s->alias != GLU_APART) return; /* the others: in_place */
    forward f = {.c = c, .out = {malloc(s->n * sizeof(osv_real))}};
    function g = {.value = glu_value,
                  .context = &f,
                  .leaf = {{initial(c, 0), op_at(c, 3), s->n}, {initial(c, 1), op_at(c, 4), s->n}},
                  .leaves = 2,
                  .what = "glu_dx",
                  .shape = text};
    check(&g);
    free(f.out[0]);
}

Test(gradient, glu)
{
    each_case(op_block_cases, &op_glu_dx, glu_test);
}

/* ---- attention ---- */

static double attention_value(void *context)
{
    forward *f = context;
    osv_worklist work = op_attention_work(f->c);
    osv_attention a = op_attention_arguments(f->c->shape);
    f->c->o->attention(f->c->o, f->out[0], f->out[1], initial(f->c, ATTENTION_Q), initial(f->c, ATTENTION_K),
                       initial(f->c, ATTENTION_V), &work, &a);
    return dot(f->out[0], initial(f->c, ATTENTION_DOUT), op_count(f->c, ATTENTION_DOUT));
}

/* Live keys and values have gradients; the frozen ones before them are constants. */
static void attention_test(op_call *c, const char *text)
{
    const attention_shape *s = c->shape;
    size_t n = op_count(c, ATTENTION_Q), live = op_count(c, ATTENTION_DK);
    size_t skip = (size_t)c->forest.work.live_slot * (size_t)s->heads.K * (size_t)s->heads.E;
    forward f = {.c = c, .out = {malloc(n * sizeof(osv_real)), malloc(n * sizeof(osv_real))}};
    char what[128];
    snprintf(what, sizeof what, "attention_dx on %s", s->forest->name);
    function g = {.value = attention_value,
                  .context = &f,
                  .leaf = {{initial(c, ATTENTION_Q), op_at(c, ATTENTION_DQ), n},
                           {initial(c, ATTENTION_K) + skip, op_at(c, ATTENTION_DK), live},
                           {initial(c, ATTENTION_V) + skip, op_at(c, ATTENTION_DV), live}},
                  .leaves = 3,
                  .what = what,
                  .shape = text};
    check(&g);
    free(f.out[0]);
    free(f.out[1]);
}

Test(gradient, attention, .timeout = 600)
{
    each_case(op_attention_cases, &op_attention_dx, attention_test);
}

/* ---- softcap, score, objective ---- */

enum { BOUNDED = 3, COMPLETIONS = 6 }; /* the last two are partners */

/* From logits before the cap to the number that is optimized. Completion i has the losses s with
 * s % COMPLETIONS <= i (they share some), and all have one constant loss. */
typedef struct {
    const op_call *c;
    osv_scores scores;
    osv_real *raw, *z, *max, *sum, *loss, *w;
    int first[COMPLETIONS + 1], *score;
    osv_real scale[COMPLETIONS], target[COMPLETIONS], completion[COMPLETIONS], weight[COMPLETIONS];
    osv_real beta[COMPLETIONS], reference[COMPLETIONS], bound[COMPLETIONS];
    int partner[COMPLETIONS];
    osv_multiplier multiplier[COMPLETIONS];
    osv_objective objective;
} chain;

/* What is optimized of a loss that is `above` its bound. */
static double bounded(const osv_multiplier *m, double above)
{
    double g = above + m->slack * m->slack;
    return m->lambda * g + 0.5 * g * g;
}

static double chain_value(void *context)
{
    chain *x = context;
    const score_shape *s = x->c->shape;
    osv_ops *o = x->c->o;
    size_t n = (size_t)s->R * (size_t)s->V;
    memcpy(x->z, x->raw, n * sizeof *x->z);
    if (s->softcap > 0) o->softcap(o, x->z, s->softcap, n);
    o->score_max(o, x->max, x->z, s->R, s->V);
    o->score_sum(o, x->sum, x->z, x->max, &x->scores, s->V);
    o->score(o, x->loss, x->sum, &x->scores);
    o->objective(o, x->w, x->completion, x->loss, &x->objective, x->scores.S);
    double value = 0;
    for (int i = 0; i < COMPLETIONS; i++) {
        double L = x->completion[i], target = x->target[i];
        if (x->partner[i] >= 0) continue;
        if (i == BOUNDED)
            value += x->weight[i] * bounded(&x->multiplier[i], L - x->bound[i]);
        else
            value += x->weight[i] * (isnan(target) ? L : (L - target) * (L - target));
    }
    double m = 0;
    for (int i = COMPLETIONS - 2; i < COMPLETIONS; i++)
        m += x->beta[i] * (x->reference[i] - x->completion[i]);
    return value + x->weight[COMPLETIONS - 1] * log1p(exp(-m));
}

static void make_chain(chain *x, const op_call *c)
{
    const score_shape *s = c->shape;
    size_t n = (size_t)s->R * (size_t)s->V;
    *x = (chain){.c = c,
                 .scores = op_scores(c),
                 .scale = {1, 0.25, 1, 0.5, 0.5, 1},
                 .target = {(osv_real)NAN, 0.75, 2, 1, (osv_real)NAN, (osv_real)NAN},
                 .weight = {1, 0.5, 2, 0.3, 0.7, 0.7},
                 .partner = {-1, -1, -1, -1, 5, 4},
                 .beta = {[4] = 0.3, -0.3},
                 .reference = {[4] = 2, 1},
                 .multiplier = {[BOUNDED] = {.lambda = 0.4, .slack = -0.8}}};
    for (int i = 0; i < COMPLETIONS; i++) x->bound[i] = i == BOUNDED ? 1.5 : (osv_real)NAN;
    int S = x->scores.S, used = 0;
    x->raw = malloc(n * sizeof *x->raw);
    x->z = malloc(n * sizeof *x->z);
    x->max = malloc((size_t)s->R * sizeof *x->max);
    x->sum = malloc(2 * (size_t)S * sizeof *x->sum);
    x->loss = malloc((size_t)(S + 1) * sizeof *x->loss);
    x->w = malloc((size_t)S * sizeof *x->w);
    x->score = malloc((size_t)COMPLETIONS * (size_t)(S + 1) * sizeof *x->score);
    for (size_t i = 0; i < n; i++) {
        double z = initial(c, SCORE_Z)[i];
        x->raw[i] = s->softcap > 0 ? s->softcap * atanh(z / s->softcap) : z;
    }
    x->loss[S] = 0.5;
    for (int i = 0; i < COMPLETIONS; i++) {
        for (int k = 0; k < S; k++)
            if (k % COMPLETIONS <= i) x->score[used++] = k;
        x->score[used++] = S;
        x->first[i + 1] = used;
    }
    x->objective = (osv_objective){.C = COMPLETIONS,
                                   .first = x->first,
                                   .score = x->score,
                                   .scale = x->scale,
                                   .target = x->target,
                                   .weight = x->weight,
                                   .partner = x->partner,
                                   .beta = x->beta,
                                   .reference = x->reference,
                                   .bound = x->bound,
                                   .multiplier = x->multiplier};
}

static void chain_test(op_call *c, const char *text)
{
    const score_shape *s = c->shape;
    size_t n = (size_t)s->R * (size_t)s->V;
    if (n == 0 || s->first_id) return; /* a slice alone is no softmax */
    chain x;
    make_chain(&x, c);
    chain_value(&x);
    osv_real *dz = malloc(n * sizeof *dz);
    memcpy(dz, x.z, n * sizeof *dz);
    c->o->score_dx(c->o, dz, x.max, x.sum, x.w, &x.scores, s->V);
    function g = {chain_value, &x, {{x.raw, dz, n}}, 1, "score, objective, score_dx", text};
    check(&g);
    free(dz), free(x.raw), free(x.z), free(x.max), free(x.sum), free(x.loss), free(x.w), free(x.score);
}

Test(gradient, score_objective)
{
    each_case(op_head_cases, &op_score_dx, chain_test);
}

/* ---- multipliers ---- */

static double multiplier_value(void *context)
{
    const chain *x = context;
    double value = 0;
    for (int i = 0; i < COMPLETIONS; i++)
        value += x->weight[i] * bounded(&x->multiplier[i], x->completion[i] - x->bound[i]);
    return value;
}

/* The moments of a first step are the gradients times 1 - beta1. Multipliers lie as numbers of the same kind,
 * lambda and slack first. */
Test(gradient, multipliers)
{
    enum { NUMBERS = COMPLETIONS * 6 };
    osv_error error = {0};
    osv_ops *o;
    chain x = {.weight = {1, 0.5, 2, 0.3, 0.7, 0.7}, .completion = {1, 2, 3, 0.5, 0.1, 4}};
    osv_adam_params params[COMPLETIONS];
    osv_multiplier before[COMPLETIONS];
    osv_real gradient[NUMBERS] = {0};
    cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_F32, &error), OSV_OK);
    for (int i = 0; i < COMPLETIONS; i++) {
        x.bound[i] = 0.5 * i;
        x.multiplier[i] = (osv_multiplier){.lambda = 0.2 * i, .slack = 1 - 0.3 * i};
        params[i] = (osv_adam_params){.lr = 1e-3, .beta1 = 0.5, .eps = 1e-8, .correction1 = 0.5};
    }
    x.objective =
        (osv_objective){.C = COMPLETIONS, .weight = x.weight, .bound = x.bound, .multiplier = x.multiplier};
    memcpy(before, x.multiplier, sizeof before);
    o->multipliers(o, x.completion, &x.objective, params);
    for (int i = 0; i < COMPLETIONS; i++) {
        const osv_multiplier *after = &x.multiplier[i];
        gradient[6 * i] = 2 * after->lambda_m;
        gradient[6 * i + 1] = 2 * after->slack_m;
        double up = after->lambda - before[i].lambda, down = before[i].slack - after->slack;
        cr_expect((up > 0 && gradient[6 * i] > 0) || (up < 0 && gradient[6 * i] < 0) || after->lambda == 0);
        cr_expect((down > 0 && gradient[6 * i + 1] > 0) || (down < 0 && gradient[6 * i + 1] < 0));
    }
    memcpy(x.multiplier, before, sizeof before);
    function g = {multiplier_value, &x, {{&x.multiplier[0].lambda, gradient, NUMBERS}}, 1, "multipliers", ""};
    check(&g);
    o->close(o);
}

/* ---- distributions ---- */

/* Sum of w times the divergences of the softcapped logits, of an op_kl_dx call. */
static double kl_value(void *context)
{
    forward *f = context;
    const kl_shape *s = f->c->shape;
    osv_ops *o = f->c->o;
    osv_distributions d = op_distributions(f->c);
    int R = 2 * s->rows + 1;
    osv_real *z = f->out[1], *max = z + (size_t)R * (size_t)s->V, *sum = max + R, *loss = sum + 2 * d.K;
    memcpy(z, f->out[0], (size_t)R * (size_t)s->V * sizeof *z);
    if (s->softcap > 0) o->softcap(o, z, s->softcap, (size_t)R * (size_t)s->V);
    o->score_max(o, max, z, R, s->V);
    o->kl_sum(o, sum, z, max, &d, s->V);
    o->kl(o, loss, sum, &d);
    return dot(loss, initial(f->c, KL_LAST), (size_t)d.K);
}

static void kl_test(op_call *c, const char *text)
{
    const kl_shape *s = c->shape;
    size_t V = (size_t)s->V, R = 2 * (size_t)s->rows + 1;
    if (s->rows == 0 || s->slice) return; /* a slice alone is no distribution */
    forward f = {.c = c,
                 .out = {malloc(R * V * sizeof(osv_real)),
                         malloc((R * V + R + 3 * (size_t)(s->rows * s->per_row)) * sizeof(osv_real))}};
    osv_real *dz = op_read(c, KL_DZ), *dx = calloc(R * V, sizeof *dx);
    for (size_t i = 0; i < R * V; i++) {
        double z = initial(c, KL_Z)[i];
        f.out[0][i] = s->softcap > 0 ? s->softcap * atanh(z / s->softcap) : z;
    }
    for (int r = 0; r < s->rows; r++) /* dz is that of the rows 1, 3, ... */
        memcpy(dx + (2 * (size_t)r + 1) * V, dz + (size_t)r * V, V * sizeof *dx);
    function g = {kl_value, &f, {{f.out[0], dx, R * V}}, 1, "kl_sum, kl, kl_dx", text};
    check(&g);
    free(dz), free(dx), free(f.out[0]), free(f.out[1]);
}

Test(gradient, kl)
{
    each_case(op_kl_cases, &op_kl_dx, kl_test);
}

/* ---- distances ---- */

/* Sum of w times the losses, of an op_distance_dx call. */
static double distance_value(void *context)
{
    forward *f = context;
    const distance_shape *s = f->c->shape;
    osv_distances distances = op_distances(f->c);
    f->c->o->distance(f->c->o, f->out[0], initial(f->c, DISTANCE_X), initial(f->c, DISTANCE_X0), &distances,
                      s->D);
    return dot(f->out[0], initial(f->c, DISTANCE_W), (size_t)s->M);
}

/* Rows that have not moved have no gradient, whatever the difference says: they are not moved. */
static void distance_test(op_call *c, const char *text)
{
    const distance_shape *s = c->shape;
    const osv_real *dx = op_at(c, DISTANCE_OUT);
    osv_distances distances = op_distances(c);
    size_t D = (size_t)s->D;
    forward f = {.c = c, .out = {malloc(((size_t)s->M + 1) * sizeof(osv_real))}};
    for (int m = 0; m < s->M; m++) {
        osv_real *x = initial(c, DISTANCE_X) + (size_t)distances.row[m] * D;
        function g = {distance_value, &f, {{x, dx + (size_t)m * D, D}}, 1, "distance, distance_dx", text};
        if (m % 3 != 2) check(&g);
        for (size_t d = 0; m % 3 == 2 && d < D; d++) cr_assert_eq(dx[(size_t)m * D + d], 0);
    }
    free(f.out[0]);
}

Test(gradient, distance)
{
    each_case(op_distance_cases, &op_distance_dx, distance_test);
}

/* ---- apply ---- */

/* <g, form(x0; p)> at the site's rows, of an op_apply_dp call. */
static double apply_value(void *context)
{
    forward *f = context;
    const site_shape *s = f->c->shape;
    osv_site site = op_site(f->c);
    size_t at = (size_t)s->row * (size_t)s->D;
    f->c->o->apply(f->c->o, f->out[0], initial(f->c, 1), initial(f->c, 2), &site, f->out[1], s->D);
    return dot(f->out[0] + at, (const osv_real *)initial(f->c, APPLY_DX) + at, op_count(f->c, 1));
}

static void apply_test(op_call *c, const char *text)
{
    const site_shape *s = c->shape;
    if (s->jobs == 0) return;
    if (s->form.cut || s->form.constant_norm) return; /* not the gradient, and meant so */
    osv_site site = op_site(c);
    int params = osv_form_params(s->form), D = s->D;
    size_t n = op_count(c, 2), at = (size_t)s->row * (size_t)D;
    forward f = {.c = c,
                 .out = {calloc((size_t)s->T * (size_t)D, sizeof(osv_real)),
                         calloc((size_t)site.rows * (size_t)osv_form_coefs(s->form), sizeof(osv_real))}};
    osv_real *grad = op_read(c, 0), *dp = calloc(n, sizeof *dp),
             *dx = malloc((at + op_count(c, 1)) * sizeof *dx);
    /* In the order of the parameters; jobs elsewhere have no part in this site. What does not train has no
     * gradient, so it must not be moved: the offset of a clamp. */
    for (int i = 0; i < site.jobs; i++)
        memcpy(dp + (size_t)site.param[i] * (size_t)D, grad + (size_t)site.grad[i] * (size_t)D,
               (size_t)params * (size_t)D * sizeof *dp);
    memcpy(dx, initial(c, APPLY_DX), (at + op_count(c, 1)) * sizeof *dx);
    c->o->apply_dx(c->o, dx, initial(c, 1), initial(c, 2), &site, f.out[1], D);
    if (s->form.offset) {
        size_t first = (size_t)site.param[0] * (size_t)D; /* one v will do */
        function v = {apply_value, &f, {{initial(c, 2) + first, dp + first, (size_t)D}}, 1, "apply_dp", text};
        check(&v);
    } else {
        function g = {apply_value, &f, {{initial(c, 2), dp, n}}, 1, "apply_dp", text};
        check(&g);
    }
    function g = {apply_value, &f, {{initial(c, 1), dx + at, op_count(c, 1)}}, 1, "apply_dx", text};
    check(&g);
    free(grad);
    free(dp);
    free(dx);
    free(f.out[0]);
    free(f.out[1]);
}

Test(gradient, apply)
{
    each_case(op_vector_cases, &op_apply_dp, apply_test);
}

/* ---- penalty ---- */

/* What the jobs of an op_penalty call cost together. */
static double penalty_value(void *context)
{
    forward *f = context;
    const penalty_shape *s = f->c->shape;
    op_call c = *f->c;
    double sum = 0;
    op_call_run(&c);
    for (int j = 0; j < s->J; j++) sum += op_at(&c, PENALTY_COST)[j];
    return sum;
}

static void penalty_test(op_call *c, const char *text)
{
    const penalty_shape *s = c->shape;
    size_t n = op_count(c, PENALTY_P);
    osv_real *dp = op_read(c, PENALTY_DP);
    forward f = {.c = c};
    for (size_t i = 0; i < n; i++) dp[i] -= initial(c, PENALTY_DP)[i]; /* it adds */
    function g = {penalty_value, &f, {{op_at(c, PENALTY_P), dp, n}}, 1, "penalty", text};
    if (!s->zero) check(&g);
    for (size_t i = 0; s->zero && i < n; i++) cr_expect_eq(dp[i], 0, "%s: a gradient at 0", text);
    free(dp);
}

Test(gradient, penalty)
{
    each_case(op_vector_cases, &op_penalty, penalty_test);
}

/* ---- a gradient written over an input is the same gradient ---- */

static void in_place_test(op_call *c, const char *text)
{
    const glu_shape *s = c->shape;
    osv_real *dgate = malloc((s->n + 1) * sizeof *dgate), *dup = malloc((s->n + 1) * sizeof *dup);
    int at_gate = 3, at_up = 3;
    switch (s->alias) {
    case GLU_APART: at_up = 4; break;
    case GLU_ON_GATE: at_gate = 0; break;
    case GLU_ON_UP: at_up = 1; break;
    case GLU_ON_BOTH: at_gate = 0, at_up = 1; break;
    case GLU_GATE_ON_DY: at_gate = 2, at_up = 1; break;
    case GLU_UP_ON_DY: at_gate = 0, at_up = 2; break;
    }
    c->o->glu_dx(c->o, dgate, dup, initial(c, 2), initial(c, 0), initial(c, 1), s->act, s->n);
    cr_expect(memcmp(dgate, op_at(c, at_gate), s->n * sizeof *dgate) == 0, "%s", text);
    cr_expect(memcmp(dup, op_at(c, at_up), s->n * sizeof *dup) == 0, "%s", text);
    free(dgate);
    free(dup);
}

Test(gradient, glu_in_place)
{
    each_case(op_block_cases, &op_glu_dx, in_place_test);
}
