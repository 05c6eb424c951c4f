/* ln P of continuations, and whole distributions, in one pass against running every beginning on its own, in
 * double: packed, with several vectors, with choices that share their first tokens. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/likelihood.h"
#include "tests/toy.h"

enum { TEXTS = 9, LENGTH = 12, V = 37, D = 24 };

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    toy toy;
    osv_real vector[2][D];
    osv_steering steering[2];
    int ids[TEXTS][LENGTH];
    uint32_t steer[TEXTS][LENGTH];
    osv_continuation text[TEXTS];
} setting;

static int below(unsigned *r, int n)
{
    return (int)((toy_random(r) + 1) / 2 * n);
}

static void open_setting(setting *s, unsigned seed)
{
    memset(s, 0, sizeof *s);
    s->toy = toy_make((toy_family)(seed % TOY_FAMILIES), 3, seed);
    cr_assert_eq(osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error), 0);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), 0);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < D; k++) s->vector[i][k] = (osv_real)toy_random(&seed);
        s->steering[i] = (osv_steering){.layer = i + 1, .p = s->vector[i]};
    }
    s->steering[1].form = (osv_form){.kind = OSV_FORM_CLAMP, .clamp = -0.4};
    for (int i = 0; i < TEXTS; i++) {
        int count = 4 + below(&seed, LENGTH - 3), prompt = 1 + below(&seed, 3), shared = i % 3 ? 4 : 0;
        for (int t = 0; t < LENGTH; t++) {
            s->ids[i][t] = t < shared ? s->ids[0][t] : below(&seed, V);
            s->steer[i][t] = t < shared ? s->steer[0][t] : (uint32_t)below(&seed, 4);
        }
        s->text[i] =
            (osv_continuation){.count = count, .prompt = prompt, .ids = s->ids[i], .steer = s->steer[i]};
    }
    s->text[TEXTS - 1] = s->text[1]; /* twice the same */
}

static void close_setting(setting *s)
{
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->toy);
}

static double one_by_one(setting *s, const osv_continuation *c)
{
    double sum = 0;
    for (int t = c->prompt; t < c->count; t++) {
        osv_decoder *d;
        const osv_prompt prompt = {.count = t, .ids = c->ids, .steer = c->steer};
        const int of[] = {0};
        cr_assert_eq(
            osv_decoder_open(&d, s->ops, s->comm, &s->toy.model, &prompt, 1, of, 1, s->steering, 2, 1), 0);
        const osv_real *z = osv_decoder_logits(d);
        double total = 0;
        for (int j = 0; j < V; j++) total += exp(z[j] - z[c->ids[t]]);
        sum -= log(total);
        osv_decoder_close(d);
    }
    return sum;
}

Test(likelihood, equals_running_every_beginning_anew)
{
    for (unsigned seed = 1; seed <= 8; seed++) {
        static setting s;
        double expected[TEXTS];
        open_setting(&s, seed);
        for (int i = 0; i < TEXTS; i++) expected[i] = one_by_one(&s, &s.text[i]);
        for (int most_rows = 0; most_rows <= 9; most_rows += 3) { /* all in one pass; few; ... */
            double got[TEXTS];
            osv_likelihood l = {.ops = s.ops,
                                .comm = s.comm,
                                .model = &s.toy.model,
                                .steering = s.steering,
                                .steerings = 2,
                                .most_rows = most_rows};
            cr_assert_eq(osv_likelihood_of(&l, s.text, TEXTS, got), 0, "%s", s.error.text);
            for (int i = 0; i < TEXTS; i++)
                cr_assert(fabs(got[i] - expected[i]) <= 1e-11 * (1 + fabs(expected[i])),
                          "seed %u, %d rows, text %d: %.15g, %.15g", seed, most_rows, i, got[i], expected[i]);
        }
        close_setting(&s);
    }
}

/* What the distributions say of the texts' tokens is what the likelihood says, and each of them is one. */
Test(likelihood, has_whole_distributions)
{
    for (unsigned seed = 1; seed <= 4; seed++) {
        static setting s;
        static osv_real logp[TEXTS * LENGTH][V];
        double expected[TEXTS];
        open_setting(&s, seed);
        osv_likelihood l = {
            .ops = s.ops, .comm = s.comm, .model = &s.toy.model, .steering = s.steering, .steerings = 2};
        cr_assert_eq(osv_likelihood_of(&l, s.text, TEXTS, expected), 0, "%s", s.error.text);
        for (l.most_rows = 0; l.most_rows <= 9; l.most_rows += 3) {
            memset(logp, 0, sizeof logp);
            cr_assert_eq(osv_distributions_of(&l, s.text, TEXTS, 1, logp[0]), 0, "%s", s.error.text);
            for (int i = 0, row = 0; i < TEXTS; i++) {
                double sum = 0;
                for (int t = s.text[i].prompt; t < s.text[i].count; t++, row++) {
                    double total = 0;
                    for (int j = 0; j < V; j++) total += exp(logp[row][j]);
                    cr_assert(fabs(total - 1) < 1e-12, "seed %u, text %d: %.15g", seed, i, total);
                    sum += logp[row][s.text[i].ids[t]];
                }
                cr_assert(fabs(sum - expected[i]) < 1e-11 * (1 + fabs(sum)), "seed %u, text %d: %.15g, %.15g",
                          seed, i, sum, expected[i]);
            }
        }
        /* colder: c ln P, normed anew */
        static osv_real colder[TEXTS * LENGTH][V];
        l.most_rows = 0;
        cr_assert_eq(osv_distributions_of(&l, s.text, TEXTS, 1, logp[0]), 0);
        cr_assert_eq(osv_distributions_of(&l, s.text, TEXTS, 0.3, colder[0]), 0);
        double total = 0;
        for (int j = 0; j < V; j++) total += exp(0.3 * logp[0][j]);
        for (int j = 0; j < V; j++)
            cr_assert(fabs(colder[0][j] - (0.3 * logp[0][j] - log(total))) < 1e-12, "seed %u", seed);
        close_setting(&s);
    }
}
