/* The optimizer's parts, and the loop in double on small random models: jobs together as if alone, every way
 * to stop. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"
#include "optim/adam.h"
#include "optim/evaluate.h"
#include "optim/orthogonal.h"
#include "optim/random.h"
#include "optim/stop.h"
#include "optim/train.h"
#include "tests/toy.h"

/* Known answers of Random123's philox4x32-10. */
Test(optim, philox_known_answers)
{
    const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        osv_philox(known[i].counter, known[i].key, out);
        cr_assert_arr_eq(out, known[i].out, sizeof out);
    }
}

Test(optim, start_vectors_depend_on_seed_and_name)
{
    osv_real a[101], b[101], c[101], d[101];
    double norm = 0, ac = 0, ad = 0;
    osv_random_direction(a, 101, 3, 7, "all", 0);
    osv_random_direction(b, 101, 3, 7, "all", 0);
    osv_random_direction(c, 101, 3, 8, "all", 0);
    osv_random_direction(d, 101, 3, 7, "other", 0);
    for (int i = 0; i < 101; i++) norm += a[i] * a[i], ac += a[i] * c[i], ad += a[i] * d[i];
    cr_assert(fabs(sqrt(norm) - 3) <= 1e-12);
    cr_assert_arr_eq(a, b, sizeof a);
    cr_assert(fabs(ac) <= 0.5 * norm);
    cr_assert(fabs(ad) <= 0.5 * norm);
}

Test(optim, learning_rates)
{
    osv_job job = {.options = osv_job_defaults(), .layer = 0};
    osv_job_options *o = &job.options;
    o->lr = 2;
    o->max_iters = 10;
    static const struct {
        osv_lr_schedule schedule;
        int warmup, step;
        double lr;
    } expected[] = {
        {OSV_LR_CONSTANT, 0, 1, 2},
        {OSV_LR_CONSTANT, 0, 99, 2},
        {OSV_LR_CONSTANT, 4, 1, 0.5},
        {OSV_LR_CONSTANT, 4, 4, 2},
        {OSV_LR_CONSTANT, 4, 5, 2},
        {OSV_LR_LINEAR, 0, 1, 2},
        {OSV_LR_LINEAR, 0, 6, 1},
        {OSV_LR_LINEAR, 0, 10, 0.2},
        {OSV_LR_LINEAR, 2, 2, 2},
        {OSV_LR_LINEAR, 2, 3, 2},
        {OSV_LR_LINEAR, 2, 7, 1},
        {OSV_LR_COSINE, 0, 1, 2},
        {OSV_LR_COSINE, 0, 6, 1},
        {OSV_LR_COSINE, 2, 3, 2},
        {OSV_LR_COSINE, 2, 5, 1 + 0.70710678118654752},
        {OSV_LR_COSINE, 10, 11, 2}, /* nothing is left of it */
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        o->schedule = expected[i].schedule;
        o->warmup = expected[i].warmup;
        double lr = (double)osv_adam_step(&job, 0, expected[i].step, false).lr;
        cr_expect(fabs(lr - expected[i].lr) <= 1e-12, "row %zu: %g, not %g", i, lr, expected[i].lr);
    }
    cr_expect_eq(osv_adam_step(&job, 0, 3, true).lr, 0);
}

Test(optim, stop_rules_in_their_order)
{
    osv_job job = {.options = osv_job_defaults(), .completions = 2};
    job.options.max_iters = 5;
    job.options.target_loss = 1;
    osv_stop_state s = {0};
    const double low[] = {0.5, 0.4}, high[] = {2, 0.4};
    cr_assert_eq(osv_stop_check(&s, &job, 5, NAN, low, false), OSV_STOP_NAN);
    cr_assert_eq(osv_stop_check(&s, &job, 5, INFINITY, low, false), OSV_STOP_NAN);
    cr_assert_eq(osv_stop_check(&s, &job, 5, 0.9, low, true), OSV_STOP_TARGET);
    cr_assert_eq(osv_stop_check(&s, &job, 5, 2.4, high, true), OSV_STOP_MAX_ITERS);
    cr_assert_eq(osv_stop_check(&s, &job, 4, 2.4, high, true), OSV_STOP_PLATEAU);
    cr_assert_eq(osv_stop_check(&s, &job, 4, 3.4, high, true), OSV_STOP_INTERRUPTED);
    cr_assert_eq(osv_stop_check(&s, &job, 4, 4.4, high, false), OSV_RUNNING);
}

