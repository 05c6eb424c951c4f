/* Every filling against ref, on the table of tests/op_cases.h. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/op_cases.h"
#include "tests/op_fillings.h"

/* Relative, norm of the difference over norm. A bf16 filling may in addition make twice the error that ref
 * makes when it rounds every input of a matrix product to bf16. */
static const double tolerance = 1e-5;

TEST_GPU(ops)

ParameterizedTestParameters(ops, like_ref)
{
    return op_filling_numbers();
}

ParameterizedTestParameters(ops, same_bytes_twice)
{
    return op_filling_numbers();
}

ParameterizedTestParameters(ops, nothing_after_a_failure)
{
    return op_filling_numbers();
}

ParameterizedTestParameters(ops, split_vocabulary)
{
    return op_filling_numbers();
}

static osv_ops *must_open(int (*open)(osv_ops **, osv_dtype, osv_error *), osv_dtype dtype, osv_error *error)
{
    osv_ops *o;
    *error = (osv_error){0};
    cr_assert_eq(open(&o, dtype, error), OSV_OK, "%s", error->text);
    return o;
}

static const op_case *next_case(int *list, int *index)
{
    if (!op_case_lists[*list][*index].kind) {
        *index = 0;
        if (!op_case_lists[++*list]) return NULL;
    }
    return &op_case_lists[*list][(*index)++];
}

static void must_run(op_call *c, const op_case *at, osv_ops *o)
{
    char why[256];
    op_call_make(c, at->kind, at->shape, o);
    op_call_run(c);
    cr_assert_eq(osv_ops_status(o), OSV_OK, "%s (%s): %s", at->kind->name, at->text, o->error->text);
    cr_expect(op_intact(c, why, sizeof why), "%s (%s): %s", at->kind->name, at->text, why);
}

static bool compared(const op_buffer *b)
{
    return b->role == OP_OUTPUT || b->role == OP_UPDATED;
}

/* The error of buffer i of two calls; of bytes, 0 or infinity. */
static double error_of(const op_call *a, const op_call *b, int i)
{
    osv_real *x = op_read(a, i), *y = op_read(b, i);
    double error = a->buffer[i].real                  ? op_error(x, y, op_count(a, i), a->buffer[i].unit)
                   : memcmp(x, y, a->buffer[i].bytes) ? INFINITY
                                                      : 0;
    free(x);
    free(y);
    return error;
}

ParameterizedTest(const int *number, ops, like_ref, .timeout = 600)
{
    const op_filling *f = &op_fillings[*number];
    osv_error errors[3];
    osv_ops *o = must_open(f->open, f->dtype, &errors[0]);
    osv_ops *ref = must_open(osv_ref_open, OSV_DTYPE_F32, &errors[1]);
    osv_ops *rounded = must_open(osv_ref_open, f->dtype, &errors[2]);
    int list = 0, index = 0;
    double worst = 0;
    for (const op_case *at; (at = next_case(&list, &index));) {
        op_call a, b, c;
        must_run(&a, at, o);
        must_run(&b, at, ref);
        must_run(&c, at, rounded);
        for (int i = 0; i < a.buffers; i++) {
            if (!compared(&a.buffer[i])) continue;
            double error = error_of(&a, &b, i), budget = 2 * error_of(&c, &b, i) + tolerance;
            cr_expect(error <= budget, "%s, %s (%s): %s differs by %.3g, more than %.3g", f->name,
                      at->kind->name, at->text, a.buffer[i].name, error, budget);
            if (!(error / budget <= worst)) worst = error / budget;
        }
        op_call_free(&a);
        op_call_free(&b);
        op_call_free(&c);
    }
    cr_log_info("%s: at most %.3g of the error allowed", f->name, worst);
    o->close(o);
    ref->close(ref);
    rounded->close(rounded);
}

ParameterizedTest(const int *number, ops, same_bytes_twice, .timeout = 600)
{
    const op_filling *f = &op_fillings[*number];
    osv_error error;
    osv_ops *o = must_open(f->open, f->dtype, &error);
    int list = 0, index = 0;
    for (const op_case *at; (at = next_case(&list, &index));) {
        op_call a, b;
        must_run(&a, at, o);
        must_run(&b, at, o);
        for (int i = 0; i < a.buffers; i++) {
            osv_real *x = op_read(&a, i), *y = op_read(&b, i);
            cr_expect(!compared(&a.buffer[i]) || memcmp(x, y, a.buffer[i].bytes) == 0, "%s, %s (%s): %s",
                      f->name, at->kind->name, at->text, a.buffer[i].name);
            free(x);
            free(y);
        }
        op_call_free(&a);
        op_call_free(&b);
    }
    o->close(o);
}

