/* Distributions that rows of logits are to match. */
#include <math.h>
#include <stdlib.h>

#include "tests/op_cases.h"

enum { KL_FIRST = KL_MAX + 1, KL_ROW, KL_REVERSE, KL_COLDNESS, KL_AIM, KL_LOGP };

static int kl_count(const kl_shape *s)
{
    return s->rows * s->per_row;
}

/* Every other row of z has distributions. */
static int kl_row(const op_call *c, int r)
{
    (void)c;
    return 2 * r + 1;
}

static int kl_first(const op_call *c, int r)
{
    const kl_shape *s = c->shape;
    return r * s->per_row;
}

static int kl_reverse(const op_call *c, int k)
{
    const kl_shape *s = c->shape;
    return s->reverse == 2 ? k % 2 : s->reverse;
}

/* The last two aim at the same. */
static int kl_aim(const op_call *c, int k)
{
    int last = kl_count(c->shape) - 2;
    return k > last && last >= 0 ? last : k;
}

/* ln of a distribution, over this slice of a vocabulary that goes on; one in seven is impossible. */
static void draw_distribution(op_call *c, osv_real *logp, const kl_shape *s)
{
    double total = s->slice ? 0.5 * s->V : 0;
    for (int j = 0; j < s->V; j++) {
        logp[j] = (osv_real)(4 * op_uniform(&c->random));
        if (j % 7 == 3 && s->reverse == 0) logp[j] = -INFINITY;
        total += exp((double)logp[j]);
    }
    for (int j = 0; j < s->V; j++) logp[j] -= (osv_real)log(total);
}

osv_distributions op_distributions(const op_call *c)
{
    const kl_shape *s = c->shape;
    return (osv_distributions){.rows = s->rows,
                               .K = kl_count(s),
                               .row = op_int_at(c, KL_ROW),
                               .first = op_int_at(c, KL_FIRST),
                               .aim = op_int_at(c, KL_AIM),
                               .logp = op_at(c, KL_LOGP),
                               .reverse = op_int_at(c, KL_REVERSE),
                               .coldness = op_at(c, KL_COLDNESS),
                               .softcap = s->softcap};
}

/* What ref's stages make of the logits: max, sum. */
static int fill(op_call *c, osv_real *max, osv_real *sum, const osv_real *z, const osv_real *logp,
                const osv_real *coldness)
{
    const kl_shape *s = c->shape;
    int K = kl_count(s), *row = malloc((size_t)s->rows * sizeof *row + 1),
        *first = malloc(((size_t)s->rows + 1) * sizeof *first);
    int *reverse = malloc(2 * (size_t)K * sizeof *reverse + 1), *aim = reverse + K;
    osv_ops *ref = NULL;
    int status = row && first && reverse ? osv_ref_open(&ref, OSV_DTYPE_F32, c->o->error)
                                         : OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    for (int r = 0; r <= s->rows && !status; r++) {
        if (r < s->rows) row[r] = kl_row(c, r);
        first[r] = kl_first(c, r);
    }
    for (int k = 0; k < K && !status; k++) reverse[k] = kl_reverse(c, k), aim[k] = kl_aim(c, k);
    const osv_distributions d = {.rows = s->rows,
                                 .K = K,
                                 .row = row,
                                 .first = first,
                                 .aim = aim,
                                 .logp = logp,
                                 .reverse = reverse,
                                 .coldness = coldness};
    if (!status) {
        ref->score_max(ref, max, z, 2 * s->rows + 1, s->V);
        ref->kl_sum(ref, sum, z, max, &d, s->V);
        ref->close(ref);
    }
    free(row), free(first), free(reverse);
    return status;
}

