/* The batch: hand-counted forests, and on random ones the work list against the definition of who sees whom.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/batch.h"

enum { LENGTH = 24 };

static osv_error error;

static osv_batch *build(const osv_sequence *s, int C, const osv_batch_job *job, int J, const osv_switches *on)
{
    osv_batch *b;
    int bad;
    error = (osv_error){0};
    cr_assert_eq(osv_batch_build(&b, s, C, job, J, 6, on, &bad, &error), 0, "%s", error.text);
    return b;
}

static const signed char steered[LENGTH] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
static const signed char late[LENGTH] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1,
                                         1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
static const osv_batch_job at_2 = {.layer = 2, .coldness = 1, .eps = 1e-6};

Test(batch, completions_share_prompt_and_first_tokens)
{
    const int a[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 22},
              b[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 23};
    const osv_sequence s[] = {{.count = 13, .prompt = 10, .ids = a, .steer = steered},
                              {.count = 13, .prompt = 10, .ids = b, .steer = steered}};
    osv_batch *x = build(s, 2, &at_2, 1, &osv_all_on);
    cr_assert_eq(x->frozen, 0);
    cr_assert_eq(x->live.T, 12); /* 10 of the prompt, 20 and 21 once */
    cr_assert_eq(x->base.T, 12);
    cr_assert_eq(x->live.R, 3);
    cr_assert_eq(x->live.scores.S, 6);
    cr_assert_eq(x->base.active[1], 12);
    cr_assert_eq(x->base.active[2], 0); /* nothing is frozen: the unsteered pass ends at the start layer */
    cr_assert_eq(x->live.active[1], 0);
    cr_assert_eq(x->live.active[2], 12);
    osv_batch_free(x);
}

Test(batch, tokens_before_the_first_steered_one_are_frozen)
{
    const int ids[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 22};
    const osv_sequence s[] = {{.count = 13, .prompt = 10, .ids = ids, .steer = late}};
    osv_batch *x = build(s, 1, &at_2, 1, &osv_all_on);
    cr_assert_eq(x->frozen, 8);
    cr_assert_eq(x->live.T, 4); /* positions 8 .. 11; the last token predicts nothing */
    cr_assert_eq(x->slots, 12);
    cr_assert_eq(x->base.active[5], 8);
    cr_assert_eq(x->live.parent[0], -2 - 7);
    osv_batch_free(x);
}

Test(batch, jobs_share_what_is_unsteered_and_nothing_else)
{
    const int ids[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 22};
    const osv_sequence s[] = {{.job = 0, .count = 13, .prompt = 10, .ids = ids, .steer = late},
                              {.job = 1, .count = 13, .prompt = 10, .ids = ids, .steer = late}};
    const osv_batch_job job[] = {{.layer = 4, .coldness = 1}, {.layer = 1, .coldness = 0.5}};
    osv_batch *x = build(s, 2, job, 2, &osv_all_on);
    cr_assert_eq(x->frozen, 8);
    cr_assert_eq(x->base.T, 12);
    cr_assert_eq(x->live.T, 8);
    cr_assert_eq(x->live.active[0], 0);
    cr_assert_eq(x->live.active[1], 4);
    cr_assert_eq(x->live.active[4], 8);
    cr_assert_eq(x->base.active[0], 12);
    cr_assert_eq(x->base.active[3], 12); /* x_4 of the four live positions */
    cr_assert_eq(x->base.active[4], 8);
    cr_assert_eq(x->sites, 2);
    cr_assert_eq(x->site_layer[0], 1);
    cr_assert_eq(x->site[0].param[0], 1);
    cr_assert_eq(x->site[1].row, 4);
    osv_batch_free(x);
}

/* One vector at blocks 1, 2 and 4; one for each of 1 and 4 with a map of rank 1; a third that is added at 2.
 */
