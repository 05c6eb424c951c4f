/* Sampling by hand, on every f32 filling: the definition of kernels/sampling.h, its edges, and frequencies.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"
#include "tests/op_hand.h"

TEST_GPU(ops_sample)

/* id, logprob [R] of z [R, V] */
static void sample(osv_ops *o, int *id, osv_real *logprob, const osv_real *z, const osv_sampling *how, int R,
                   int V)
{
    op_call c = {.o = o};
    size_t n = (size_t)R;
    int at_id = op_poisoned_ints(&c, "id", OP_OUTPUT, n),
        at_logprob = op_poisoned(&c, "logprob", OP_OUTPUT, n);
    int at_z = op_given(&c, "z", OP_INPUT, z, n * (size_t)V),
        at_how = op_bytes(&c, "how", how, n * sizeof *how);
    o->sample(o, op_int_at(&c, at_id), op_at(&c, at_logprob), op_at(&c, at_z),
              (const void *)op_at(&c, at_how), R, V);
    char why[256];
    cr_assert_eq(osv_ops_status(o), OSV_OK, "%s", o->error->text);
    cr_expect(op_intact(&c, why, sizeof why), "%s: %s", o->name, why);
    osv_real *ids = op_read(&c, at_id), *logprobs = op_read(&c, at_logprob);
    memcpy(id, ids, n * sizeof *id);
    memcpy(logprob, logprobs, n * sizeof *logprob);
    free(ids);
    free(logprobs);
    op_call_free(&c);
}

/* R rows with the same logits, at places 0, 1, 2, ...; id [R]. */
static void sample_places(osv_ops *o, int *id, const osv_real *z, osv_sampling how, int R, int V)
{
    osv_real *rows = malloc((size_t)R * (size_t)V * sizeof *rows),
             *logprob = malloc((size_t)R * sizeof *logprob);
    osv_sampling *hows = malloc((size_t)R * sizeof *hows);
    cr_assert(rows && logprob && hows);
    for (int r = 0; r < R; r++) {
        memcpy(rows + (size_t)r * (size_t)V, z, (size_t)V * sizeof *z);
        hows[r] = how;
        hows[r].place = (unsigned)r;
    }
    sample(o, id, logprob, rows, hows, R, V);
    free(rows);
    free(logprob);
    free(hows);
}

/* Logits within +-scale. */
static void draw_logits(osv_real *z, size_t n, double scale, bool whole)
{
    uint64_t random = 5;
    for (size_t i = 0; i < n; i++) {
        double x = scale * op_uniform(&random);
        z[i] = (osv_real)(whole ? round(x) : x);
    }
}

static const osv_sampling greedy = {.top_p = 1};

/* ---- greedy ---- */

TEST_EACH(ops_sample, greedy_takes_the_lowest_id_among_equals)
{
    const osv_real z[] = {1, 3, 3, 0, -0.0f, 0, -1, -2, -1, -1, -1, -1, 0, 0, 0, 9};
    osv_sampling how[4];
    for (int r = 0; r < 4; r++) how[r] = greedy;
    how[3].top_k = 1;
    how[3].temperature = -1;
    int id[4];
    osv_real logprob[4];
    sample(o, id, logprob, z, how, 4, 4);
    const int expected[] = {1, 0, 0, 3};
    const double sum[] = {2 + exp(-2) + exp(-3), 2 + exp(-1) + exp(-2), 4, 1 + 3 * exp(-9)};
    for (int r = 0; r < 4; r++) {
        cr_expect_eq(id[r], expected[r], "%s: row %d: %d", o->name, r, id[r]);
        cr_expect(fabs(logprob[r] + log(sum[r])) <= 1e-6 * log(sum[r]), "%s: row %d: %g", o->name, r,
                  logprob[r]);
    }
}

