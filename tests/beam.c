/* Beam search in double on small random models, against all sequences there are, and against a search that
 * runs every text anew. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/beam.h"
#include "optim/likelihood.h"
#include "tests/toy.h"

enum { V = 37, PROMPTS = 4, LENGTH = 9, TOKENS = 4, STOPS = 2 };

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    toy toy;
    int ids[2 * PROMPTS][LENGTH];
    osv_beam_prompt prompt[PROMPTS];
    osv_beam_search search;
    int stop[STOPS];
} setting;

/* Four prompts: with and without a second one, two of them with the same beginning. */
static void open_setting(setting *s, unsigned seed)
{
    memset(s, 0, sizeof *s);
    s->toy = toy_make((toy_family)(seed % TOY_FAMILIES), 3, seed);
    cr_assert_eq(osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error), 0);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), 0);
    for (int i = 0; i < 2 * PROMPTS; i++)
        for (int t = 0; t < LENGTH; t++)
            s->ids[i][t] = i == 1 && t < 3 ? s->ids[0][t] : (int)((toy_random(&seed) + 1) / 2 * V);
    for (int i = 0; i < PROMPTS; i++)
        s->prompt[i] = (osv_beam_prompt){.count = 3 + 2 * i,
                                         .ids = s->ids[i],
                                         .minus = i % 2 ? 4 + i : 0,
                                         .minus_ids = s->ids[PROMPTS + i]};
    for (int i = 0; i < STOPS; i++) s->stop[i] = (int)((toy_random(&seed) + 1) / 2 * V);
    s->search = (osv_beam_search){.ops = s->ops,
                                  .comm = s->comm,
                                  .model = &s->toy.model,
                                  .width = 5,
                                  .tokens = TOKENS,
                                  .stop = s->stop,
                                  .stops = STOPS};
}

static void close_setting(setting *s)
{
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->toy);
}

/* A continuation of the search below. */
typedef struct {
    int count, ids[TOKENS];
    double ln[2], last[2], rank; /* under both prompts: of all tokens, of the last one */
} text;

static bool is_stop(const setting *s, int id)
{
    return id == s->stop[0] || id == s->stop[1];
}

/* ln P of texts under a prompt, of the whole and of all but the last token, which come anew. */
static void likelihoods(setting *s, const int *prompt, int count, text *x, int n, int side)
{
    int(*ids)[LENGTH + TOKENS + 1] = calloc(2 * (size_t)n, sizeof *ids);
    static const uint32_t unsteered[LENGTH + TOKENS + 1];
    osv_continuation *c = calloc(2 * (size_t)n, sizeof *c);
    double *ln = calloc(2 * (size_t)n, sizeof *ln);
    for (int i = 0; i < n; i++) {
        memcpy(ids[i], prompt, (size_t)count * sizeof **ids);
        memcpy(ids[i] + count, x[i].ids, sizeof x[i].ids);
        int end = count + x[i].count;
        c[2 * i] = (osv_continuation){.count = end, .prompt = count, .ids = ids[i], .steer = unsteered};
        c[2 * i + 1] = (osv_continuation){.count = end, .prompt = end - 1, .ids = ids[i], .steer = unsteered};
    }
    const osv_likelihood l = {.ops = s->ops, .comm = s->comm, .model = &s->toy.model};
    cr_assert_eq(osv_likelihood_of(&l, c, 2 * n, ln), 0, "%s", s->error.text);
    for (int i = 0; i < n; i++) {
        x[i].ln[side] = ln[2 * i];
        x[i].last[side] = ln[2 * i + 1];
    }
    free(ids);
    free(c);
    free(ln);
}

static void rank(setting *s, const osv_beam_prompt *p, text *x, int n)
{
    likelihoods(s, p->ids, p->count, x, n, 0);
    if (p->minus) likelihoods(s, p->minus_ids, p->minus, x, n, 1);
    for (int i = 0; i < n; i++) {
        const double *ln = s->search.rank == OSV_BEAM_LAST ? x[i].last : x[i].ln;
        x[i].rank = p->minus ? exp(ln[0]) - exp(ln[1]) : ln[0];
    }
}

static int by_rank(const void *a, const void *b)
{
    const text *x = a, *y = b;
    return (x->rank < y->rank) - (x->rank > y->rank);
}

/* The same search without a cache: all that the kept texts can become, ranked and cut at `width`. */
static text search_anew(setting *s, const osv_beam_prompt *p, int width)
{
    int n = 1;
    text *kept = calloc((size_t)width, sizeof *kept);
    text *all = calloc((size_t)width * V, sizeof *all);
    for (int t = 0; t < s->search.tokens; t++) {
        int m = 0;
        for (int k = 0; k < n; k++) {
            bool ended = kept[k].count > 0 && is_stop(s, kept[k].ids[kept[k].count - 1]);
            for (int v = 0; v < (ended ? 1 : V); v++, m++) {
                all[m] = kept[k];
                if (!ended) all[m].ids[all[m].count++] = v;
            }
        }
        rank(s, p, all, m);
        qsort(all, (size_t)m, sizeof *all, by_rank);
        n = m < width ? m : width;
        memcpy(kept, all, (size_t)n * sizeof *kept);
    }
    text best = kept[0];
    free(kept);
    free(all);
    return best;
}

