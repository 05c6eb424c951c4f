/* Cases by hand: a test that runs on every f32 filling, buffers from array literals, and what should be in
 * them afterwards. Nothing here owns anything: buffers belong to the call, fillings are closed after the
 * test. */
#ifndef OSV_TESTS_OP_HAND_H
#define OSV_TESTS_OP_HAND_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "tests/op_check.h"
#include "tests/op_fillings.h"

/* Runs `test` on each filling of f32, in one process. */
static inline void each_filling(void (*test)(osv_ops *o))
{
    for (int i = 0; i < op_fillings_here(); i++) {
        if (op_fillings[i].dtype != OSV_DTYPE_F32) continue;
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(op_fillings[i].open(&o, OSV_DTYPE_F32, &error), OSV_OK, "%s", error.text);
        test(o);
        cr_expect_eq(osv_ops_status(o), OSV_OK, "%s: %s", op_fillings[i].name, error.text);
        o->close(o);
    }
}

#define TEST_EACH(suite, test)    \
    static void test(osv_ops *o); \
    Test(suite, test)             \
    {                             \
        each_filling(test);       \
    }                             \
    static void test(osv_ops *o)

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* Buffers of a call from array literals. */
#define REALS(c, ...)                                                 \
    op_given(c, "given", OP_UPDATED, (const osv_real[]){__VA_ARGS__}, \
             COUNT(((const osv_real[]){__VA_ARGS__})))
#define INTS(c, ...) op_bytes(c, "given", (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}))

/* |x - expected| <= tolerance |expected| for each; exactly where tolerance is 0. */
static inline void expect(const op_call *c, int buffer, const double *expected, size_t n, double tolerance,
                          int line)
{
    osv_real *x = op_read(c, buffer);
    cr_assert_eq(op_count(c, buffer), n, "line %d: %zu values", line, op_count(c, buffer));
    for (size_t i = 0; i < n; i++)
        cr_expect(fabs(x[i] - expected[i]) <= tolerance * fabs(expected[i]),
                  "%s, line %d: element %zu is %.9g and should be %.9g", c->o->name, line, i, x[i],
                  expected[i]);
    free(x);
}

#define EXPECT(c, buffer, tolerance, ...)                                                               \
    expect(c, buffer, (const double[]){__VA_ARGS__}, COUNT(((const double[]){__VA_ARGS__})), tolerance, \
           __LINE__)

#endif