/* One token left is the greedy one, whatever leaves it, at any temperature. */
TEST_EACH(ops_sample, one_token_left)
{
    enum { R = 64, V = 50 };
    const osv_sampling one[] = {{.temperature = 5, .top_k = 1, .top_p = 1},
                                {.temperature = 5, .top_p = 0},
                                {.temperature = 5, .top_p = -3},
                                {.temperature = 5, .top_p = (osv_real)1e-30},
                                {.temperature = 5, .top_p = (osv_real)0.01, .top_k = 2}};
    osv_real z[R * V], logprob[R], expected_logprob[R];
    int id[R], expected[R];
    draw_logits(z, R * V, 4, true);
    osv_sampling how[R];
    for (int r = 0; r < R; r++) how[r] = greedy;
    sample(o, expected, expected_logprob, z, how, R, V);
    for (size_t k = 0; k < COUNT(one); k++) {
        for (int r = 0; r < R; r++) how[r] = one[k];
        sample(o, id, logprob, z, how, R, V);
        cr_expect_arr_eq(id, expected, sizeof id, "%s: %zu", o->name, k);
        cr_expect_arr_eq(logprob, expected_logprob, sizeof logprob, "%s: %zu", o->name, k);
    }
}

/* The smallest temperatures leave the maximum, and draw among equals. */
TEST_EACH(ops_sample, tiny_temperatures)
{
    enum { R = 200 };
    const osv_real z[] = {-1e30f, 2, 1, 2, -0.0f};
    const osv_real temperatures[] = {1e-45f, 1e-38f, 1e-6f};
    for (size_t k = 0; k < COUNT(temperatures); k++) {
        int id[R], count[5] = {0};
        sample_places(o, id, z, (osv_sampling){.temperature = temperatures[k], .top_p = 1}, R, 5);
        for (int r = 0; r < R; r++) {
            cr_assert(id[r] == 1 || id[r] == 3, "%s: %d", o->name, id[r]);
            count[id[r]]++;
        }
        cr_expect(count[1] > 60 && count[3] > 60, "%s: %d and %d", o->name, count[1], count[3]);
    }
}

/* ---- what is left ---- */

/* Ten equal logits: the lowest ids stay. */
TEST_EACH(ops_sample, lowest_ids_stay_among_equals)
{
    enum { R = 400, V = 10 };
    const struct {
        double top_p;
        int top_k, left;
    } cases[] = {{1, 3, 3}, {0.35, 0, 4}, {0.5, 0, 5}, {0.5, 6, 3}, {1, 9, 9}, {1, 0, 10}};
    const osv_real z[V] = {0, -0.0f, 0, -0.0f, 0, 0, 0, 0, 0, 0};
    for (size_t k = 0; k < COUNT(cases); k++) {
        int id[R], most = 0;
        osv_sampling how = {.temperature = 1,
                            .top_p = (osv_real)cases[k].top_p,
                            .top_k = cases[k].top_k,
                            .stream = (unsigned)k};
        sample_places(o, id, z, how, R, V);
        for (int r = 0; r < R; r++) most = id[r] > most ? id[r] : most;
        cr_expect_eq(most, cases[k].left - 1, "%s: case %zu: %d", o->name, k, most);
    }
}

/* Unlikely tokens count if there are enough of them: here they hold 0.71 of all. */
TEST_EACH(ops_sample, tails_count)
{
    enum { R = 50, V = 20001 };
    osv_real *z = malloc(V * sizeof *z);
    cr_assert(z);
    for (int j = 0; j < V; j++) z[j] = -9;
    z[V - 1] = 0;
    double each = exp(-9), left = ceil((0.5 * (1 + (V - 1) * each) - 1) / each); /* of the tail */
    int id[R], likely = 0;
    sample_places(o, id, z, (osv_sampling){.temperature = 1, .top_p = (osv_real)0.5}, R, V);
    for (int r = 0; r < R; r++) {
        likely += id[r] == V - 1;
        cr_expect(id[r] == V - 1 || id[r] < left, "%s: %d", o->name, id[r]);
    }
    cr_expect(likely > 15 && likely < 43, "%s: %d", o->name, likely); /* 0.58 of them */
    free(z);
}