Test(optim, target_each_and_consecutive_iterations)
{
    osv_goal goals[] = {osv_goal_plain, osv_goal_plain};
    goals[0].target = 0.1;
    osv_job job = {.options = osv_job_defaults(), .completions = 2, .goal = goals};
    job.options.target_loss = 1;
    job.options.target_rule = OSV_TARGET_EACH;
    job.options.target_iters = 2;
    osv_stop_state s = {0};
    const double met[] = {0.1, 1}, missed[] = {0.11, 0};
    cr_assert_eq(osv_stop_check(&s, &job, 0, 1.1, met, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 1, 0.11, missed, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 2, 1.1, met, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 3, 1.1001, met, false), OSV_STOP_TARGET);
}

Test(optim, the_loss_of_preferences)
{
    osv_goal goals[4];
    for (int c = 0; c < 4; c++) goals[c] = osv_goal_plain;
    goals[1] =
        (osv_goal){.target = NAN, .weight = 1, .bound = NAN, .partner = 3, .beta = -0.5, .reference = 2};
    goals[2].aside = true;
    goals[3] =
        (osv_goal){.target = 0.25, .weight = 1, .bound = NAN, .partner = 1, .beta = 0.5, .reference = 4};
    osv_job job = {.options = osv_job_defaults(), .completions = 4, .goal = goals};
    const double same[] = {1, 2, 9, 4}, better[] = {1, 5, 9, 1}, far[] = {1, 2000, 9, 0},
                 wrong[] = {1, 0, 9, 3000};
    cr_expect(fabs(osv_job_loss(&job, same) - 1 - log(2)) <= 1e-15);
    cr_expect(fabs(osv_job_term(&job, 3, better) - log(1 + exp(-3))) <= 1e-15);
    cr_expect(osv_job_term(&job, 1, better) == 0 && osv_job_term(&job, 2, better) == 0);
    cr_expect(fabs(osv_job_loss(&job, far) - 1) <= 1e-300 &&
              fabs(osv_job_term(&job, 3, wrong) - 1499) <= 1e-9);
    cr_expect(isnan(osv_job_loss(&job, (const double[]){1, NAN, 9, 4})));

    osv_stop_state s = {
        0}; /* each: the pair against the target of the chosen one, the rejected one has none */
    job.options.target_loss = 1;
    job.options.target_rule = OSV_TARGET_EACH;
    cr_expect_eq(osv_stop_check(&s, &job, 0, osv_job_loss(&job, same), same, false), OSV_RUNNING);
    cr_expect_eq(osv_stop_check(&s, &job, 1, osv_job_loss(&job, better), better, false), OSV_STOP_TARGET);
}

Test(optim, parity_goes_on_for_a_step_after_the_target)
{
    osv_job job = {.options = osv_job_defaults(), .completions = 1};
    job.options.target_loss = 1;
    job.options.max_iters = 3;
    job.options.parity = OSV_PARITY_STEP_AFTER_TARGET | OSV_PARITY_EXTRA_STEP;
    osv_stop_state s = {0};
    const double loss = 0; /* of the completion; the sum is what counts */
    cr_assert_eq(osv_stop_check(&s, &job, 0, 2, &loss, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 1, 0.9, &loss, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 2, 1.5, &loss, false), OSV_STOP_TARGET);
    s = (osv_stop_state){0};
    cr_assert_eq(osv_stop_check(&s, &job, 2, 1.5, &loss, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 3, 1.4, &loss, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 4, 0.9, &loss, false), OSV_STOP_MAX_ITERS);
}

Test(optim, parity_counts_small_changes_in_all)
{
    osv_job job = {.options = osv_job_defaults(), .completions = 0};
    job.options.plateau_eps = 0.1;
    job.options.plateau_iters = 2;
    job.options.parity = OSV_PARITY_PLATEAU_TOTAL;
    osv_stop_state s = {0};
    const double loss[] = {5, 4.95, 4, 3.95};
    for (int i = 0; i < 3; i++) cr_assert_eq(osv_stop_check(&s, &job, i, loss[i], loss, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 3, loss[3], loss, false), OSV_STOP_PLATEAU);
}

