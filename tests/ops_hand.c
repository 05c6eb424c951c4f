/* Cases solved by hand, on every f32 filling. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/op_hand.h"

TEST_GPU(ops_hand)

/* ---- head ---- */

/* Losses and dz of scores on rows of logits, with w = 1. */
typedef struct {
    op_call c;
    int z, loss;
} scored;

static scored score(osv_ops *o, const osv_real *z, int R, int V, const int *first, const int *target,
                    const int *kind, osv_real coldness, osv_real eps)
{
    scored s = {.c = {.o = o}};
    op_call *c = &s.c;
    int S = first[R];
    osv_real ones[8], coldnesses[8], epses[8];
    for (int i = 0; i < 8; i++) {
        ones[i] = 1;
        coldnesses[i] = coldness;
        epses[i] = eps;
    }
    s.z = op_given(c, "z", OP_UPDATED, z, (size_t)R * (size_t)V);
    s.loss = op_poisoned(c, "loss", OP_OUTPUT, (size_t)S);
    int max = op_poisoned(c, "max", OP_OUTPUT, (size_t)R),
        sum = op_poisoned(c, "sum", OP_OUTPUT, 2 * (size_t)S);
    int at_first = op_bytes(c, "first", first, (size_t)(R + 1) * sizeof *first);
    int at_target = op_bytes(c, "target", target, (size_t)S * sizeof *target);
    int at_kind = op_bytes(c, "kind", kind, (size_t)S * sizeof *kind);
    int at_coldness = op_given(c, "coldness", OP_INPUT, coldnesses, (size_t)R);
    int at_eps = op_given(c, "eps", OP_INPUT, epses, (size_t)R);
    int w = op_given(c, "w", OP_INPUT, ones, (size_t)S);
    osv_scores scores = {.R = R,
                         .S = S,
                         .first = op_int_at(c, at_first),
                         .target = op_int_at(c, at_target),
                         .kind = op_int_at(c, at_kind),
                         .coldness = op_at(c, at_coldness),
                         .eps = op_at(c, at_eps)};
    o->score_max(o, op_at(c, max), op_at(c, s.z), R, V);
    o->score_sum(o, op_at(c, sum), op_at(c, s.z), op_at(c, max), &scores, V);
    o->score(o, op_at(c, s.loss), op_at(c, sum), &scores);
    o->score_dx(o, op_at(c, s.z), op_at(c, max), op_at(c, sum), op_at(c, w), &scores, V);
    return s;
}

/* One row, one score. */
static scored score_one(osv_ops *o, const osv_real *z, int V, int target, osv_score_kind kind,
                        double coldness, double eps)
{
    return score(o, z, 1, V, (const int[]){0, 1}, &target, (const int[]){(int)kind}, (osv_real)coldness,
                 (osv_real)eps);
}

/* Logits 0 and ln 3: P = 1/4 and 3/4. */
TEST_EACH(ops_hand, two_tokens)
{
    const osv_real z[2] = {0, (osv_real)log(3)};
    scored s = score_one(o, z, 2, 1, OSV_PROMOTE, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, -log(0.75));
    EXPECT(&s.c, s.z, 1e-6, 0.25, -0.25);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 0, OSV_PROMOTE, 1, 0.05);
    EXPECT(&s.c, s.loss, 1e-6, -log(0.3));
    EXPECT(&s.c, s.z, 1e-6, -0.25 / 0.3 * 0.75, 0.25 / 0.3 * 0.75);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_ONE_MINUS, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, -log(0.25));
    EXPECT(&s.c, s.z, 1e-6, -0.75, 0.75);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_NEGATED, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, log(0.75));
    EXPECT(&s.c, s.z, 1e-6, -0.25, 0.25);
    op_call_free(&s.c);
    /* coldness 2 makes 1 : 9, and doubles the slope */
    s = score_one(o, z, 2, 0, OSV_PROMOTE, 2, 0);
    EXPECT(&s.c, s.loss, 1e-6, -log(0.1));
    EXPECT(&s.c, s.z, 1e-6, -1.8, 1.8);
    op_call_free(&s.c);
}

