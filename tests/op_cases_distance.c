/* Rows of the residual stream against where they are without a vector. */
#include <stdlib.h>

#include "tests/op_cases.h"

enum { DISTANCE_ROW = DISTANCE_W + 1, DISTANCE_POWER };

/* Every other row of x, from behind. */
static int distance_row(const op_call *c, int m)
{
    const distance_shape *s = c->shape;
    return 2 * (s->M - 1 - m);
}

osv_distances op_distances(const op_call *c)
{
    const distance_shape *s = c->shape;
    return (osv_distances){.M = s->M, .row = op_int_at(c, DISTANCE_ROW), .power = op_at(c, DISTANCE_POWER)};
}

/* x0 is as near to x as `apart` says; in every third row it is x. */
static void make(op_call *c, bool back)
{
    const distance_shape *s = c->shape;
    size_t M = (size_t)s->M, D = (size_t)s->D, n = 2 * M * D;
    osv_real *x = malloc((n + M * D + M + 1) * sizeof *x), *x0 = x + n, *power = x0 + M * D;
    if (!x) {
        OSV_FAIL(c->o->error, OSV_DEVICE, "out of memory for a test");
        return;
    }
    for (size_t i = 0; i < n; i++) x[i] = (osv_real)(10 * op_uniform(&c->random));
    for (int m = 0; m < s->M; m++) {
        const osv_real *row = x + (size_t)distance_row(c, m) * D;
        power[m] = (osv_real)s->power[m % 3];
        for (size_t d = 0; d < D; d++)
            x0[(size_t)m * D + d] = m % 3 == 2 ? row[d]
                                               : row[d] + (osv_real)(s->apart * op_uniform(&c->random));
    }
    op_poisoned(c, back ? "dx" : "loss", OP_OUTPUT, back ? M * D : M);
    op_given(c, "x", OP_INPUT, x, n);
    op_given(c, "x0", OP_INPUT, x0, M * D);
    op_random(c, "w", OP_INPUT, M, 1);
    op_ints(c, "row", s->M, distance_row);
    op_given(c, "power", OP_INPUT, power, M);
    free(x);
}

static void distance_make(op_call *c)
{
    make(c, false);
}

static void distance_dx_make(op_call *c)
{
    make(c, true);
}

static void distance_run(op_call *c)
{
    const distance_shape *s = c->shape;
    osv_distances distances = op_distances(c);
    c->o->distance(c->o, op_at(c, DISTANCE_OUT), op_at(c, DISTANCE_X), op_at(c, DISTANCE_X0), &distances,
                   s->D);
}

static void distance_dx_run(op_call *c)
{
    const distance_shape *s = c->shape;
    osv_distances distances = op_distances(c);
    c->o->distance_dx(c->o, op_at(c, DISTANCE_OUT), op_at(c, DISTANCE_X), op_at(c, DISTANCE_X0),
                      op_at(c, DISTANCE_W), &distances, s->D);
}

const op_kind op_distance = {"distance", distance_make, distance_run};
const op_kind op_distance_dx = {"distance_dx", distance_dx_make, distance_dx_run};

#define DISTANCE(...) \
    OP_CASE(op_distance, distance_shape, __VA_ARGS__), OP_CASE(op_distance_dx, distance_shape, __VA_ARGS__)

const op_case op_distance_cases[] = {
    DISTANCE(.M = 1, .D = 48, .apart = 5, .power = {1}),
    DISTANCE(.M = 65, .D = 317, .apart = 5, .power = {1, 2, 1}),
    DISTANCE(.M = 7, .D = 2304, .apart = 0.3, .power = {1, 1.5, 2}),
    DISTANCE(.M = 5, .D = 8192, .apart = 2, .power = {4, 1, 1}),
    DISTANCE(.M = 4, .D = 1, .apart = 3, .power = {2, 1, 3}),
    DISTANCE(.M = 0, .D = 48, .power = {1}),
    {NULL, NULL, NULL},
};