Test(optim, plateau_counter_starts_again)
{
    osv_job job = {.options = osv_job_defaults(), .completions = 0};
    job.options.plateau_eps = 0.1;
    job.options.plateau_iters = 2;
    osv_stop_state s = {0};
    const double loss[] = {5, 4.95, 4, 3.95, 3.92};
    for (int i = 0; i < 4; i++) cr_assert_eq(osv_stop_check(&s, &job, i, loss[i], NULL, false), OSV_RUNNING);
    cr_assert_eq(osv_stop_check(&s, &job, 4, loss[4], NULL, false), OSV_STOP_PLATEAU);
}

/* ---- the loop ---- */

enum { JOBS = 5, STEPS = 12, D = 24 };

typedef struct {
    double loss[JOBS][STEPS + 1], grad_norm[JOBS][STEPS + 1];
    int lines[JOBS], final_iter[JOBS], nan_iter[JOBS];
    double final_loss[JOBS];
    osv_stop stopped[JOBS];
    osv_real vector[JOBS][D];
    const osv_real *kept[JOBS]; /* the vectors */
    int only;                   /* the job's number where one is trained alone; else -1 */
    volatile sig_atomic_t interrupted;
    int interrupt_at;
} record;

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    record *x = context;
    int j = x->only >= 0 ? x->only : r->job;
    (void)e;
    if (r->stopped == OSV_RUNNING) {
        cr_assert_eq(r->iter, x->lines[j]);
        x->grad_norm[j][x->lines[j]] = r->grad_norm;
        x->loss[j][x->lines[j]++] = r->loss;
        if (r->iter == x->interrupt_at) x->interrupted = 1;
    } else {
        cr_assert_eq(x->stopped[j], OSV_RUNNING, "two final reports");
        x->stopped[j] = r->stopped;
        x->final_iter[j] = r->iter;
        x->final_loss[j] = r->loss;
        x->nan_iter[j] = r->nan_iter;
        memcpy(x->vector[j], r->vector, sizeof x->vector[j]);
    }
    return 0;
}

typedef struct {
    osv_job job[JOBS];
    osv_sequence sequence[JOBS][2];
    int ids[JOBS][2][12];
    signed char steer[12];
} jobs;

/* Five jobs with different layers, lengths and step counts, all beginning alike. */
static void make_jobs(jobs *x)
{
    memset(x->steer, 1, sizeof x->steer);
    x->steer[0] = x->steer[1] = 0;
    for (int j = 0; j < JOBS; j++) {
        for (int c = 0; c < 2; c++) {
            for (int t = 0; t < 12; t++)
                x->ids[j][c][t] = (t * 5 + (t > 2 + j ? j : 0) + (t > 8 ? c : 0)) % 37;
            x->sequence[j][c] = (osv_sequence){.count = 9 + j % 3,
                                               .prompt = 6,
                                               .ids = x->ids[j][c],
                                               .steer = x->steer,
                                               .kind = c ? OSV_ONE_MINUS : OSV_PROMOTE};
        }
        static const char *const name[JOBS] = {"a", "b", "c", "d", "e"};
        x->job[j] = (osv_job){.name = name[j],
                              .layer = (j * 2 + 1) % 3,
                              .options = osv_job_defaults(),
                              .completions = 2,
                              .sequence = x->sequence[j]};
        x->job[j].options.lr = 0.1;
        x->job[j].options.max_iters = STEPS - 2 * j; /* so that the batch is packed anew on the way */
        x->job[j].options.max_norm = j == 2 ? 1.5 : -1;
    }
}

static int train(const toy *t, const osv_job *job, int n, record *r, osv_error *e)
{
    osv_ops *ops;
    osv_comm *comm;
    cr_assert_eq(osv_ref_open(&ops, OSV_DTYPE_F32, e), 0);
    cr_assert_eq(osv_comm_self_open(&comm, e), 0);
    for (int j = 0; j < JOBS; j++) r->kept[j] = r->vector[j];
    osv_training training = {.ops = ops,
                             .comm = comm,
                             .kept = r->kept,
                             .model = &t->model,
                             .on = osv_all_on,
                             .job = job,
                             .jobs = n,
                             .observer = {.context = r, .report = on_report},
                             .interrupted = &r->interrupted};
    int status = osv_train(&training);
    comm->close(comm);
    ops->close(ops);
    return status;
}