/* P = 1 - 1e-12, far beyond what 1 - P can say in float. */
TEST_EACH(ops_hand, complement_of_a_sure_token)
{
    const osv_real z[3] = {(osv_real)-27.631021115928547, 0, (osv_real)-200};
    double rest = exp(z[0]); /* 1e-12 but for the rounding of z */
    scored s = score_one(o, z, 3, 1, OSV_ONE_MINUS, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, -log(1e-12));
    EXPECT(&s.c, s.loss, 2e-7, -log(rest));
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_ONE_MINUS, 1, 0);
    EXPECT(&s.c, s.z, 1e-5, -1, 1);
    op_call_free(&s.c);
    s = score_one(o, z, 3, 1, OSV_PROMOTE, 1, 0);
    EXPECT(&s.c, s.loss, 1e-5, rest);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_PROMOTE, 1, 0);
    EXPECT(&s.c, s.z, 1e-5, rest, -rest);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_ONE_MINUS, 1, 1e-6);
    EXPECT(&s.c, s.loss, 1e-6, -log(1e-6 + rest));
    EXPECT(&s.c, s.z, 1e-5, -rest / 1e-6, rest / 1e-6);
    op_call_free(&s.c);
}

/* P = e^-200 is no float; its logarithm is. */
TEST_EACH(ops_hand, underflowing_token)
{
    const osv_real z[2] = {0, -200};
    scored s = score_one(o, z, 2, 1, OSV_PROMOTE, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, 200);
    EXPECT(&s.c, s.z, 1e-6, 1, -1);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_PROMOTE, 1, 1e-6);
    EXPECT(&s.c, s.loss, 1e-6, -log(1e-6));
    EXPECT(&s.c, s.z, 0, 0, 0);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_NEGATED, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, -200);
    EXPECT(&s.c, s.z, 1e-6, -1, 1);
    op_call_free(&s.c);
    s = score_one(o, z, 2, 1, OSV_ONE_MINUS, 1, 0);
    EXPECT(&s.c, s.loss, 0, 0);
    EXPECT(&s.c, s.z, 0, 0, 0);
    op_call_free(&s.c);
}

/* A row without scores; one with the same target promoted and negated; one with two targets. */
TEST_EACH(ops_hand, shared_rows)
{
    const osv_real z[] = {1, 2, 3, 0, 0, 0, (osv_real)log(2), 0, 0};
    scored s = score(o, z, 3, 3, (const int[]){0, 0, 2, 4}, (const int[]){1, 1, 0, 1},
                     (const int[]){OSV_PROMOTE, OSV_NEGATED, OSV_PROMOTE, OSV_ONE_MINUS}, 1, 0);
    EXPECT(&s.c, s.loss, 1e-6, log(3), -log(3), -log(0.5), -log(0.75));
    osv_real *dz = op_read(&s.c, s.z);
    for (int j = 0; j < 3; j++) {
        cr_expect_eq(dz[j], 0);
        cr_expect(fabs(dz[3 + j]) <= 1e-7);
    }
    /* promote 0: (-1/2, 1/4, 1/4); one minus 1: P / Q = 1/3 of (-1/2, 3/4, -1/4) */
    const double expected[] = {-0.5 - 0.5 / 3, 0.25 + 0.25, 0.25 - 0.25 / 3};
    for (int j = 0; j < 3; j++) cr_expect(fabs(dz[6 + j] - expected[j]) <= 1e-6, "%g", dz[6 + j]);
    free(dz);
    op_call_free(&s.c);
}

/* Losses 1, 3 and a constant 2; c0 = mean of the first two with target 1.5, c1 = second and constant. */
TEST_EACH(ops_hand, objective_weights)
{
    op_call c = {.o = o};
    int w = op_poisoned(&c, "w", OP_OUTPUT, 2), completion = op_poisoned(&c, "completion", OP_OUTPUT, 2);
    int loss = REALS(&c, 1, 3, 2), first = INTS(&c, 0, 2, 4), score = INTS(&c, 0, 1, 1, 2);
    int scale = REALS(&c, 0.5, 1), target = REALS(&c, 1.5, NAN), weight = REALS(&c, 1, 1);
    int partner = INTS(&c, -1, -1), bound = REALS(&c, NAN, NAN);
    osv_objective objective = {.C = 2,
                               .first = op_int_at(&c, first),
                               .score = op_int_at(&c, score),
                               .scale = op_at(&c, scale),
                               .target = op_at(&c, target),
                               .weight = op_at(&c, weight),
                               .partner = op_int_at(&c, partner),
                               .bound = op_at(&c, bound)};
    o->objective(o, op_at(&c, w), op_at(&c, completion), op_at(&c, loss), &objective, 2);
    EXPECT(&c, completion, 1e-6, 2, 5);
    EXPECT(&c, w, 1e-6, 0.5, 1.5);
    op_call_free(&c);
}