static void kl_make_stage(op_call *c, int stage)
{
    const kl_shape *s = c->shape;
    size_t R = 2 * (size_t)s->rows + 1, V = (size_t)s->V, K = (size_t)kl_count(s);
    osv_real *z = malloc((R + K) * V * sizeof *z + 1), *logp = z + R * V;
    osv_real *max = malloc((R + 2 * K + (size_t)s->rows + 1) * sizeof *max), *sum = max + R,
             *coldness = sum + 2 * K;
    if (!z || !max) {
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
    } else {
        for (size_t i = 0; i < R * V; i++) {
            double x = op_uniform(&c->random);
            z[i] = (osv_real)(s->softcap > 0 ? s->softcap * tanh(1.5 * x) : 5 * x);
        }
        for (size_t k = 0; k < K; k++) draw_distribution(c, logp + k * V, s);
        for (int r = 0; r < s->rows; r++) coldness[r] = (osv_real)(r % 2 ? 0.7 : 1);
        if (!fill(c, max, sum, z, logp, coldness)) {
            if (stage == KL_DZ)
                op_poisoned(c, "dz", OP_OUTPUT, (size_t)s->rows * V);
            else
                op_random(c, "dz", OP_INPUT, (size_t)s->rows * V, 1);
            if (stage == KL_SUM)
                op_poisoned(c, "sum", OP_OUTPUT, 2 * K);
            else
                op_given(c, "sum", OP_INPUT, sum, 2 * K);
            if (stage == KL_LAST)
                op_poisoned(c, "loss", OP_OUTPUT, K);
            else
                op_random(c, "w", OP_INPUT, K, 1);
            op_given(c, "z", OP_INPUT, z, R * V);
            op_given(c, "max", OP_INPUT, max, R);
            op_ints(c, "first", s->rows + 1, kl_first);
            op_ints(c, "row", s->rows, kl_row);
            op_ints(c, "reverse", kl_count(s), kl_reverse);
            op_given(c, "coldness", OP_INPUT, coldness, (size_t)s->rows);
            op_ints(c, "aim", kl_count(s), kl_aim);
            op_given(c, "logp", OP_INPUT, logp, K * V);
        }
    }
    free(z), free(max);
}

static void kl_sum_make(op_call *c)
{
    kl_make_stage(c, KL_SUM);
}

static void kl_make(op_call *c)
{
    kl_make_stage(c, KL_LAST);
}

static void kl_dx_make(op_call *c)
{
    kl_make_stage(c, KL_DZ);
}

static void kl_sum_run(op_call *c)
{
    const kl_shape *s = c->shape;
    osv_distributions d = op_distributions(c);
    c->o->kl_sum(c->o, op_at(c, KL_SUM), op_at(c, KL_Z), op_at(c, KL_MAX), &d, s->V);
}

static void kl_run(op_call *c)
{
    osv_distributions d = op_distributions(c);
    c->o->kl(c->o, op_at(c, KL_LAST), op_at(c, KL_SUM), &d);
}

static void kl_dx_run(op_call *c)
{
    const kl_shape *s = c->shape;
    osv_distributions d = op_distributions(c);
    c->o->kl_dx(c->o, op_at(c, KL_DZ), op_at(c, KL_Z), op_at(c, KL_MAX), op_at(c, KL_SUM), op_at(c, KL_LAST),
                &d, s->V);
}

const op_kind op_kl_sum = {"kl_sum", kl_sum_make, kl_sum_run};
const op_kind op_kl = {"kl", kl_make, kl_run};
const op_kind op_kl_dx = {"kl_dx", kl_dx_make, kl_dx_run};

#define KL(...)                                                                       \
    OP_CASE(op_kl_sum, kl_shape, __VA_ARGS__), OP_CASE(op_kl, kl_shape, __VA_ARGS__), \
        OP_CASE(op_kl_dx, kl_shape, __VA_ARGS__)

const op_case op_kl_cases[] = {
    KL(.rows = 1, .per_row = 1, .V = 317),
    KL(.rows = 3, .per_row = 2, .V = 317, .reverse = 2),
    KL(.rows = 5, .per_row = 1, .V = 5000, .reverse = 1, .softcap = 30),
    KL(.rows = 2, .per_row = 3, .V = 50, .softcap = 10),
    KL(.rows = 2, .per_row = 1, .V = 100, .reverse = 2, .slice = true),
    KL(.rows = 2, .per_row = 1, .V = 2, .reverse = 2),
    KL(.rows = 3, .per_row = 1, .V = 32003, .reverse = 2),
    KL(.rows = 0, .per_row = 1, .V = 317),
    {NULL, NULL, NULL},
};