Test(optim, jobs_together_are_as_if_alone)
{
    toy t = toy_make(TOY_GEMMA2, 3, 5);
    static jobs x;
    osv_error e = {0};
    make_jobs(&x);
    static record together, alone;
    together = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, JOBS, &together, &e), 0, "%s", e.text);
    for (int j = 0; j < JOBS; j++) {
        alone = (record){.only = j, .interrupt_at = -1};
        cr_assert_eq(train(&t, &x.job[j], 1, &alone, &e), 0, "%s", e.text);
        cr_assert_eq(together.stopped[j], OSV_STOP_MAX_ITERS);
        cr_assert_eq(together.final_iter[j], STEPS - 2 * j);
        cr_assert_eq(together.lines[j], STEPS - 2 * j);
        for (int i = 0; i < STEPS - 2 * j; i++)
            cr_assert(fabs(together.loss[j][i] - alone.loss[j][i]) <= 1e-12 * fabs(alone.loss[j][i]));
        for (int i = 0; i < D; i++) cr_assert(fabs(together.vector[j][i] - alone.vector[j][i]) <= 1e-11);
        cr_assert(together.final_loss[j] < together.loss[j][0]);
    }
    double norm = 0;
    for (int i = 0; i < D; i++) norm += together.vector[2][i] * together.vector[2][i];
    cr_assert(sqrt(norm) <= 1.5 + 1e-12);
    toy_free(&t);
}

Test(optim, a_target_keeps_the_vector_that_met_it)
{
    toy t = toy_make(TOY_LLAMA, 3, 9);
    static jobs x;
    osv_error e = {0};
    make_jobs(&x);
    static record all, stopped;
    all = (record){.only = 0, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 1, &all, &e), 0);
    x.job[0].options.target_loss = all.loss[0][7];
    stopped = (record){.only = 0, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 1, &stopped, &e), 0);
    int met = 0;
    while (all.loss[0][met] > all.loss[0][7]) met++;
    cr_assert_eq(stopped.stopped[0], OSV_STOP_TARGET);
    cr_assert_eq(stopped.final_iter[0], met);
    cr_assert_eq(stopped.lines[0], met);
    cr_assert(stopped.final_loss[0] == all.loss[0][met]);
    x.job[0].options.target_loss = NAN;
    x.job[0].options.max_iters = met;
    all = (record){.only = 0, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 1, &all, &e), 0);
    cr_assert_arr_eq(all.vector[0], stopped.vector[0], sizeof all.vector[0]);
    toy_free(&t);
}

/* Penalties so large that they are all of the gradient: |W sign(v)| is W sqrt(D), and |v / |v|| is 1 for each
 * block. The loss tells nothing of them. */
Test(optim, penalties_are_optimized_but_not_reported)
{
    toy t = toy_make(TOY_LLAMA, 3, 9);
    static jobs x;
    osv_error e = {0};
    static const int later[] = {1, 2};
    const double W = 1e9;
    make_jobs(&x);
    static record plain, penalized;
    x.job[1] = x.job[0];
    x.job[1].name = "b";
    x.job[1].layer = 0;
    x.job[1].laters = 2;
    x.job[1].later = later;
    x.job[1].apart = true;
    plain = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 2, &plain, &e), 0, "%s", e.text);
    x.job[0].options.l1 = x.job[1].options.group_sparsity = W;
    penalized = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 2, &penalized, &e), 0, "%s", e.text);
    for (int j = 0; j < 2; j++) {
        double expected = j == 0 ? W * sqrt(D) : W * sqrt(3);
        cr_expect_eq(plain.loss[j][0], penalized.loss[j][0]);
        cr_expect(fabs(penalized.grad_norm[j][0] - expected) <= 1e-6 * expected, "job %d: %.9g, not %.9g", j,
                  penalized.grad_norm[j][0], expected);
        cr_expect_gt(fabs(plain.final_loss[j] - penalized.final_loss[j]), 1e-3);
    }
    toy_free(&t);
}