/* Losses 1 and 4 of a chosen and a rejected completion, 2 and 3 unsteered, beta 0.5 ln 3: the margin is
 * 0.5 ln 3 ((2 - 1) - (3 - 4)) = ln 3, so sigmoid(-m) is a quarter. A third completion counts threefold. */
TEST_EACH(ops_hand, objective_preference)
{
    op_call c = {.o = o};
    const double beta = 0.5 * log(3);
    int w = op_poisoned(&c, "w", OP_OUTPUT, 3), completion = op_poisoned(&c, "completion", OP_OUTPUT, 3);
    int loss = REALS(&c, 1, 4, 7), first = INTS(&c, 0, 1, 2, 3), score = INTS(&c, 0, 1, 2);
    int scale = REALS(&c, 1, 1, 1), target = REALS(&c, NAN, NAN, NAN), weight = REALS(&c, 1, 1, 3);
    int partner = INTS(&c, 1, 0, -1), betas = REALS(&c, beta, -beta, 0), reference = REALS(&c, 2, 3, 0);
    int bound = REALS(&c, NAN, NAN, NAN);
    osv_objective objective = {.C = 3,
                               .first = op_int_at(&c, first),
                               .score = op_int_at(&c, score),
                               .scale = op_at(&c, scale),
                               .weight = op_at(&c, weight),
                               .target = op_at(&c, target),
                               .partner = op_int_at(&c, partner),
                               .beta = op_at(&c, betas),
                               .reference = op_at(&c, reference),
                               .bound = op_at(&c, bound)};
    o->objective(o, op_at(&c, w), op_at(&c, completion), op_at(&c, loss), &objective, 3);
    EXPECT(&c, completion, 0, 1, 4, 7);
    EXPECT(&c, w, 1e-6, 0.25 * beta, -0.25 * beta, 3);
    op_call_free(&c);
}

/* A loss of 3 with the bound 1 has no slack: violation 2, so the slope is 0.5 + 2 and lambda goes up by its
 * rate. One of 1 with the bound 5 has all of the slack it needs, whose multiplier has no reason to move; nor
 * may one go below 0 where the slack is too small. The last one rests. */
TEST_EACH(ops_hand, bounds)
{
    enum { C = 4, NUMBERS = 6 };
    op_call c = {.o = o};
    const osv_adam_params step = {.lr = (osv_real)0.25,
                                  .beta1 = (osv_real)0.5,
                                  .eps = (osv_real)1e-20,
                                  .correction1 = (osv_real)0.5},
                          params[C] = {step, step, step, {.lr = 0}};
    int w = op_poisoned(&c, "w", OP_OUTPUT, C), L = op_poisoned(&c, "completion", OP_OUTPUT, C);
    int loss = REALS(&c, 3, 1, 1, 3), first = INTS(&c, 0, 1, 2, 3, 4), score = INTS(&c, 0, 1, 2, 3);
    int scale = REALS(&c, 1, 1, 1, 1), target = REALS(&c, NAN, NAN, NAN, NAN), weight = REALS(&c, 1, 1, 2, 1);
    int partner = INTS(&c, -1, -1, -1, -1), bound = REALS(&c, 1, 5, 5, 1);
    int multiplier = REALS(&c, 0.5, NAN, 0, 0, 0, 0, /**/ 0, NAN, 0, 0, 0, 0, /**/ 0.125, 1, 0, 0, 0, 0,
                           /**/ 7, 3, 0, 0, 0, 0);
    int at = op_bytes(&c, "params", params, sizeof params);
    osv_objective objective = {.C = C,
                               .first = op_int_at(&c, first),
                               .score = op_int_at(&c, score),
                               .scale = op_at(&c, scale),
                               .weight = op_at(&c, weight),
                               .target = op_at(&c, target),
                               .partner = op_int_at(&c, partner),
                               .bound = op_at(&c, bound),
                               .multiplier = (osv_multiplier *)op_at(&c, multiplier)};
    o->objective(o, op_at(&c, w), op_at(&c, L), op_at(&c, loss), &objective, C);
    EXPECT(&c, L, 0, 3, 1, 1, 3);
    EXPECT(&c, w, 0, 2.5, 0, 2 * (0.125 - 3), 7 + 2 + 9);
    o->multipliers(o, op_at(&c, L), &objective, (const void *)op_at(&c, at));
    EXPECT(&c, multiplier, 1e-6, 0.75, 0, 1, 2, 0, 1e-20, /**/ 0, 2, 0, 1e-20, 0, 1e-20, /**/ 0, 1.25, -3, 6,
           -5.75, 11.5,
           /**/ 7, 3, 0, 0, 0, 0);
    op_call_free(&c);
}