/* What leaves all tokens leaves the draws alone. */
TEST_EACH(ops_sample, nothing_cut)
{
    enum { R = 100, V = 37 };
    const osv_sampling all[] = {{.top_k = V, .top_p = 1},
                                {.top_k = V + 1, .top_p = 1},
                                {.top_k = INT_MAX, .top_p = 2},
                                {.top_k = -1, .top_p = (osv_real)INFINITY}};
    osv_real z[V];
    int id[R], expected[R];
    draw_logits(z, V, 2, false);
    sample_places(o, expected, z, (osv_sampling){.temperature = 3, .top_p = 1}, R, V);
    for (size_t k = 0; k < COUNT(all); k++) {
        osv_sampling how = all[k];
        how.temperature = 3;
        sample_places(o, id, z, how, R, V);
        cr_expect_arr_eq(id, expected, sizeof id, "%s: %zu", o->name, k);
    }
}

/* Logits of -inf are never chosen, however hot. */
TEST_EACH(ops_sample, minus_infinity)
{
    enum { R = 500 };
    const osv_real z[] = {-INFINITY, 1, -INFINITY, 0};
    const osv_sampling how[] = {{.temperature = 1e30f, .top_p = 1},
                                {.temperature = INFINITY, .top_p = (osv_real)0.9},
                                {.temperature = 1e30f, .top_p = 1, .top_k = 3}};
    for (size_t k = 0; k < COUNT(how); k++) {
        int id[R], ones = 0;
        sample_places(o, id, z, how[k], R, 4);
        for (int r = 0; r < R; r++) {
            cr_assert(id[r] == 1 || id[r] == 3, "%s: %d", o->name, id[r]);
            ones += id[r] == 1;
        }
        cr_expect(ones > 200 && ones < 300, "%s: %d", o->name, ones);
    }
    const osv_real alone[] = {-INFINITY, -5, -INFINITY, -INFINITY};
    int id;
    osv_real logprob;
    sample(o, &id, &logprob, alone, &how[0], 1, 4);
    cr_expect(id == 1 && logprob == 0, "%s: %d, %g", o->name, id, logprob);
}

/* Rows without a softmax choose nothing, and leave the others alone. */
TEST_EACH(ops_sample, rows_without_a_softmax)
{
    enum { R = 10 };
    const osv_real n = NAN, i = INFINITY;
    const osv_real z[] = {0, 1, 2, n, 1, 2, 0, 1,  n,  0,  n,  2,  0, i, 2,
                          i, i, 1, n, n, n, i, -i, -i, -i, -i, -i, 2, 1, 0};
    for (int t = 0; t < 3; t++) {
        osv_sampling how[R];
        for (int r = 0; r < R; r++)
            how[r] = (osv_sampling){.temperature = (osv_real)t, .top_p = (osv_real)0.99, .top_k = t};
        int id[R];
        osv_real logprob[R];
        sample(o, id, logprob, z, how, R, 3);
        cr_expect(id[0] >= 0 && logprob[0] < 0 && id[R - 1] >= 0 && logprob[R - 1] < 0, "%s", o->name);
        for (int r = 1; r < R - 1; r++)
            cr_expect(id[r] == -1 && isnan(logprob[r]), "%s: row %d: %d, %g", o->name, r, id[r], logprob[r]);
    }
    int id;
    osv_real logprob;
    const osv_sampling hot = {.temperature = 1, .top_p = 1};
    for (int k = 0; k < 3; k++) {
        const osv_real alone[] = {n, i, -i};
        sample(o, &id, &logprob, &alone[k], &hot, 1, 1);
        cr_expect(id == -1 && isnan(logprob), "%s: %d, %g", o->name, id, logprob);
    }
}

/* P = 1 - 1e-12: its logarithm is not 0. */
TEST_EACH(ops_sample, logprob_of_a_sure_token)
{
    const osv_real z[] = {(osv_real)-27.631021115928547, 0, -200};
    int id;
    osv_real logprob;
    sample(o, &id, &logprob, z, &greedy, 1, 3);
    cr_expect(id == 1 && fabs(logprob + exp(z[0])) <= 1e-5 * exp(z[0]), "%s: %d, %g", o->name, id, logprob);
}