/* Of two completions that are drawn by sign one takes part in each step, with twice its weight. A step is too
 * short to change anything. */
Test(optim, drawn_completions_take_turns)
{
    toy t = toy_make(TOY_LLAMA, 3, 9);
    static jobs x;
    osv_error e = {0};
    static record drawn, alone;
    osv_goal goals[] = {osv_goal_plain, osv_goal_plain};
    double length[2];
    int seen[2] = {0};
    make_jobs(&x);
    x.job[0].options.lr = 1e-30;
    x.job[0].options.plateau_iters = 0;
    x.job[0].goal = goals;
    for (int c = 0; c < 2; c++) {
        goals[c].weight = 0.5;
        goals[1 - c].weight = 0;
        alone = (record){.only = 0, .interrupt_at = -1};
        cr_assert_eq(train(&t, x.job, 1, &alone, &e), 0, "%s", e.text);
        length[c] = alone.grad_norm[0][0];
    }
    cr_assert_gt(fabs(length[0] - length[1]), 1e-3 * length[0]);
    goals[0].sign = 1;
    goals[1].sign = -1;
    goals[0].weight = goals[1].weight = 0.5;
    drawn = (record){.only = 0, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, 1, &drawn, &e), 0, "%s", e.text);
    for (int i = 0; i < STEPS; i++) {
        int c = osv_random_sign(0, "a", (unsigned)i) < 0;
        seen[c]++;
        cr_expect(fabs(drawn.grad_norm[0][i] - 2 * length[c]) <= 1e-12 * length[c], "step %d", i);
        cr_expect_eq(drawn.loss[0][i], alone.loss[0][i], "the loss has both");
    }
    cr_expect(seen[0] > 1 && seen[1] > 1);
    toy_free(&t);
}

Test(optim, an_interrupt_keeps_what_there_is)
{
    toy t = toy_make(TOY_LLAMA, 3, 9);
    static jobs x;
    osv_error e = {0};
    make_jobs(&x);
    static record r;
    r = (record){.only = -1, .interrupt_at = 1};
    cr_assert_eq(train(&t, x.job, JOBS, &r, &e), 0);
    for (int j = 0; j < JOBS; j++) {
        cr_assert_eq(r.stopped[j], OSV_STOP_INTERRUPTED);
        cr_assert_leq(r.final_iter[j], 2);
    }
    toy_free(&t);
}

Test(optim, nan_is_named_and_the_last_finite_vector_kept)
{
    toy t = toy_make(TOY_LLAMA, 3, 9);
    static jobs x;
    osv_error e = {0};
    make_jobs(&x);
    static record r;
    x.job[0].options.lr = 1.7e308; /* the vector overflows within a few steps */
    r = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, JOBS, &r, &e), 0);
    cr_assert_eq(r.stopped[0], OSV_STOP_NAN);
    cr_assert_gt(r.nan_iter[0], 0);
    cr_assert_eq(r.final_iter[0], r.nan_iter[0] - 1);
    cr_assert(r.final_loss[0] == r.loss[0][r.final_iter[0]]);
    for (int i = 0; i < D; i++) cr_assert(isfinite(r.vector[0][i]));
    for (int j = 1; j < JOBS; j++)
        cr_assert_eq(r.stopped[j], OSV_STOP_MAX_ITERS); /* the others do not notice */

    for (int i = 0; i < 37 * D; i++) t.weights[i] = NAN; /* the embedding: nothing is ever finite */
    r = (record){.only = 0, .interrupt_at = -1};
    x.job[0].options.lr = 0.1;
    cr_assert_eq(train(&t, x.job, 1, &r, &e), 0);
    cr_assert_eq(r.stopped[0], OSV_STOP_NAN);
    cr_assert_eq(r.nan_iter[0], 0);
    cr_assert(isnan(r.final_loss[0]));
    toy_free(&t);
}

/* Unsteered losses are those that a training from zeros measures first: of every kind, coldness, eps and
 * length norm, whatever they are packed with. */
