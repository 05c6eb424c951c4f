/* The cpu filling cuts work by shape alone: the bytes of every result are the same for any number of threads.
 * On the table of tests/op_cases.h, and on shapes large enough to be cut into many items, which are also held
 * against ref. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/op_cases.h"

/* Each product by all three ways of the cpu filling (few, some, many rows), with several panels, several
 * blocks of depth and ragged ends; rows of logits in several blocks; attention over more keys than a block.
 */
#define MATMUL(...) \
    OP_CASE(op_matmul, matmul_shape, __VA_ARGS__), OP_CASE(op_matmul_dx, matmul_shape, __VA_ARGS__)
#define SCORE(...)                                                                                    \
    OP_CASE(op_score_max, score_shape, __VA_ARGS__), OP_CASE(op_score_sum, score_shape, __VA_ARGS__), \
        OP_CASE(op_score, score_shape, __VA_ARGS__), OP_CASE(op_score_dx, score_shape, __VA_ARGS__)
#define ATTENTION(...)                                   \
    OP_CASE(op_attention, attention_shape, __VA_ARGS__), \
        OP_CASE(op_attention_dx, attention_shape, __VA_ARGS__)

static const op_forest_shape long_prompt = {
    .name = "frozen prompt of 300, two completions",
    .segment = {{-1, 300, true}, {0, 150, false}, {0, 40, false}, {1, 3, false}},
};

static const op_case large_cases[] = {
    MATMUL(.rows = 1, .cols = 1100, .n = 2, .outputs = {700, 3}, .format = OSV_BF16),
    MATMUL(.rows = 3, .cols = 530, .n = 3, .outputs = {513, 1, 70}, .format = OSV_F16),
    MATMUL(.rows = 4, .cols = 1030, .n = 1, .outputs = {2100}, .format = OSV_F32),
    MATMUL(.rows = 5, .cols = 1100, .n = 3, .outputs = {1030, 7, 300}, .format = OSV_BF16),
    MATMUL(.rows = 16, .cols = 530, .n = 1, .outputs = {2100}, .format = OSV_F16),
    MATMUL(.rows = 50, .cols = 1100, .n = 2, .outputs = {530, 530}, .format = OSV_F32),
    MATMUL(.rows = 64, .cols = 700, .n = 1, .outputs = {900}, .format = OSV_BF16),
    MATMUL(.rows = 65, .cols = 1100, .n = 3, .outputs = {530, 130, 1}, .format = OSV_F16),
    MATMUL(.rows = 600, .cols = 530, .n = 2, .outputs = {300, 130}, .format = OSV_BF16),
    MATMUL(.rows = 530, .cols = 300, .n = 1, .outputs = {600}, .format = OSV_F32),
    OP_CASE(op_rmsnorm, norm_shape, .rows = 300, .D = 530, .scale = 1, .format = OSV_BF16),
    OP_CASE(op_rmsnorm_dx, norm_shape, .rows = 300, .D = 530, .scale = 1, .format = OSV_BF16),
    OP_CASE(op_glu, glu_shape, .n = 200000, .act = OSV_SILU),
    OP_CASE(op_glu_dx, glu_shape, .n = 200000, .act = OSV_GELU_TANH),
    OP_CASE(op_softcap, score_shape, .R = 7, .V = 40000, .softcap = 30),
    SCORE(.R = 7, .V = 20000, .per_row = 5, .kind = OSV_ONE_MINUS, .eps = 1e-6),
    SCORE(.R = 1, .V = 50001, .per_row = 1, .kind = OSV_PROMOTE, .eps = 1e-6, .softcap = 30),
    OP_CASE(op_apply_dp, site_shape, .T = 200, .row = 10, .jobs = 3, .per_job = 60, .J = 5, .D = 800),
    OP_CASE(op_adam, adam_shape, .D = 20000, .J = 7, .step = 3, .max_norm = 2),
    OP_CASE(op_norm, adam_shape, .D = 20000, .J = 7),
    OP_CASE(op_penalty, penalty_shape, .J = 7, .D = 20000, .blocks = 2, .rank = 2, .l1 = 1, .norm = 1),
    ATTENTION(.forest = &long_prompt, .heads = {9, 1, 48, 0, 9}),
    ATTENTION(.forest = &long_prompt, .heads = {4, 2, 64, 0, 2}, .window = 100, .softcap = 50),
    {0},
};