/* ---- the draw ---- */

/* Written out from the definition: the largest z / t - ln(-ln u). */
TEST_EACH(ops_sample, noise_is_as_defined)
{
    enum { R = 300, V = 11 };
    osv_real z[R * V], logprob[R];
    osv_sampling how[R];
    int id[R];
    draw_logits(z, R * V, 3, false);
    for (int r = 0; r < R; r++)
        how[r] = (osv_sampling){.temperature = (osv_real)0.8,
                                .top_p = 1,
                                .seed = {(unsigned)r, 0xdeadbeef},
                                .stream = 1000u + (unsigned)r % 7,
                                .place = (unsigned)r * 3};
    sample(o, id, logprob, z, how, R, V);
    for (int r = 0; r < R; r++) {
        int expected = -1;
        double best = -INFINITY, sum = 0;
        for (int j = 0; j < V; j++) {
            const uint32_t counter[4] = {(uint32_t)j / 4, how[r].place, how[r].stream, 0};
            uint32_t word[4];
            osv_philox(counter, (const uint32_t[]){how[r].seed[0], how[r].seed[1]}, word);
            double u = (word[j % 4] + 0.5) / 4294967296.0;
            double value = z[r * V + j] / (double)how[r].temperature - log(-log(u));
            if (value > best) best = value, expected = j;
            sum += exp(z[r * V + j]);
        }
        cr_expect_eq(id[r], expected, "%s: row %d: %d, not %d", o->name, r, id[r], expected);
        cr_expect(fabs(logprob[r] - (z[r * V + expected] - log(sum))) <= 1e-5, "%s: row %d", o->name, r);
    }
}

/* A draw is the same alone, in a batch, and in the batch turned round. */
TEST_EACH(ops_sample, place_in_the_batch_does_not_matter)
{
    enum { R = 40, V = 300 };
    osv_real z[R * V], turned[R * V], logprob[R], turned_logprob[R];
    osv_sampling how[R], turned_how[R];
    int id[R], turned_id[R];
    draw_logits(z, R * V, 3, false);
    for (int r = 0; r < R; r++) {
        how[r] = (osv_sampling){.temperature = (osv_real)(r % 4 * 0.5),
                                .top_p = (osv_real)(r % 3 ? 0.9 : 1),
                                .top_k = r % 5 * 20,
                                .stream = (unsigned)r,
                                .place = 17};
        turned_how[R - 1 - r] = how[r];
        memcpy(turned + (R - 1 - r) * V, z + r * V, V * sizeof *z);
    }
    sample(o, id, logprob, z, how, R, V);
    sample(o, turned_id, turned_logprob, turned, turned_how, R, V);
    for (int r = 0; r < R; r++) {
        int alone;
        osv_real alone_logprob;
        sample(o, &alone, &alone_logprob, z + r * V, &how[r], 1, V);
        cr_expect(alone == id[r] && turned_id[R - 1 - r] == id[r], "%s: row %d", o->name, r);
        cr_expect(alone_logprob == logprob[r] && turned_logprob[R - 1 - r] == logprob[r], "%s: row %d",
                  o->name, r);
    }
}

/* The order of falling logits is 2 4 0 3 6 1 5. At temperature 1 the first hold 0.536, 0.733, 0.853 ... of
 * all, and 0.579, 0.792 of the first four: top_p counts what top_k has left. */