/* ---- block ---- */

/* Keys at positions 0 .. 2 of one segment; q.k / scale are given by the first component. */
static op_call attend(osv_ops *o, const osv_real *logits, int window, int *out, int *lse)
{
    enum { E = 4 };
    op_call c = {.o = o};
    osv_real q[3 * E] = {0}, k[3 * E] = {0}, v[3 * E] = {0};
    for (int i = 0; i < 3; i++) {
        q[i * E] = 1;
        k[i * E] = logits[i];
        v[i * E + i] = 1;
    }
    int at_q = op_given(&c, "q", OP_INPUT, q, 3 * E), at_k = op_given(&c, "k", OP_INPUT, k, 3 * E);
    int at_v = op_given(&c, "v", OP_INPUT, v, 3 * E);
    *out = op_poisoned(&c, "out", OP_OUTPUT, 3 * E);
    *lse = op_poisoned(&c, "lse", OP_OUTPUT, 3);
    int pos = INTS(&c, 0, 1, 2), tile = INTS(&c, 0, 3, 0, 1), range = INTS(&c, 0, 3, 0);
    int kv_tile = INTS(&c, 0, 3, 0, 0, 3);
    osv_worklist work = {.rows = 3,
                         .pos = op_int_at(&c, pos),
                         .query_tile = (const void *)op_at(&c, tile),
                         .query_tiles = 1,
                         .kv_range = (const void *)op_at(&c, range),
                         .kv_ranges = 1,
                         .kv_tile = (const void *)op_at(&c, kv_tile),
                         .kv_tiles = 1,
                         .max_keys = 3};
    osv_attention a = {.heads = {1, 1, E, 0, 1}, .scale = 1, .window = window};
    o->attention(o, op_at(&c, *out), op_at(&c, *lse), op_at(&c, at_q), op_at(&c, at_k), op_at(&c, at_v),
                 &work, &a);
    return c;
}

/* Logits of +-1e4 leave one key, exactly. */
TEST_EACH(ops_hand, attention_one_hot)
{
    int out, lse;
    op_call c = attend(o, (const osv_real[]){-1e4, 1e4, 0}, 0, &out, &lse);
    EXPECT(&c, out, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0);
    EXPECT(&c, lse, 1e-6, -1e4, 1e4, 1e4);
    op_call_free(&c);
}

TEST_EACH(ops_hand, attention_two_tokens)
{
    int out, lse;
    op_call c = attend(o, (const osv_real[]){0, (osv_real)log(3), (osv_real)log(12)}, 2, &out, &lse);
    EXPECT(&c, out, 1e-6, 1, 0, 0, 0, 0.25, 0.75, 0, 0, 0, 0.2, 0.8, 0);
    EXPECT(&c, lse, 1e-6, 0, log(4), log(15));
    op_call_free(&c);
    c = attend(o, (const osv_real[]){0, (osv_real)log(3), (osv_real)log(12)}, 1, &out, &lse);
    EXPECT(&c, out, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0);
    op_call_free(&c);
}

/* Small integers: exact in any order and format. */
TEST_EACH(ops_hand, matmul_of_integers)
{
    op_call c = {.o = o};
    const float w0[] = {1, 2, 3, -1, 0, 1}, w1[] = {5, 5, 5};
    osv_weight weight[] = {{w0, OSV_F32, 2, 3}, {w1, OSV_F32, 1, 3}};
    for (int i = 0; i < 2; i++) o->place(o, &weight[i]);
    const osv_weight *w[] = {&weight[0], &weight[1]};
    int x = REALS(&c, 1, 1, 1, 0, 10, -10), y0 = op_poisoned(&c, "y", OP_OUTPUT, 4);
    int y1 = op_poisoned(&c, "y", OP_OUTPUT, 2), dx = op_poisoned(&c, "dx", OP_OUTPUT, 6);
    osv_real *y[] = {op_at(&c, y0), op_at(&c, y1)};
    o->matmul(o, y, op_at(&c, x), w, 2, 2);
    EXPECT(&c, y0, 0, 6, 0, -10, -10);
    EXPECT(&c, y1, 0, 15, 0);
    const osv_real *dy[] = {y[0], y[1]};
    o->matmul_dx(o, op_at(&c, dx), dy, w, 2, 2);
    EXPECT(&c, dx, 0, 81, 87, 93, 0, -20, -40);
    op_call_free(&c);
}