Test(optim, losses_evaluated_are_those_trained_on)
{
    toy t = toy_make(TOY_GEMMA2, 3, 3);
    static jobs x;
    static const float zeros[D];
    osv_error e = {0};
    osv_ops *ops;
    osv_comm *comm;
    make_jobs(&x);
    for (int j = 0; j < JOBS; j++) {
        osv_job_options *o = &x.job[j].options;
        o->init = zeros;
        o->max_iters = 0;
        o->coldness = 0.5 + 0.25 * j;
        o->eps = j % 2 ? 1e-2 : 1e-6;
        o->length_norm = j % 3 == 0;
        x.sequence[j][1].kind = j % 2 ? OSV_NEGATED : OSV_ONE_MINUS;
    }
    static record r;
    r = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, JOBS, &r, &e), 0, "%s", e.text);
    cr_assert_eq(osv_ref_open(&ops, OSV_DTYPE_F32, &e), 0);
    cr_assert_eq(osv_comm_self_open(&comm, &e), 0);
    const osv_training training = {
        .ops = ops, .comm = comm, .model = &t.model, .on = osv_all_on, .job = x.job, .jobs = JOBS};
    double loss[2 * JOBS];
    cr_assert_eq(osv_evaluate_losses(&training, NULL, loss), 0, "%s", e.text);
    for (int j = 0; j < JOBS; j++)
        cr_assert(fabs(loss[2 * j] + loss[2 * j + 1] - r.final_loss[j]) <= 1e-12, "job %d: %.15g, %.15g", j,
                  loss[2 * j] + loss[2 * j + 1], r.final_loss[j]);
    comm->close(comm);
    ops->close(ops);
    toy_free(&t);
}

/* A pair from zeros: ln 2 at first, then less; and what is reported is what the losses give. */
Test(optim, preferences_are_trained)
{
    toy t = toy_make(TOY_LLAMA, 3, 11);
    static jobs x;
    static const float zeros[D];
    osv_error e = {0};
    osv_ops *ops;
    osv_comm *comm;
    make_jobs(&x);
    osv_goal goals[2] = {osv_goal_plain, osv_goal_plain};
    for (int c = 0; c < 2; c++) {
        x.sequence[2][c].kind = OSV_PROMOTE;
        goals[c].partner = 1 - c;
        goals[c].beta = c ? -0.3 : 0.3;
    }
    x.job[2].goal = goals;
    x.job[2].options.init = zeros;
    cr_assert_eq(osv_ref_open(&ops, OSV_DTYPE_F32, &e), 0);
    cr_assert_eq(osv_comm_self_open(&comm, &e), 0);
    const osv_training training = {
        .ops = ops, .comm = comm, .model = &t.model, .on = osv_all_on, .job = &x.job[2], .jobs = 1};
    double unsteered[2], after[2];
    cr_assert_eq(osv_evaluate_losses(&training, NULL, unsteered), 0, "%s", e.text);
    for (int c = 0; c < 2; c++) goals[c].reference = unsteered[c];
    static record r;
    r = (record){.only = 0, .interrupt_at = -1};
    cr_assert_eq(train(&t, &x.job[2], 1, &r, &e), 0, "%s", e.text);
    cr_expect(fabs(r.loss[0][0] - log(2)) <= 1e-12, "%.15g", r.loss[0][0]);
    cr_expect(r.final_loss[0] < 0.9 * log(2), "%g", r.final_loss[0]);
    const osv_real *vector = r.vector[0];
    cr_assert_eq(osv_evaluate_losses(&training, &vector, after), 0, "%s", e.text);
    cr_expect(fabs(osv_job_loss(&x.job[2], after) - r.final_loss[0]) <= 1e-12);
    comm->close(comm);
    ops->close(ops);
    toy_free(&t);
}

/* ---- vectors that stay orthogonal ---- */

static double cosine(const osv_real *a, const osv_real *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < D; d++) ab += a[d] * b[d], aa += a[d] * a[d], bb += b[d] * b[d];
    return ab / sqrt(aa * bb);
}