Test(batch, jobs_at_several_blocks)
{
    const int ids[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 22}, shared[] = {2, 4}, apart[] = {4};
    osv_sequence s[3];
    for (int j = 0; j < 3; j++)
        s[j] = (osv_sequence){.job = j, .count = 13, .prompt = 10, .ids = ids, .steer = late};
    const osv_batch_job job[] = {{.layer = 1, .laters = 2, .later = shared},
                                 {.layer = 1,
                                  .laters = 1,
                                  .later = apart,
                                  .apart = true,
                                  .form = {.kind = OSV_FORM_AFFINE, .rank = 1}},
                                 {.layer = 2}};
    osv_batch *x = build(s, 3, job, 3, &osv_all_on);
    const int param[] = {0, 1, 7, 8}, layer[] = {1, 1, 2, 2, 4, 4}, row[] = {0, 4, 0, 8, 0, 4};
    const int first_param[] = {0, 1, 0, 7, 0, 4}, first_grad[] = {0, 1, 8, 7, 9, 4};
    const bool entry[] = {true, true, false, true, false, false};
    cr_assert_eq(x->P, 8); /* 1 + 2 x 3 + 1 */
    cr_assert_eq(x->G, 10);
    cr_assert(memcmp(x->job_param, param, sizeof param) == 0);
    cr_assert_eq(x->sums, 2);
    cr_assert(x->sum_first[1] == 1 && x->sum_first[2] == 2 && x->sum_param[0] == 0 && x->sum_param[1] == 0);
    cr_assert_eq(x->sites, 6);
    for (int i = 0; i < 6; i++) {
        const osv_site *site = &x->site[i];
        cr_expect(x->site_layer[i] == layer[i] && x->site_entry[i] == entry[i] && site->row == row[i] &&
                      site->rows == 4 && site->param[0] == first_param[i] && site->grad[0] == first_grad[i] &&
                      site->row_param[3] == first_param[i],
                  "site %d", i);
    }
    osv_batch_free(x);
}

Test(batch, losses_before_the_first_steered_position_are_constant)
{
    const int ids[] = {9, 8, 7, 6, 5, 4};
    const signed char completion[] = {0, 0, 0, 1, 1, 1};
    const osv_sequence s[] = {{.count = 6, .prompt = 3, .ids = ids, .steer = completion}};
    osv_batch *x = build(s, 1, &at_2, 1, &osv_all_on);
    cr_assert_eq(x->live.scores.S, 2);
    cr_assert_eq(x->base.scores.S, 1);
    cr_assert_eq(x->completion_score[0], 2); /* the first token's: behind the live ones */
    cr_assert_eq(x->completion_score[1], 0);
    osv_batch_free(x);
}

Test(batch, a_job_that_cannot_depend_on_its_vector_is_named)
{
    const int ids[] = {9, 8, 7, 6};
    const signed char last[] = {0, 0, 0, 1};
    const osv_sequence s[] = {{.job = 0, .count = 4, .prompt = 2, .ids = ids, .steer = steered},
                              {.job = 1, .count = 4, .prompt = 2, .ids = ids, .steer = last}};
    const osv_batch_job job[] = {at_2, at_2};
    osv_batch *x;
    int bad = -1;
    error = (osv_error){0};
    cr_assert_eq(osv_batch_build(&x, s, 2, job, 2, 6, &osv_all_on, &bad, &error), OSV_BAD_INPUT);
    cr_assert_eq(bad, 1);
    cr_assert_null(x);
}

Test(batch, every_token_knows_its_row)
{
    const int a[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21, 22}, b[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 30, 31};
    const osv_sequence s[] = {{.count = 13, .prompt = 10, .ids = a, .steer = late},
                              {.count = 12, .prompt = 10, .ids = b, .steer = late}};
    osv_batch *x = build(s, 2, &at_2, 1, &osv_all_on);
    cr_assert_eq(x->token_first[1], 12);
    cr_assert_eq(x->token_first[2], 23);
    for (int c = 0; c < 2; c++) {
        const int *row = x->token_row + x->token_first[c];
        for (int t = 0; t + 1 < s[c].count; t++) {
            const osv_pass *p = row[t] >= 0 ? &x->live : &x->base;
            int r = row[t] >= 0 ? row[t] : -1 - row[t];
            cr_expect_eq(row[t] < 0, t < 8, "token %d of sequence %d", t, c);
            cr_expect_eq(p->id[r], s[c].ids[t]);
            cr_expect_eq(p->pos[r], t);
            if (c == 1) cr_expect_eq(row[t] == x->token_row[t], t < 10, "token %d", t); /* shared */
        }
    }
    osv_batch_free(x);
}