TEST_EACH(ops_hand, rmsnorm_three_four)
{
    op_call c = {.o = o};
    const float w[] = {1, 2};
    osv_weight weight = {w, OSV_F32, 1, 2};
    o->place(o, &weight);
    int x = REALS(&c, 3, 4), y = op_poisoned(&c, "y", OP_OUTPUT, 2);
    o->rmsnorm(o, op_at(&c, y), op_at(&c, x), &weight, 0, 0, 1);
    EXPECT(&c, y, 1e-6, 3 / sqrt(12.5), 8 / sqrt(12.5));
    o->rmsnorm(o, op_at(&c, x), op_at(&c, x), &weight, 1, 12.5,
               1); /* in place, 1 + w, eps that doubles rms^2 */
    EXPECT(&c, x, 1e-6, 2 * 3.0 / 5, 3 * 4.0 / 5);
    op_call_free(&c);
}

TEST_EACH(ops_hand, residual_add_at_rows)
{
    op_call c = {.o = o};
    int x = REALS(&c, 1, 2, 3, 4, 5, 6), y = REALS(&c, 10, 20, 30, 40), index = INTS(&c, 2, 0);
    o->residual_add(o, op_at(&c, x), op_at(&c, x), op_at(&c, y), op_int_at(&c, index), 2, 2);
    EXPECT(&c, x, 0, 31, 42, 3, 4, 15, 26);
    op_call_free(&c);
}

TEST_EACH(ops_hand, scale_in_place)
{
    op_call c = {.o = o};
    int y = REALS(&c, 1, -2, 3, 0, 5, 6, 7);
    o->scale(o, op_at(&c, y), -0.5, 5);
    EXPECT(&c, y, 0, -0.5, 1, -1.5, 0, -2.5, 6, 7);
    op_call_free(&c);
}