/* All sequences of two tokens, or of one that ends it. */
static text best_of_all(setting *s, const osv_beam_prompt *p)
{
    int n = 0;
    text *all = calloc(V * V, sizeof *all);
    for (int a = 0; a < V; a++) {
        if (is_stop(s, a)) all[n++] = (text){.count = 1, .ids = {a}};
        for (int b = 0; b < V && !is_stop(s, a); b++) all[n++] = (text){.count = 2, .ids = {a, b}};
    }
    rank(s, p, all, n);
    qsort(all, (size_t)n, sizeof *all, by_rank);
    text best = all[0];
    free(all);
    return best;
}

static void check(const osv_beam *found, const text *expected, const char *what, unsigned seed, int i)
{
    cr_assert_eq(found->count, expected->count, "%s, seed %u, prompt %d: %d tokens, not %d", what, seed, i,
                 found->count, expected->count);
    for (int t = 0; t < found->count; t++)
        cr_assert_eq(found->ids[t], expected->ids[t], "%s, seed %u, prompt %d, token %d", what, seed, i, t);
    cr_assert(fabs(found->logprob - expected->ln[0]) <= 1e-11 * (1 + fabs(expected->ln[0])));
}

static void find(setting *s, osv_beam *found, int (*ids)[TOKENS])
{
    for (int i = 0; i < PROMPTS; i++) found[i] = (osv_beam){.ids = ids[i]};
    cr_assert_eq(osv_beam_find(&s->search, s->prompt, PROMPTS, found), 0, "%s", s->error.text);
}

Test(beam, wide_enough_it_finds_the_best_of_all)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        static setting s;
        osv_beam found[PROMPTS];
        int ids[PROMPTS][TOKENS];
        open_setting(&s, seed);
        s.search.tokens = 2;
        s.search.width = V;
        s.search.rank = seed % 2 ? OSV_BEAM_TOTAL : OSV_BEAM_LAST;
        find(&s, found, ids);
        for (int i = 0; i < PROMPTS; i++) {
            text best = best_of_all(&s, &s.prompt[i]);
            check(&found[i], &best, "all", seed, i);
        }
        close_setting(&s);
    }
}

Test(beam, equals_a_search_without_a_cache)
{
    static const int widths[] = {1, 2, 5};
    int ended = 0;
    for (unsigned seed = 1; seed <= 12; seed++) {
        static setting s;
        osv_beam found[PROMPTS];
        int ids[PROMPTS][TOKENS];
        open_setting(&s, seed);
        s.search.width = widths[seed % 3];
        s.search.rank = seed % 2 ? OSV_BEAM_LAST : OSV_BEAM_TOTAL;
        s.search.most_tokens = seed % 4 == 0 ? 1 : 0; /* each prompt by itself; all together */
        find(&s, found, ids);
        for (int i = 0; i < PROMPTS; i++) {
            text best = search_anew(&s, &s.prompt[i], s.search.width);
            check(&found[i], &best, "beams", seed, i);
            ended += found[i].count < TOKENS;
        }
        close_setting(&s);
    }
    cr_expect_gt(ended, 0, "no continuation ended early: the test shows nothing of that");
}

Test(beam, among_equals_the_lowest_ids)
{
    static setting s;
    osv_beam found[PROMPTS];
    int ids[PROMPTS][TOKENS];
    open_setting(&s, 3);
    s.search.stops = 0;
    memset(s.toy.weights, 0, V * 24 * sizeof *s.toy.weights); /* the embedding: all logits are equal */
    find(&s, found, ids);
    for (int i = 0; i < PROMPTS; i++) {
        cr_assert_eq(found[i].count, TOKENS);
        for (int t = 0; t < TOKENS; t++) cr_expect_eq(found[i].ids[t], 0, "prompt %d, token %d", i, t);
    }
    close_setting(&s);
}

Test(beam, logits_that_are_no_numbers)
{
    static setting s;
    osv_beam found[PROMPTS];
    int ids[PROMPTS][TOKENS];
    open_setting(&s, 3);
    for (int i = 0; i < V * 24; i++) s.toy.weights[i] = NAN;
    for (int i = 0; i < PROMPTS; i++) found[i] = (osv_beam){.ids = ids[i]};
    cr_assert_eq(osv_beam_find(&s.search, s.prompt, PROMPTS, found), OSV_BAD_INPUT);
    cr_assert(strstr(s.error.text, "not finite") != NULL, "%s", s.error.text);
    close_setting(&s);
}