ParameterizedTest(const int *number, ops, nothing_after_a_failure, .timeout = 600)
{
    const op_filling *f = &op_fillings[*number];
    osv_error error;
    osv_ops *o = must_open(f->open, f->dtype, &error);
    int list = 0, index = 0;
    for (const op_case *at; (at = next_case(&list, &index));) {
        op_call c;
        op_call_make(&c, at->kind, at->shape, o);
        OSV_FAIL(o->error, OSV_BAD_INPUT, "the first failure");
        op_call_run(&c);
        cr_expect_eq(osv_ops_status(o), OSV_BAD_INPUT);
        *o->error = (osv_error){0};
        for (int i = 0; i < c.buffers; i++) {
            osv_real *x = op_read(&c, i);
            cr_expect(memcmp(x, c.buffer[i].initial, c.buffer[i].bytes) == 0, "%s, %s (%s): %s was written",
                      f->name, at->kind->name, at->text, c.buffer[i].name);
            free(x);
        }
        op_call_free(&c);
    }
    o->close(o);
}

/* ---- the vocabulary in slices, reduced by hand as ranks would ---- */

enum { SLICES = 3, MAX_ROWS = 128, MAX_LOSSES = 4096 };

typedef struct {
    osv_real *z;
    int first_id, V;
    int at_z, at_max, at_sum;
} slice;

/* Columns `from` .. `to` - 1 of a whole problem's logits. */
static void cut(slice *part, const score_shape *s, const osv_real *z, int from, int to)
{
    *part = (slice){
        .first_id = from, .V = to - from, .z = malloc((size_t)s->R * (size_t)(to - from) * sizeof *z)};
    for (int r = 0; r < s->R; r++)
        for (int j = from; j < to; j++) part->z[r * part->V + j - from] = z[r * s->V + j];
}

/* Runs the three stages on slices; leaves dz of all columns in z. `c` holds the whole problem. */
static void run_sliced(const op_call *c, osv_real *z)
{
    const score_shape *s = c->shape;
    osv_ops *o = c->o;
    op_call parts = {.o = o};
    osv_scores scores = op_scores(c);
    int border[SLICES + 1] = {0, s->V / 5, s->V / 2, s->V}, S = scores.S;
    slice part[SLICES];
    osv_real max[MAX_ROWS], sum[2 * MAX_LOSSES] = {0};
    for (int r = 0; r < s->R; r++) max[r] = -INFINITY;
    for (int i = 0; i < SLICES; i++) {
        slice *p = &part[i];
        cut(p, s, c->buffer[SCORE_Z].initial, border[i], border[i + 1]);
        p->at_z = op_given(&parts, "slice of z", OP_UPDATED, p->z, (size_t)s->R * (size_t)p->V);
        p->at_max = op_poisoned(&parts, "max", OP_OUTPUT, (size_t)s->R);
        o->score_max(o, op_at(&parts, p->at_max), op_at(&parts, p->at_z), s->R, p->V);
        osv_real *own = op_read(&parts, p->at_max);
        for (int r = 0; r < s->R; r++) max[r] = own[r] > max[r] ? own[r] : max[r];
        free(own);
    }
    int at_max = op_given(&parts, "reduced max", OP_INPUT, max, (size_t)s->R);
    for (int i = 0; i < SLICES; i++) {
        slice *p = &part[i];
        p->at_sum = op_poisoned(&parts, "sum", OP_OUTPUT, 2 * (size_t)S);
        scores.first_id = p->first_id;
        o->score_sum(o, op_at(&parts, p->at_sum), op_at(&parts, p->at_z), op_at(&parts, at_max), &scores,
                     p->V);
        osv_real *own = op_read(&parts, p->at_sum);
        for (int k = 0; k < 2 * S; k++) sum[k] += own[k];
        free(own);
    }
    int at_sum = op_given(&parts, "reduced sum", OP_INPUT, sum, 2 * (size_t)S);
    for (int i = 0; i < SLICES; i++) {
        slice *p = &part[i];
        scores.first_id = p->first_id;
        o->score_dx(o, op_at(&parts, p->at_z), op_at(&parts, at_max), op_at(&parts, at_sum),
                    op_at(c, SCORE_LAST), &scores, p->V);
        osv_real *dz = op_read(&parts, p->at_z);
        for (int r = 0; r < s->R; r++)
            for (int j = 0; j < p->V; j++) z[r * s->V + p->first_id + j] = dz[r * p->V + j];
        free(dz);
        free(p->z);
    }
    op_call_free(&parts);
}

ParameterizedTest(const int *number, ops, split_vocabulary)
{
    const op_filling *f = &op_fillings[*number];
    osv_error error;
    osv_ops *o = must_open(f->open, f->dtype, &error);
    for (int i = 0; op_head_cases[i].kind; i++) {
        const op_case *at = &op_head_cases[i];
        const score_shape *s = at->shape;
        if (at->kind != &op_score_dx || s->first_id || s->R == 0) continue;
        op_call c;
        op_call_make(&c, at->kind, s, o);
        osv_real *sliced = malloc(c.buffer[SCORE_Z].bytes);
        run_sliced(&c, sliced);
        op_call_run(&c);
        osv_real *whole = op_read(&c, SCORE_Z);
        double difference = op_error(sliced, whole, op_count(&c, SCORE_Z), 0);
        cr_expect(difference <= tolerance, "%s, %s: slices differ by %.3g", f->name, at->text, difference);
        cr_assert_eq(osv_ops_status(o), OSV_OK, "%s", error.text);
        free(sliced);
        free(whole);
        op_call_free(&c);
    }
    o->close(o);
}
