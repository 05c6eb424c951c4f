/* Decoding on K/V arenas against running the whole text anew, in double: packed prompts that share their
 * beginnings, several vectors at once, streams that end early. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/decode.h"
#include "tests/toy.h"

enum { PROMPTS = 5, STREAMS = 7, LENGTH = 14, STEPS = 6, V = 37, D = 24 };

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    toy toy;
    osv_real vector[3][D];
    osv_steering steering[3];
} setting;

static void open_setting(setting *s, toy_family family, unsigned seed)
{
    memset(s, 0, sizeof *s);
    s->toy = toy_make(family, 3, seed);
    cr_assert_eq(osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error), 0);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), 0);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < D; k++) s->vector[i][k] = (osv_real)toy_random(&seed);
        s->steering[i] = (osv_steering){.layer = i == 2 ? 0 : i + 1, .p = s->vector[i]};
    }
    s->steering[1].form = (osv_form){.kind = OSV_FORM_CLAMP, .clamp = 0.7};
}

static void close_setting(setting *s)
{
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->toy);
}

/* Logits after a whole text, run as one prompt. */
static void whole(setting *s, const int *ids, const uint32_t *steer, int count, osv_real *z)
{
    osv_decoder *d;
    const osv_prompt prompt = {.count = count, .ids = ids, .steer = steer};
    const int of[] = {0};
    cr_assert_eq(osv_decoder_open(&d, s->ops, s->comm, &s->toy.model, &prompt, 1, of, 1, s->steering, 3, 1),
                 0, "%s", s->error.text);
    memcpy(z, osv_decoder_logits(d), V * sizeof *z);
    osv_decoder_close(d);
}

static void check_decoding(toy_family family, unsigned seed)
{
    static setting s;
    open_setting(&s, family, seed);
    int ids[STREAMS][LENGTH + STEPS], count[STREAMS];
    uint32_t steer[STREAMS][LENGTH + STEPS];
    osv_prompt prompt[PROMPTS];
    const int of[STREAMS] = {0, 1, 1, 2, 3, 4, 4};
    unsigned r = seed;
    for (int p = 0; p < PROMPTS;
         p++) { /* streams come in order of prompts: the first of each is the prompt */
        int i = 0;
        while (of[i] != p) i++;
        count[i] = 3 + (int)((toy_random(&r) + 1) * 5);
        for (int t = 0; t < count[i]; t++) {
            bool shared = i > 0 && t < 4;
            ids[i][t] = shared ? ids[0][t] : (int)((toy_random(&r) + 1) / 2 * V);
            steer[i][t] = shared && seed % 2 ? steer[0][t] : (uint32_t)((toy_random(&r) + 1) * 4);
        }
        prompt[p] = (osv_prompt){.count = count[i], .ids = ids[i], .steer = steer[i]};
        for (int k = i + 1; k < STREAMS && of[k] == p; k++) {
            count[k] = count[i];
            memcpy(ids[k], ids[i], sizeof ids[i]);
            memcpy(steer[k], steer[i], sizeof steer[i]);
        }
    }
    osv_decoder *d;
    cr_assert_eq(
        osv_decoder_open(&d, s.ops, s.comm, &s.toy.model, prompt, PROMPTS, of, STREAMS, s.steering, 3, STEPS),
        0, "%s", s.error.text);
    long tokens, run;
    osv_decoder_counts(d, &tokens, &run);
    if (seed % 2) cr_assert_lt(run, tokens);

    for (int step = 0; step <= STEPS; step++) {
        int next[STREAMS], n = osv_decoder_streams(d);
        uint32_t mask[STREAMS];
        bool keep[STREAMS];
        for (int i = 0; i < n; i++) {
            int k = osv_decoder_stream(d, i);
            osv_real z[V];
            whole(&s, ids[k], steer[k], count[k], z);
            const osv_real *got = osv_decoder_logits(d) + osv_decoder_row(d, i) * V;
            for (int j = 0; j < V; j++)
                cr_assert(fabs(got[j] - z[j]) <= 1e-12 * (1 + fabs(z[j])),
                          "seed %u, step %d, stream %d: %.15g, %.15g", seed, step, k, got[j], z[j]);
            keep[i] = !(step == 2 && k == 1) && !(step == 3 && k >= 5);
        }
        if (step == STEPS) break;
        osv_decoder_keep(d, keep);
        n = osv_decoder_streams(d);
        cr_assert_eq(n, step < 2 ? STREAMS : step == 2 ? STREAMS - 1 : STREAMS - 3);
        for (int i = 0; i < n; i++) {
            int k = osv_decoder_stream(d, i);
            next[i] = ids[k][count[k]] = (int)((toy_random(&r) + 1) / 2 * V);
            mask[i] = steer[k][count[k]++] = (uint32_t)((toy_random(&r) + 1) * 4);
        }
        cr_assert_eq(osv_decoder_step(d, next, mask), 0, "%s", s.error.text);
    }
    osv_decoder_close(d);
    close_setting(&s);
}