Test(batch, a_completion_listed_twice_counts_twice)
{
    const int ids[] = {9, 8, 7, 6};
    const osv_sequence s[] = {{.count = 4, .prompt = 2, .ids = ids, .steer = steered},
                              {.count = 4, .prompt = 2, .ids = ids, .steer = steered}};
    osv_batch *x = build(s, 2, &at_2, 1, &osv_all_on);
    cr_assert_eq(x->live.T, 3);
    cr_assert_eq(x->live.R, 2);
    cr_assert_eq(x->live.scores.S, 4);
    osv_batch_free(x);
}

/* A prompt alone, and the same with two tokens behind it. */
Test(batch, distances_are_taken_once_and_end_the_pass)
{
    const int ids[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 21};
    osv_sequence s[] = {{.count = 10, .prompt = 10, .ids = ids, .steer = late, .target_layer = 4},
                        {.count = 12, .prompt = 10, .ids = ids, .steer = late, .target_layer = 4}};
    osv_batch *x = build(s, 2, &at_2, 1, &osv_all_on);
    cr_assert(x->frozen == 8 && x->live.T == 4 && x->live.R == 0, "the last token counts too");
    cr_assert(x->live.distances.M == 3 && osv_losses_of(&x->live) == 3);
    cr_assert(x->live.distance_first[4] == 0 && x->live.distance_first[5] == 3);
    for (int m = 0; m < 3; m++) {
        cr_expect_eq(x->live.distances.row[m], 1 + m);
        cr_expect_eq(x->base.pos[x->distance_base_row[m]], 9 + m);
    }
    cr_assert(x->completion_first[1] == 1 && x->completion_first[2] == 4);
    cr_assert(x->completion_score[0] == 0 && x->completion_score[1] == 0 && x->completion_score[3] == 2);
    cr_assert(x->end_block == 4 && x->live.active[3] == 4 && x->live.active[4] == 0);
    cr_assert(x->base.active[3] == 12 && x->base.active[4] == 0, "where it is unsteered has to be known");
    osv_batch_free(x);
    s[1].target_layer = 0; /* its tokens are scored: all blocks are needed */
    x = build(s, 2, &at_2, 1, &osv_all_on);
    cr_assert(x->end_block == 6 && x->live.distances.M == 1 && x->live.scores.S == 2);
    cr_assert(x->completion_score[0] == 2 && x->completion_score[1] == 0);
    osv_batch_free(x);
}

Test(batch, distances_of_frozen_rows_are_none)
{
    const int ids[] = {9, 8, 7, 6, 5, 4};
    const signed char completion[] = {0, 0, 0, 1, 1, 1};
    const osv_sequence s[] = {{.count = 6, .prompt = 3, .ids = ids, .steer = completion, .target_layer = 5}};
    osv_batch *x = build(s, 1, &at_2, 1, &osv_all_on);
    cr_assert_eq(osv_sequence_losses(&s[0]), 4);
    cr_assert(x->live.distances.M == 3 && x->completion_tokens == 3, "the prompt's last token has not moved");
    osv_batch_free(x);
}

Test(batch, a_distance_is_taken_above_the_vector)
{
    const int ids[] = {9, 8, 7}, later[] = {4};
    osv_batch_job job = {.layer = 2, .laters = 1, .later = later};
    for (int target = 1; target < 8; target++) {
        const osv_sequence s = {
            .count = 3, .prompt = 3, .ids = ids, .steer = steered, .target_layer = target};
        osv_batch *x;
        int bad;
        error = (osv_error){0};
        int status = osv_batch_build(&x, &s, 1, &job, 1, 6, &osv_all_on, &bad, &error);
        cr_expect_eq(status, target == 5 ? OSV_OK : OSV_BAD_INPUT, "at block %d", target);
        osv_batch_free(x);
    }
}

/* ---- random forests ---- */

static unsigned next(unsigned *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 10;
}

/* seen[query][slot] by walking from the row to the root: the definition. */
static void ancestors(const osv_batch *b, const osv_pass *p, int slot0, int row, char *seen)
{
    seen[slot0 + row] = 1;
    for (int up = p->parent[row]; up != -1;) {
        if (up >= 0 && p == &b->live) {
            seen[slot0 + up] = 1;
            up = p->parent[up];
        } else {
            int r = up >= 0 ? up : -2 - up;
            seen[r] = 1;
            up = b->base.parent[r] == -1 ? -1 : -2 - b->base.parent[r];
        }
    }
}