/* A quarter turn of the first two of three components of two heads; position 0 does not turn. */
TEST_EACH(ops_hand, rope_quarter_turn)
{
    op_call c = {.o = o};
    int x = REALS(&c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), table = REALS(&c, 1, 0, 0, 1),
        pos = INTS(&c, 1, 0);
    o->rope(o, op_at(&c, x), op_int_at(&c, pos), op_at(&c, table), 2, 3, 2, 1, 2);
    EXPECT(&c, x, 0, -2, 1, 3, -5, 4, 6, 7, 8, 9, 10, 11, 12);
    o->rope(o, op_at(&c, x), op_int_at(&c, pos), op_at(&c, table), 2, 3, 2, -1, 2);
    EXPECT(&c, x, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    op_call_free(&c);
}

/* Far from 0 an activation is the identity or nothing; never NaN. */
TEST_EACH(ops_hand, glu_ends)
{
    for (osv_activation act = OSV_SILU; act <= OSV_GELU; act++) {
        op_call c = {.o = o};
        int gate = REALS(&c, 0, 1e4, -1e4), up = REALS(&c, 2, 2, 2), dy = REALS(&c, 1, 1, 1);
        int y = op_poisoned(&c, "y", OP_OUTPUT, 3), dup = op_poisoned(&c, "dup", OP_OUTPUT, 3);
        int dgate = op_poisoned(&c, "dgate", OP_OUTPUT, 3);
        o->glu(o, op_at(&c, y), op_at(&c, gate), op_at(&c, up), act, 3);
        o->glu_dx(o, op_at(&c, dgate), op_at(&c, dup), op_at(&c, dy), op_at(&c, gate), op_at(&c, up), act, 3);
        EXPECT(&c, y, 0, 0, 2e4, 0);
        EXPECT(&c, dup, 0, 0, 1e4, 0);
        EXPECT(&c, dgate, 0, 1, 2, 0);
        op_call_free(&c);
    }
}

TEST_EACH(ops_hand, embed_slice)
{
    op_call c = {.o = o};
    const float w[] = {1, 2, 3, 4};
    osv_weight weight = {w, OSV_F32, 2, 2};
    o->place(o, &weight);
    int x = op_poisoned(&c, "x", OP_OUTPUT, 8), ids = INTS(&c, 11, 9, 12, 10);
    o->embed(o, op_at(&c, x), op_int_at(&c, ids), &weight, 10, 3, 4);
    EXPECT(&c, x, 0, 9, 12, 0, 0, 0, 0, 3, 6);
    op_call_free(&c);
}

/* ---- vector ---- */

static const osv_adam_params adam_first = {.lr = (osv_real)0.01,
                                           .beta1 = (osv_real)0.9,
                                           .beta2 = (osv_real)0.999,
                                           .eps = (osv_real)1e-8,
                                           .correction1 = 1 - (osv_real)0.9,
                                           .correction2 = 1 - (osv_real)0.999,
                                           .max_norm = -1};

static const double directions[] = {0, 1, 0.6, -0.8};

static op_call adam(osv_ops *o, const osv_real v[2], const osv_real dv[2], const osv_adam_params *params)
{
    op_call c = {.o = o};
    op_given(&c, "v", OP_UPDATED, v, 2);
    REALS(&c, 0, 0);
    REALS(&c, 0, 0);
    op_given(&c, "dv", OP_INPUT, dv, 2);
    op_bytes(&c, "params", params, sizeof *params);
    op_bytes(&c, "direction", directions, sizeof directions);
    o->adam(o, op_at(&c, 0), op_at(&c, 1), op_at(&c, 2), op_at(&c, 3), (const void *)op_at(&c, 5),
            (const void *)op_at(&c, 4), 2, 1);
    return c;
}

/* The first step is lr against the sign of the gradient, whatever its size. */
TEST_EACH(ops_hand, adam_first_step)
{
    op_call c = adam(o, (const osv_real[]){0, 0}, (const osv_real[]){1000, (osv_real)-0.01}, &adam_first);
    EXPECT(&c, 0, 1e-5, -0.01, 0.01);
    EXPECT(&c, 1, 1e-5, 100, -0.001);
    EXPECT(&c, 2, 1e-4, 1000, 1e-7);
    op_call_free(&c);
}

TEST_EACH(ops_hand, projection)
{
    const osv_real v[] = {3, 4}, still[] = {0, 0}, broken[] = {NAN, 1};
    osv_adam_params p = adam_first;
    op_call c = adam(o, v, still, &p);
    EXPECT(&c, 0, 0, 3, 4);
    op_call_free(&c);
    p.max_norm = 1;
    c = adam(o, v, still, &p);
    EXPECT(&c, 0, 1e-6, 0.6, 0.8);
    op_call_free(&c);
    p.max_norm = 6;
    c = adam(o, v, still, &p);
    EXPECT(&c, 0, 0, 3, 4);
    op_call_free(&c);
    p.max_norm = 0;
    c = adam(o, v, still, &p);
    EXPECT(&c, 0, 0, 0, 0);
    op_call_free(&c);
    p.lr = 0; /* a job that rests */
    c = adam(o, v, broken, &p);
    EXPECT(&c, 0, 0, 3, 4);
    EXPECT(&c, 1, 0, 0, 0);
    op_call_free(&c);
}

/* Off a direction first, onto the ball then: the other way round leaves (0.6, 0). */
TEST_EACH(ops_hand, off_directions)
{
    const osv_real v[] = {3, 4}, still[] = {0, 0};
    osv_adam_params p = adam_first;
    p.directions = 1;
    p.max_norm = 1;
    op_call c = adam(o, v, still, &p);
    EXPECT(&c, 0, 0, 1, 0);
    op_call_free(&c);
    p.direction = 1;
    p.max_norm = -1;
    c = adam(o, v, still, &p); /* (3, 4).(0.6, -0.8) = -1.4 */
    EXPECT(&c, 0, 1e-6, 3.84, 2.88);
    op_call_free(&c);
    p.lr = 0;
    c = adam(o, v, still, &p);
    EXPECT(&c, 0, 0, 3, 4);
    op_call_free(&c);
}

TEST_EACH(ops_hand, norm_of_vectors)
{
    op_call c = {.o = o};
    int out = op_poisoned(&c, "out", OP_OUTPUT, 2), v = REALS(&c, 3, 4, 0, 0);
    o->norm(o, op_at(&c, out), op_at(&c, v), 2, 2);
    EXPECT(&c, out, 1e-6, 5, 0);
    op_call_free(&c);
}

/* One of two vectors is NaN: neither the other job's rows nor its own unsteered row see it. */
TEST_EACH(ops_hand, apply_keeps_jobs_apart)
{
    op_call c = {.o = o};
    int x = REALS(&c, 0, 0, 0, 0), x0 = REALS(&c, 10, 20, 30), v = REALS(&c, NAN, 5), dv = REALS(&c, 7, 7);
    int param = INTS(&c, 1, 0), first = INTS(&c, 0, 2, 3), row_param = INTS(&c, 1, 1, 0),
        sign = INTS(&c, 1, -1, 0);
    osv_site site = {.row = 1,
                     .rows = 3,
                     .jobs = 2,
                     .param = op_int_at(&c, param),
                     .grad = op_int_at(&c, param),
                     .first = op_int_at(&c, first),
                     .row_param = op_int_at(&c, row_param),
                     .sign = op_int_at(&c, sign)};
    o->apply(o, op_at(&c, x), op_at(&c, x0), op_at(&c, v), &site, NULL, 1);
    EXPECT(&c, x, 0, 0, 15, 15, 30);
    int dx = REALS(&c, 1, 2, 5, NAN);
    o->apply_dp(o, op_at(&c, dv), op_at(&c, dx), op_at(&c, x0), op_at(&c, v), &site, NULL, 1);
    EXPECT(&c, dv, 0, 0, -3);
    op_call_free(&c);
}

/* Rows of two jobs in a batch of six: v0 has length 5, v1 is zero. The first row lies before the site, the
 * last two steered rows have the signs of v0 turned and of v1. x0 [4, 2] */
static void clamp_rows(osv_ops *o, osv_real *x, const osv_real *x0, bool in_place, const osv_real *v,
                       double clamp)
{
    op_call c = {.o = o};
    int at_x = op_given(&c, "x", OP_UPDATED, x, 12), at_x0 = op_given(&c, "x0", OP_INPUT, x0, 8);
    int at_v = op_given(&c, "v", OP_INPUT, v, 4), param = INTS(&c, 0, 1), first = INTS(&c, 0, 3, 4);
    int row_param = INTS(&c, 0, 0, 0, 1), sign = INTS(&c, 1, 0, -1, 1);
    osv_site site = {.row = 1,
                     .rows = 4,
                     .form = {.kind = OSV_FORM_CLAMP, .clamp = clamp},
                     .jobs = 2,
                     .param = op_int_at(&c, param),
                     .grad = op_int_at(&c, param),
                     .first = op_int_at(&c, first),
                     .row_param = op_int_at(&c, row_param),
                     .sign = op_int_at(&c, sign)};
    o->apply(o, op_at(&c, at_x), in_place ? op_at(&c, at_x) + 2 : op_at(&c, at_x0), op_at(&c, at_v), &site,
             NULL, 2);
    osv_real *after = op_read(&c, at_x);
    memcpy(x, after, 12 * sizeof *x);
    free(after);
    op_call_free(&c);
}

TEST_EACH(ops_hand, clamp_sets_the_component_along_v)
{
    const osv_real x0[8] = {7, 1, 5, 6, -2, 11, 8, 9}, v[4] = {3, 4, 0, 0};
    const double clamps[] = {0, 1, -0.5, 100};
    for (size_t k = 0; k < COUNT(clamps); k++) {
        osv_real x[12] = {1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4},
                 twin[12] = {1, 2, 7, 1, 5, 6, -2, 11, 8, 9, 3, 4};
        clamp_rows(o, x, x0, false, v, clamps[k]);
        clamp_rows(o, twin, x0, true, v, clamps[k]);
        cr_expect(memcmp(x, twin, sizeof x) == 0, "%s: in place", o->name);
        for (int r = 0; r < 2; r++) { /* signs +1 and -1: rows 1 and 3 of x, 0 and 2 of x0 */
            const osv_real *from = x0 + 4 * r, *to = x + 2 + 4 * r;
            double along = (3 * to[0] + 4 * to[1]) / 5, across = (4 * to[0] - 3 * to[1]) / 5;
            double expected = clamps[k] * 5 * (r ? -1 : 1), kept = (4 * from[0] - 3 * from[1]) / 5;
            cr_expect(fabs(along - expected) <= 1e-6 * (5 + fabs(expected)), "%s: %g, not %g", o->name, along,
                      expected);
            cr_expect(fabs(across - kept) <= 1e-6 * (5 + fabs(expected)), "%s: %g, not %g", o->name, across,
                      kept);
        }
        const osv_real same[] = {1, 2, 5, 6, 8, 9, 3, 4}; /* not of the site; sign 0; v of zeros; not of it */
        const int at[] = {0, 2, 4, 5};
        for (int i = 0; i < 4; i++)
            cr_expect(memcmp(x + 2 * at[i], same + 2 * i, 2 * sizeof *x) == 0, "%s: row %d", o->name, at[i]);
    }
}

/* A vector that became NaN stays in its steered rows; one of 1e-20 has a direction like any other. */
TEST_EACH(ops_hand, clamp_of_odd_vectors)
{
    const osv_real x0[8] = {7, 1, 5, 6, -2, 11, 8, 9};
    osv_real x[12] = {0};
    clamp_rows(o, x, x0, false, (const osv_real[]){NAN, 0, (osv_real)3e-20, (osv_real)4e-20}, 1);
    cr_expect(isnan(x[2]) && isnan(x[6]));
    cr_expect(x[4] == 5 && x[5] == 6);
    cr_expect(fabs(x[8] - (8 - 12 * 0.6)) <= 1e-6 && fabs(x[9] - (9 - 12 * 0.8)) <= 1e-6, "%s: %g %g",
              o->name, x[8], x[9]);
}

/* ---- memory ---- */

TEST_EACH(ops_hand, memory)
{
    char text[] = "steer", back[sizeof text] = "";
    char *p = o->alloc(o, sizeof text), *twin = o->alloc(o, sizeof text);
    void *nothing = o->alloc(o, 0);
    cr_assert(p && twin);
    cr_expect_eq((uintptr_t)p % 256, 0);
    cr_expect_eq((uintptr_t)twin % 256, 0);
    o->copy(o, p, text, sizeof text, OSV_TO_DEVICE);
    o->zero(o, p, 1);
    o->copy(o, twin, p, sizeof text, OSV_ON_DEVICE);
    o->copy(o, back, twin, sizeof text, OSV_TO_HOST);
    o->copy(o, NULL, NULL, 0, OSV_TO_HOST);
    o->sync(o, 0);
    cr_expect(memcmp(back, "\0teer", sizeof back) == 0);
    o->free(o, p);
    o->free(o, twin);
    o->free(o, nothing);
}

TEST_EACH(ops_hand, too_much_memory)
{
    cr_expect_null(o->alloc(o, SIZE_MAX - 100));
    cr_expect_eq(osv_ops_status(o), OSV_DEVICE);
    cr_expect_null(o->alloc(o, 16));
    *o->error = (osv_error){0};
}

/* A filling either records or says that it does not. */
TEST_EACH(ops_hand, graphs)
{
    op_call c = {.o = o};
    int v = REALS(&c, 3, 4), out = op_poisoned(&c, "out", OP_OUTPUT, 1);
    bool recorded = o->graph_begin(o);
    o->norm(o, op_at(&c, out), op_at(&c, v), 2, 1);
    osv_graph *graph = o->graph_end(o);
    cr_expect_eq(graph != NULL, recorded);
    cr_expect_eq(o->graph_run(o, graph), recorded);
    EXPECT(&c, out, 1e-6, 5);
    o->graph_free(o, graph);
    op_call_free(&c);
}

/* ---- bf16, on ref: what is rounded and what is not ---- */

Test(ops_hand, ref_rounds_inputs_of_products)
{
    osv_error error = {0};
    osv_ops *o;
    cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_BF16, &error), OSV_OK);
    const float fine = 1 + 0x1p-9f; /* halfway to the next bf16 after 1: rounds to even, 1 */
    osv_weight w = {&fine, OSV_F32, 1, 1};
    const osv_weight *weights[] = {&w};
    const osv_real x = fine, four = 4;
    osv_real y, *out = &y;
    const osv_real *in = &x;
    o->matmul(o, &out, &four, weights, 1, 1);
    cr_expect_eq(y, 4);
    o->matmul(o, &out, &x, weights, 1, 1);
    cr_expect_eq(y, 1);
    o->matmul_dx(o, &y, &in, weights, 1, 1);
    cr_expect_eq(y, 1);
    o->rmsnorm(o, &y, &four, &w, 0, 0, 1);
    cr_expect_eq(y, fine);
    y = 0;
    o->bias(o, &y, &w, 1);
    cr_expect_eq(y, fine);
    o->close(o);
}