Test(decode, equals_running_the_text_anew)
{
    for (unsigned seed = 1; seed <= 12; seed++) check_decoding((toy_family)(seed % TOY_FAMILIES), seed);
}

/* Streams of two prompts go on from each other's texts, some from a text that others dropped. */
static void check_branches(toy_family family, unsigned seed)
{
    enum { TEXTS = 6 };
    static setting s;
    open_setting(&s, family, seed);
    int ids[TEXTS][LENGTH + STEPS], of[TEXTS] = {0, 0, 0, 0, 1, 1}, count = 0;
    uint32_t steer[TEXTS][LENGTH + STEPS];
    unsigned r = seed;
    const int start[2] = {5, 3};
    for (int i = 0; i < TEXTS; i++)
        for (int t = 0; t < start[of[i]]; t++) {
            ids[i][t] = (7 * t + 3 * of[i]) % V;
            steer[i][t] = (uint32_t)(t % 8);
        }
    const osv_prompt prompt[2] = {{start[0], ids[0], steer[0]}, {start[1], ids[4], steer[4]}};
    osv_decoder *d;
    cr_assert_eq(
        osv_decoder_open(&d, s.ops, s.comm, &s.toy.model, prompt, 2, of, TEXTS, s.steering, 3, STEPS), 0,
        "%s", s.error.text);
    for (int step = 0; step < STEPS; step++, count++) {
        int from[TEXTS], next[TEXTS], before[TEXTS][LENGTH + STEPS];
        uint32_t mask[TEXTS], steer_before[TEXTS][LENGTH + STEPS];
        memcpy(before, ids, sizeof ids);
        memcpy(steer_before, steer, sizeof steer);
        for (int i = 0; i < TEXTS; i++) {
            from[i] = of[i] == 0 ? (int)((toy_random(&r) + 1) * 2) : 4 + (int)(toy_random(&r) + 1);
            memcpy(ids[i], before[from[i]], sizeof ids[i]);
            memcpy(steer[i], steer_before[from[i]], sizeof steer[i]);
        }
        cr_assert_eq(osv_decoder_branch(d, from), 0);
        for (int i = 0; i < TEXTS; i++) {
            next[i] = ids[i][start[of[i]] + count] = (int)((toy_random(&r) + 1) / 2 * V);
            mask[i] = steer[i][start[of[i]] + count] = (uint32_t)((toy_random(&r) + 1) * 4);
        }
        cr_assert_eq(osv_decoder_step(d, next, mask), 0, "%s", s.error.text);
        for (int i = 0; i < TEXTS; i++) {
            osv_real z[V];
            whole(&s, ids[i], steer[i], start[of[i]] + count + 1, z);
            const osv_real *got = osv_decoder_logits(d) + osv_decoder_row(d, i) * V;
            for (int j = 0; j < V; j++)
                cr_assert(fabs(got[j] - z[j]) <= 1e-12 * (1 + fabs(z[j])),
                          "seed %u, step %d, text %d: %.15g, %.15g", seed, step, i, got[j], z[j]);
        }
    }
    osv_decoder_close(d);
    close_setting(&s);
}

Test(decode, branches_equal_running_the_text_anew)
{
    for (unsigned seed = 1; seed <= 10; seed++) check_branches((toy_family)(seed % TOY_FAMILIES), seed);
}