TEST_EACH(ops_sample, frequencies)
{
    enum { DRAWS = 20000, V = 7 };
    const osv_real z[V] = {0.5, -1, 2, 0, 1, -3, -0.5};
    const int order[V] = {2, 4, 0, 3, 6, 1, 5};
    const struct {
        double temperature, top_p;
        int top_k, left;
    } cases[] = {{1, 1, 0, 7},    {0.5, 1, 0, 7},  {2.5, 1, 0, 7}, {1, 1, 3, 3},      {1, 0.73, 0, 2},
                 {1, 0.75, 0, 3}, {1, 0.75, 4, 2}, {2, 0.8, 5, 4}, {0.7, 0.999, 6, 6}};
    int *id = malloc(DRAWS * sizeof *id);
    cr_assert(id);
    for (size_t k = 0; k < COUNT(cases); k++) {
        double t = cases[k].temperature, sum = 0;
        int count[V] = {0};
        osv_sampling how = {.temperature = (osv_real)t,
                            .top_p = (osv_real)cases[k].top_p,
                            .top_k = cases[k].top_k,
                            .seed = {11, 0},
                            .stream = (unsigned)k};
        sample_places(o, id, z, how, DRAWS, V);
        for (int i = 0; i < DRAWS; i++) {
            cr_assert(id[i] >= 0 && id[i] < V);
            count[id[i]]++;
        }
        for (int i = 0; i < cases[k].left; i++) sum += exp(z[order[i]] / t);
        for (int i = 0; i < V; i++) {
            double p = i < cases[k].left ? exp(z[order[i]] / t) / sum : 0;
            double off = fabs(count[order[i]] - DRAWS * p), sigma = sqrt(DRAWS * p * (1 - p));
            cr_expect(off <= 4 * sigma, "%s, case %zu: token %d: %d times, %.1f expected, %.2g sigma off",
                      o->name, k, order[i], count[order[i]], DRAWS * p, off / sigma);
        }
    }
    free(id);
}

/* Two tokens drawn next to each other, in place or in stream, have nothing to do with each other. */
TEST_EACH(ops_sample, draws_are_independent)
{
    enum { DRAWS = 20000, V = 3 };
    const osv_real z[V] = {0, 0.5, -0.5};
    int *id = malloc(DRAWS * sizeof *id), *next = malloc(DRAWS * sizeof *next);
    cr_assert(id && next);
    osv_sampling how = {.temperature = 1, .top_p = 1};
    sample_places(o, id, z, how, DRAWS, V);
    how.stream = 1;
    sample_places(o, next, z, how, DRAWS, V);
    double sum = 0, p[V];
    for (int j = 0; j < V; j++) sum += p[j] = exp(z[j]);
    int places[V][V] = {{0}}, streams[V][V] = {{0}};
    for (int i = 0; i + 1 < DRAWS; i++) {
        places[id[i]][id[i + 1]]++;
        streams[id[i]][next[i]]++;
    }
    for (int a = 0; a < V; a++)
        for (int b = 0; b < V; b++) {
            double both = p[a] / sum * p[b] / sum, sigma = sqrt(DRAWS * both * (1 - both));
            /* pairs of places overlap, which widens the spread a little */
            cr_expect(fabs(places[a][b] - DRAWS * both) <= 5 * sigma, "%s: %d then %d: %d", o->name, a, b,
                      places[a][b]);
            cr_expect(fabs(streams[a][b] - DRAWS * both) <= 4 * sigma, "%s: %d and %d: %d", o->name, a, b,
                      streams[a][b]);
        }
    free(id);
    free(next);
}

/* ---- threads of cpu ---- */

Test(ops_sample, threads_do_not_matter)
{
    enum { R = 33, V = 2000 };
    static osv_real z[R * V];
    osv_sampling how[R];
    int id[4][R];
    osv_real logprob[4][R];
    draw_logits(z, R * V, 6, false);
    for (int r = 0; r < R; r++)
        how[r] = (osv_sampling){.temperature = 1,
                                .top_p = (osv_real)(r % 2 ? 0.8 : 1),
                                .top_k = r % 3 * 700,
                                .place = (unsigned)r};
    for (int threads = 1; threads < 4; threads++) {
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(osv_cpu_open(&o, OSV_DTYPE_F32, threads, &error), OSV_OK, "%s", error.text);
        sample(o, id[threads], logprob[threads], z, how, R, V);
        cr_expect_arr_eq(id[threads], id[1], sizeof *id);
        cr_expect_arr_eq(logprob[threads], logprob[1], sizeof *logprob);
        o->close(o);
    }
}
