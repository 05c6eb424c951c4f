/* The choice of a token by ranks that have a slice of the row each: the same as from the whole row, whatever
 * the slices, on every f32 filling. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "kernels/choice.h"
#include "tests/op_hand.h"

TEST_GPU(ops_candidates)

enum { RANKS = 5, MOST_ROWS = 60 };

/* z [R, V] and how [R] of a row each. */
typedef struct {
    const osv_real *z;
    const osv_sampling *how;
    int R, V;
} rows;

static void whole_rows(osv_ops *o, int *id, osv_real *logprob, const rows *w)
{
    op_call c = {.o = o};
    size_t n = (size_t)w->R;
    int at_id = op_poisoned_ints(&c, "id", OP_OUTPUT, n),
        at_logprob = op_poisoned(&c, "logprob", OP_OUTPUT, n);
    int at_z = op_given(&c, "z", OP_INPUT, w->z, n * (size_t)w->V),
        at_how = op_bytes(&c, "how", w->how, n * sizeof *w->how);
    o->sample(o, op_int_at(&c, at_id), op_at(&c, at_logprob), op_at(&c, at_z),
              (const void *)op_at(&c, at_how), w->R, w->V);
    osv_real *ids = op_read(&c, at_id), *logprobs = op_read(&c, at_logprob);
    memcpy(id, ids, n * sizeof *id);
    memcpy(logprob, logprobs, n * sizeof *logprob);
    free(ids);
    free(logprobs);
    op_call_free(&c);
}

/* What one rank tells of its columns from..to of every row. */
static void one_rank(osv_ops *o, osv_slice *slice, osv_token *token, const rows *w, int from, int to, int k)
{
    op_call c = {.o = o};
    size_t n = (size_t)w->R, V = (size_t)(to - from);
    osv_real *z = malloc(n * V * sizeof *z), *max = malloc(n * sizeof *max);
    for (size_t r = 0; r < n; r++) {
        const osv_real *row = w->z + r * (size_t)w->V;
        memcpy(z + r * V, row + from, V * sizeof *z);
        max[r] = row[0];
        for (int j = 1; j < w->V; j++)
            if (!(row[j] <= max[r])) max[r] = row[j]; /* as all_reduce: NaN too */
    }
    int at_slice = op_poisoned_ints(&c, "slice", OP_OUTPUT, n * sizeof *slice / sizeof(int)),
        at_token = op_poisoned_ints(&c, "token", OP_OUTPUT, n * (size_t)k * sizeof *token / sizeof(int));
    int at_z = op_given(&c, "z", OP_INPUT, z, n * V), at_max = op_given(&c, "max", OP_INPUT, max, n),
        at_how = op_bytes(&c, "how", w->how, n * sizeof *w->how);
    o->candidates(o, (void *)op_at(&c, at_slice), (void *)op_at(&c, at_token), op_at(&c, at_z),
                  op_at(&c, at_max), (const void *)op_at(&c, at_how), from, k, w->R, (int)V);
    char why[256];
    o->sync(o, 0);
    cr_assert_eq(osv_ops_status(o), OSV_OK, "%s", o->error->text);
    cr_expect(op_intact(&c, why, sizeof why), "%s: %s", o->name, why);
    osv_real *slices = op_read(&c, at_slice), *tokens = op_read(&c, at_token);
    memcpy(slice, slices, n * sizeof *slice);
    memcpy(token, tokens, n * (size_t)k * sizeof *token);
    free(slices);
    free(tokens);
    free(z);
    free(max);
    op_call_free(&c);
}

/* Rows by `ranks` ranks with k tokens each; the number of rows that could not be decided, which get id -2. */
static int joined(osv_ops *o, int *id, osv_real *logprob, const rows *w, int ranks, int k)
{
    size_t n = (size_t)w->R, slices = n * sizeof(osv_slice),
           stride = slices + n * (size_t)k * sizeof(osv_token);
    char *all = malloc((size_t)ranks * stride);
    osv_token *list = malloc((size_t)ranks * (size_t)k * sizeof *list);
    int undecided = 0;
    for (int r = 0; r < ranks; r++) /* uneven, and not at multiples of 4 */
        one_rank(o, (void *)(all + (size_t)r * stride), (void *)(all + (size_t)r * stride + slices), w,
                 w->V * r * r / (ranks * ranks) + r,
                 r + 1 < ranks ? w->V * (r + 1) * (r + 1) / (ranks * ranks) + r + 1 : w->V, k);
    for (int row = 0; row < w->R; row++) {
        const osv_listed from = {.slice = (const osv_slice *)(void *)all + row,
                                 .token = (const osv_token *)(void *)(all + slices) + (size_t)row * (size_t)k,
                                 .stride = stride,
                                 .ranks = ranks,
                                 .k = k};
        if (osv_choice_join(&id[row], &logprob[row], &w->how[row], &from, list)) continue;
        id[row] = -2;
        undecided++;
    }
    free(all);
    free(list);
    return undecided;
}