static void check_worklist(const osv_batch *b, const osv_worklist *w, const int *scored)
{
    const osv_pass *p = &b->live;
    size_t slots = (size_t)b->slots;
    char *want = calloc((size_t)w->rows * slots + 1, 1), *forward = calloc((size_t)w->rows * slots + 1, 1);
    char *reverse = calloc((size_t)w->rows * slots + 1, 1);
    for (int q = 0; q < w->rows; q++)
        ancestors(b, p, b->frozen, scored ? scored[q] : q, want + (size_t)q * slots);
    for (int i = 0; i < w->query_tiles; i++) {
        const osv_query_tile *t = &w->query_tile[i];
        int keys = 0;
        cr_assert_leq(t->count, OSV_TILE);
        for (int k = t->first; k < t->first + t->ranges; k++) {
            const osv_kv_range *r = &w->kv_range[k];
            keys += r->count;
            for (int q = t->row; q < t->row + t->count; q++)
                for (int j = 0; j < r->count; j++)
                    if (r->pos + j <= w->pos[q]) forward[(size_t)q * slots + (size_t)(r->slot + j)]++;
        }
        cr_assert_leq(keys, w->max_keys);
    }
    for (int i = 0; i < w->kv_tiles; i++) {
        const osv_kv_tile *t = &w->kv_tile[i];
        cr_assert_leq(t->count, OSV_TILE);
        cr_assert_geq(t->slot, w->live_slot);
        for (int q = t->row; q < t->row + t->rows; q++)
            for (int j = 0; j < t->count; j++)
                if (t->pos + j <= w->pos[q]) reverse[(size_t)q * slots + (size_t)(t->slot + j)]++;
    }
    for (int q = 0; q < w->rows; q++) {
        for (int slot = 0; slot < b->slots; slot++) {
            size_t i = (size_t)q * slots + (size_t)slot;
            cr_assert_eq(forward[i], want[i], "query %d, slot %d", q, slot);
            if (slot >= b->frozen) cr_assert_eq(reverse[i], want[i], "query %d, slot %d, reverse", q, slot);
        }
    }
    free(want);
    free(forward);
    free(reverse);
}

Test(batch, work_lists_of_random_forests)
{
    for (unsigned seed = 1; seed <= 200; seed++) {
        enum { most = 10, longest = 150 };
        unsigned s = seed;
        int C = 1 + (int)(next(&s) % most), J = 1 + (int)(next(&s) % 3);
        static int ids[most][longest];
        static signed char steer[most][longest];
        osv_sequence sequence[most];
        osv_batch_job job[3];
        for (int j = 0; j < 3; j++) job[j] = (osv_batch_job){.layer = (int)(next(&s) % 6), .coldness = 1};
        if (C < J) C = J;
        for (int c = 0; c < C; c++) {
            int length = seed % 5 == 0 ? longest : LENGTH;
            int count = 3 + (int)(next(&s) % (unsigned)(length - 3)),
                from = (int)(next(&s) % (unsigned)(count - 1));
            int shared = c ? (int)(next(&s) % (unsigned)sequence[c - 1].count) : 0;
            for (int t = 0; t < count; t++) {
                ids[c][t] = t < shared ? ids[c - 1][t] : (int)(next(&s) % 5);
                steer[c][t] = (signed char)(t >= from && next(&s) % 4 ? 1 : 0);
            }
            steer[c][from] = 1;
            sequence[c] = (osv_sequence){.job = c % J,
                                         .count = count,
                                         .prompt = 1 + (int)(next(&s) % (unsigned)(count - 1)),
                                         .ids = ids[c],
                                         .steer = steer[c]};
        }
        osv_switches on = osv_all_on;
        on.freeze = seed % 7 != 0;
        on.share = seed % 11 != 0;
        osv_batch *b = build(sequence, C, job, J, &on);
        check_worklist(b, &b->live.work, NULL);
        check_worklist(b, &b->live.last, b->live.scored);
        for (int l = 1; l < b->N; l++) {
            cr_assert_leq(b->base.active[l], b->base.active[l - 1]);
            cr_assert_geq(b->live.active[l], b->live.active[l - 1]);
        }
        osv_batch_free(b);
    }
}