static osv_ops *must_open(osv_dtype dtype, int threads, osv_error *error)
{
    osv_ops *o;
    *error = (osv_error){0};
    cr_assert_eq(osv_cpu_open(&o, dtype, threads, error), OSV_OK, "%s", error->text);
    return o;
}

static bool compared(const op_buffer *b)
{
    return b->role == OP_OUTPUT || b->role == OP_UPDATED;
}

/* One case with 1, 2, 3 and 7 threads. */
static void check_threads(const op_case *at, osv_dtype dtype)
{
    static const int threads[] = {1, 2, 3, 7};
    enum { TIMES = sizeof threads / sizeof *threads };
    op_call call[TIMES];
    osv_ops *o[TIMES];
    osv_error error[TIMES];
    for (int i = 0; i < TIMES; i++) {
        o[i] = must_open(dtype, threads[i], &error[i]);
        op_call_make(&call[i], at->kind, at->shape, o[i]);
        op_call_run(&call[i]);
        cr_assert_eq(error[i].status, OSV_OK, "%s (%s): %s", at->kind->name, at->text, error[i].text);
        for (int b = 0; i > 0 && b < call[0].buffers; b++) {
            if (!compared(&call[0].buffer[b])) continue;
            osv_real *one = op_read(&call[0], b), *more = op_read(&call[i], b);
            cr_expect(memcmp(one, more, call[0].buffer[b].bytes) == 0, "%s (%s): %s differs with %d threads",
                      at->kind->name, at->text, call[0].buffer[b].name, threads[i]);
            free(one);
            free(more);
        }
    }
    for (int i = 0; i < TIMES; i++) {
        op_call_free(&call[i]);
        o[i]->close(o[i]);
    }
}

Test(cpu_threads, same_bytes, .timeout = 600)
{
    for (int list = 0; op_case_lists[list]; list++)
        for (const op_case *at = op_case_lists[list]; at->kind; at++) check_threads(at, OSV_DTYPE_F32);
}

Test(cpu_threads, same_bytes_large, .timeout = 600)
{
    for (const op_case *at = large_cases; at->kind; at++) check_threads(at, OSV_DTYPE_F32);
}

Test(cpu_threads, same_bytes_bf16, .timeout = 600)
{
    for (const op_case *at = large_cases; at->kind; at++)
        if (at->kind == &op_matmul || at->kind == &op_matmul_dx) check_threads(at, OSV_DTYPE_BF16);
}

Test(cpu_threads, large_like_ref, .timeout = 600)
{
    osv_error errors[2] = {0};
    osv_ops *ref, *o = must_open(OSV_DTYPE_F32, 2, &errors[0]);
    cr_assert_eq(osv_ref_open(&ref, OSV_DTYPE_F32, &errors[1]), OSV_OK);
    for (const op_case *at = large_cases; at->kind; at++) {
        op_call a, b;
        char why[256];
        op_call_make(&a, at->kind, at->shape, o);
        op_call_make(&b, at->kind, at->shape, ref);
        op_call_run(&a);
        op_call_run(&b);
        cr_assert_eq(errors[0].status, OSV_OK, "%s", errors[0].text);
        cr_expect(op_intact(&a, why, sizeof why), "%s (%s): %s", at->kind->name, at->text, why);
        for (int i = 0; i < a.buffers; i++) {
            if (!compared(&a.buffer[i])) continue;
            osv_real *x = op_read(&a, i), *y = op_read(&b, i);
            double difference = op_error(x, y, op_count(&a, i), a.buffer[i].unit);
            cr_expect(difference <= 1e-5, "%s (%s): %s differs by %.3g", at->kind->name, at->text,
                      a.buffer[i].name, difference);
            free(x);
            free(y);
        }
        op_call_free(&a);
        op_call_free(&b);
    }
    o->close(o);
    ref->close(ref);
}