/* Some k decides all rows, no smaller one decides any differently. Returns how many it took. */
static int check(osv_ops *o, const char *what, const rows *w, int ranks)
{
    int expected[MOST_ROWS], id[MOST_ROWS], k = 1;
    osv_real logprob[MOST_ROWS], want[MOST_ROWS];
    cr_assert_leq(w->R, MOST_ROWS);
    whole_rows(o, expected, want, w);
    for (;; k = 2 * k < w->V ? 2 * k : w->V) {
        int undecided = joined(o, id, logprob, w, ranks, k);
        for (int r = 0; r < w->R; r++) {
            if (id[r] == -2) continue;
            cr_assert_eq(id[r], expected[r], "%s, %s, %d ranks, k %d: row %d: %d, not %d", o->name, what,
                         ranks, k, r, id[r], expected[r]);
            cr_expect((isnan(logprob[r]) && isnan(want[r])) ||
                          fabs(logprob[r] - want[r]) <= 1e-6 * (1 + fabs(want[r])),
                      "%s, %s: row %d: logprob %g, not %g", o->name, what, r, logprob[r], want[r]);
        }
        if (undecided == 0) return k;
        cr_assert_lt(k, w->V, "%s, %s, %d ranks: all tokens do not decide %d rows", o->name, what, ranks,
                     undecided);
    }
}

static void draw_logits(osv_real *z, size_t n, double scale, bool whole)
{
    uint64_t random = 7;
    for (size_t i = 0; i < n; i++) {
        double x = scale * op_uniform(&random);
        z[i] = (osv_real)(whole ? round(x) : x);
    }
}

static const struct {
    const char *what;
    osv_sampling how;
    int k; /* that decide, at most */
} cases[] = {
    {"greedy", {.top_p = 1}, 1},
    {"greedy, whatever else is asked for", {.top_p = (osv_real)0.5, .top_k = 3}, 1},
    {"drawn", {.temperature = (osv_real)0.8, .top_p = 1}, 1},
    {"hot", {.temperature = 30, .top_p = 1}, 1},
    {"cold", {.temperature = (osv_real)1e-30, .top_p = 1}, 1},
    {"top 1", {.temperature = 1, .top_k = 1, .top_p = 1}, 1},
    {"top 7", {.temperature = 2, .top_k = 7, .top_p = 1}, 8},
    {"top of all", {.temperature = 2, .top_k = INT_MAX, .top_p = 1}, INT_MAX},
    {"nucleus", {.temperature = (osv_real)0.7, .top_p = (osv_real)0.9}, INT_MAX},
    {"little nucleus", {.temperature = (osv_real)0.5, .top_p = (osv_real)0.1}, 16},
    {"hot nucleus", {.temperature = 20, .top_p = (osv_real)0.95}, INT_MAX},
    {"nucleus of one", {.temperature = 1, .top_p = 0}, 1},
    {"nucleus of the top", {.temperature = 1, .top_p = (osv_real)0.8, .top_k = 20}, 32},
};

/* Shapes: several groups of 4 with and without a rest, rows that kernels read one by one. */
static void each_case(osv_ops *o, int R, int V, double scale, bool whole)
{
    osv_real *z = malloc((size_t)R * (size_t)V * sizeof *z);
    osv_sampling how[MOST_ROWS];
    draw_logits(z, (size_t)R * (size_t)V, scale, whole);
    for (size_t c = 0; c < COUNT(cases); c++)
        for (int ranks = 1; ranks <= RANKS; ranks++) {
            for (int r = 0; r < R; r++) {
                how[r] = cases[c].how;
                how[r].seed[0] = 3;
                how[r].place = (unsigned)r;
            }
            int k = check(o, cases[c].what, &(rows){z, how, R, V}, ranks);
            cr_expect_leq(k, cases[c].k, "%s, %s: k %d", o->name, cases[c].what, k);
        }
    free(z);
}

TEST_EACH(ops_candidates, as_from_whole_rows)
{
    each_case(o, 20, 101, 4, false);
    each_case(o, 3, 1204, 6, false);
}

TEST_EACH(ops_candidates, equals)
{
    each_case(o, 20, 64, 2, true);
}

TEST_EACH(ops_candidates, rows_without_a_softmax)
{
    enum { R = 6, V = 12 };
    const osv_real n = NAN, i = INFINITY;
    osv_real z[R * V];
    osv_sampling how[R];
    for (size_t c = 0; c < COUNT(cases); c++)
        for (int ranks = 1; ranks <= 3; ranks++) {
            draw_logits(z, R * V, 2, false);
            for (int r = 0; r < R; r++) how[r] = cases[c].how;
            z[0] = n;                                      /* the first of all */
            z[V + V - 1] = n;                              /* the last of all */
            z[2 * V + 5] = i;                              /* one is certain */
            for (int j = 0; j < V; j++) z[3 * V + j] = -i; /* none is possible */
            for (int j = 0; j < V; j++) z[4 * V + j] = n;
            for (int j = 2; j < V; j++) z[5 * V + j] = -i; /* only on one rank there are any */
            int id[R];
            osv_real logprob[R];
            check(o, cases[c].what, &(rows){z, how, R, V}, ranks);
            joined(o, id, logprob, &(rows){z, how, R, V}, ranks, V);
            for (int r = 0; r < 5; r++) cr_expect(id[r] == -1 && isnan(logprob[r]), "row %d: %d", r, id[r]);
            cr_expect(id[5] == 0 || id[5] == 1);
        }
}

/* P = 1 - 1e-12 of a token, and the rest on another rank: its logarithm is not 0. */
TEST_EACH(ops_candidates, logprob_of_a_sure_token)
{
    const osv_real z[] = {(osv_real)-27.631021115928547, -200, -200, 0, -200, -200};
    const osv_sampling greedy = {.top_p = 1};
    int id;
    osv_real logprob;
    joined(o, &id, &logprob, &(rows){z, &greedy, 1, 6}, 2, 1);
    cr_expect(id == 3 && fabs(logprob + exp(z[0])) <= 1e-5 * exp(z[0]), "%s: %d, %g", o->name, id, logprob);
}