Test(optim, directions_are_orthonormal_and_none_twice)
{
    float given[5][D] = {{3}, {4, 5}, {0}, {7, -1}, {0, 0, NAN}};
    osv_real ended[2][D] = {{0}, {0}}, start[D];
    double direction[7][D];
    ended[0][1] = 2;
    ended[0][2] = 1;
    const osv_real *kept[] = {ended[0], ended[1]};
    static const int before[] = {0, 1};
    osv_job job = {.name = "j",
                   .options = osv_job_defaults(),
                   .befores = 2,
                   .before = before,
                   .given = 5,
                   .orthogonal = *given};
    osv_error e = {0};
    cr_assert_eq(osv_orthogonal_most(&job), 7);
    cr_assert_eq(osv_orthogonal_make(*direction, &job, 0, kept, D), 3); /* (7, -1), 0 and NaN add nothing */
    for (int k = 0; k < 3; k++)
        for (int d = 0; d < D; d++) cr_expect(fabs(direction[k][d] - (k == d)) <= 1e-15, "%d, %d", k, d);

    job.options.init_norm = 2.5;
    osv_job_start(start, &job, D);
    cr_assert_eq(osv_orthogonal_start(start, &job, kept, D, &e), OSV_OK);
    double square = 0;
    for (int d = 0; d < D; d++) square += start[d] * start[d];
    cr_expect(fabs(start[0]) + fabs(start[1]) + fabs(start[2]) <= 1e-15 && fabs(sqrt(square) - 2.5) <= 1e-14);
    job.options.init_norm = 0;
    osv_job_start(start, &job, D);
    cr_expect_eq(osv_orthogonal_start(start, &job, kept, D, &e), OSV_OK);

    float init[D] = {1, 1, 1, 0.5};
    job.options.init = init; /* is not made longer */
    osv_job_start(start, &job, D);
    cr_assert_eq(osv_orthogonal_start(start, &job, kept, D, &e), OSV_OK);
    for (int d = 0; d < D; d++) cr_expect(fabs(start[d] - (d == 3 ? 0.5 : 0)) <= 1e-15);
    init[3] = 0;
    osv_job_start(start, &job, D);
    cr_assert_eq(osv_orthogonal_start(start, &job, kept, D, &e), OSV_BAD_INPUT);
    cr_assert(strstr(e.text, "job \"j\": nothing of its start vector"), "%s", e.text);
}

/* Jobs 0, 2 and 4 one after the other, 1 and 3 beside them. */
Test(optim, a_chain_is_orthogonal_and_as_if_alone)
{
    static const int before[] = {0, 2}, before_alone[] = {0, 1};
    toy t = toy_make(TOY_GEMMA2, 3, 5);
    static jobs x;
    static record together, alone;
    osv_job chain[3];
    osv_error e = {0};
    make_jobs(&x);
    x.job[2].before = x.job[4].before = before;
    x.job[2].befores = 1;
    x.job[4].befores = 2;
    for (int i = 0; i < 3; i++) chain[i] = x.job[2 * i];
    chain[1].before = chain[2].before = before_alone;
    together = (record){.only = -1, .interrupt_at = -1};
    alone = (record){.only = -1, .interrupt_at = -1};
    cr_assert_eq(train(&t, x.job, JOBS, &together, &e), 0, "%s", e.text);
    cr_assert_eq(train(&t, chain, 3, &alone, &e), 0, "%s", e.text);
    for (int i = 0; i < 3; i++) {
        int j = 2 * i;
        cr_assert_eq(together.lines[j], alone.lines[i]);
        for (int k = 0; k < alone.lines[i]; k++)
            cr_assert(fabs(together.loss[j][k] - alone.loss[i][k]) <= 1e-12 * fabs(alone.loss[i][k]));
        for (int d = 0; d < D; d++) cr_assert(fabs(together.vector[j][d] - alone.vector[i][d]) <= 1e-11);
        for (int k = 0; k < i; k++)
            cr_assert(fabs(cosine(alone.vector[i], alone.vector[k])) <= 1e-14, "%d, %d: %g", i, k,
                      cosine(alone.vector[i], alone.vector[k]));
        cr_assert(together.final_loss[j] < together.loss[j][0]);
    }
    double square = 0; /* --max-norm holds behind the projection */
    for (int d = 0; d < D; d++) square += alone.vector[1][d] * alone.vector[1][d];
    cr_assert(fabs(sqrt(square) - 1.5) <= 1e-12);
    for (int j = 1; j < 5; j += 2) cr_assert_eq(together.final_iter[j], STEPS - 2 * j);
    toy_free(&t);
}
