/* Training towards distributions, in double: a job's losses are the divergences between what the teacher and
 * what the steered model predict, token by token, both as the decoder has them; a job that steers as its
 * teacher does has none; and training finds such a vector. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/bin.h"
#include "optim/evaluate.h"
#include "optim/teacher.h"
#include "tests/toy.h"

enum { LESSONS = 3, LENGTH = 9, V = 37, D = 24, LAYER = 2 };

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    toy toy;
    int ids[LESSONS][LENGTH];
    signed char steer[LESSONS][LENGTH];
    uint32_t of_teacher[LESSONS][LENGTH], of_job[LESSONS][LENGTH];
    osv_real early[3 * D], late[D]; /* an affine map at block 1; a vector at LAYER */
    osv_steering taught[2], job_steering;
    osv_lesson lesson[LESSONS];
    osv_teacher teacher;
    osv_sequence sequence[LESSONS];
    osv_goal goal[LESSONS];
    osv_job job;
    osv_training training;
} setting;

static int below(unsigned *r, int n)
{
    int x = (int)((toy_random(r) + 1) / 2 * n);
    return x < n ? x : n - 1;
}

static void fill(osv_real *x, int n, double size, unsigned *seed)
{
    for (int i = 0; i < n; i++) x[i] = (osv_real)(size * toy_random(seed));
}

/* The first lesson has the whole text, as an anchor has; the last one nobody teaches. */
static void make_lesson(setting *s, int i, unsigned *seed)
{
    int count = 5 + below(seed, LENGTH - 4), prompt = i == 0 ? 1 : 1 + below(seed, 3);
    for (int t = 0; t < count; t++) {
        s->ids[i][t] = below(seed, V);
        s->of_teacher[i][t] = i == LESSONS - 1 ? 0 : (uint32_t)below(seed, 4);
        s->steer[i][t] = (signed char)(t > 1 || below(seed, 2));
        s->of_job[i][t] = s->steer[i][t] ? 1 : 0;
    }
    s->lesson[i] =
        (osv_lesson){.text = {.count = count, .prompt = prompt, .ids = s->ids[i], .steer = s->of_teacher[i]},
                     .coldness = s->job.options.coldness,
                     .steering = i == LESSONS - 1 ? NULL : s->taught,
                     .steerings = i == LESSONS - 1 ? 0 : 2};
    s->sequence[i] = (osv_sequence){
        .count = count, .prompt = prompt, .ids = s->ids[i], .steer = s->steer[i], .reverse = i == 1};
    s->goal[i] = osv_goal_plain;
}

static void open_setting(setting *s, unsigned seed)
{
    memset(s, 0, sizeof *s);
    s->toy = toy_make((toy_family)(seed % TOY_FAMILIES), 4, seed);
    cr_assert_eq(osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error), 0);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), 0);
    fill(s->early, 3 * D, 0.5, &seed);
    fill(s->late, D, 2, &seed);
    s->taught[0] = (osv_steering){.layer = 1, .form = {.kind = OSV_FORM_AFFINE, .rank = 1}, .p = s->early};
    s->taught[1] = s->job_steering = (osv_steering){.layer = LAYER, .p = s->late};
    s->job = (osv_job){.name = "a",
                       .layer = LAYER,
                       .options = osv_job_defaults(),
                       .completions = LESSONS,
                       .sequence = s->sequence,
                       .goal = s->goal};
    for (int i = 0; i < LESSONS; i++) make_lesson(s, i, &seed);
    s->training = (osv_training){
        .ops = s->ops, .comm = s->comm, .model = &s->toy.model, .on = osv_all_on, .job = &s->job, .jobs = 1};
}

static void learn(setting *s)
{
    cr_assert_eq(osv_teacher_open(&s->teacher, s->lesson, LESSONS, V, &s->error), 0);
    for (int i = 0; i < LESSONS; i++) s->sequence[i].logp = osv_teacher_logp(&s->teacher, i);
    cr_assert_eq(osv_teacher_learn(&s->teacher, s->ops, s->comm, &s->toy.model), 0, "%s", s->error.text);
}

static void close_setting(setting *s)
{
    osv_teacher_close(&s->teacher);
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->toy);
}

/* KL(teacher || steered) of a lesson, or the other way round, from the decoder's distributions. */
static double divergence(setting *s, int i)
{
    static osv_real mine[LENGTH][V];
    osv_continuation text = s->lesson[i].text;
    text.steer = s->of_job[i];
    const osv_likelihood l = {
        .ops = s->ops, .comm = s->comm, .model = &s->toy.model, .steering = &s->job_steering, .steerings = 1};
    cr_assert_eq(osv_distributions_of(&l, &text, 1, s->job.options.coldness, mine[0]), 0);
    double sum = 0;
    for (int t = 0; t < text.count - text.prompt; t++) {
        const osv_real *theirs = osv_teacher_logp(&s->teacher, i)[t];
        const osv_real *p = s->sequence[i].reverse ? mine[t] : theirs, *q = p == theirs ? mine[t] : theirs;
        for (int j = 0; j < V; j++) sum += exp(p[j]) * (p[j] - q[j]);
    }
    return sum;
}

Test(teacher, losses_are_divergences)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        static setting s;
        double logprob[LESSONS];
        const osv_real *vector = s.late;
        open_setting(&s, seed);
        learn(&s);
        cr_assert_eq(osv_evaluate(&s.training, &vector, logprob), 0, "%s", s.error.text);
        for (int i = 0; i < LESSONS; i++) {
            double expected = divergence(&s, i);
            cr_expect(expected > 1e-3 && fabs(-logprob[i] - expected) < 1e-11 * (1 + expected),
                      "seed %u, lesson %d: %.15g, %.15g", seed, i, -logprob[i], expected);
        }
        close_setting(&s);
    }
}

/* Who steers as the teacher does matches it; unsteered, whoever nobody teaches. */
Test(teacher, is_matched_by_itself)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        static setting s;
        double logprob[LESSONS];
        const osv_real *vector = s.late;
        open_setting(&s, seed);
        for (int i = 0; i < LESSONS - 1; i++) {
            s.lesson[i].text.steer = s.of_job[i];
            s.lesson[i].steering = &s.job_steering;
            s.lesson[i].steerings = 1;
        }
        learn(&s);
        cr_assert_eq(osv_evaluate(&s.training, &vector, logprob), 0, "%s", s.error.text);
        for (int i = 0; i < LESSONS - 1; i++)
            cr_expect(fabs(logprob[i]) < 1e-12, "seed %u, lesson %d: %g", seed, i, logprob[i]);
        cr_assert_eq(osv_evaluate(&s.training, NULL, logprob), 0, "%s", s.error.text);
        cr_expect(fabs(logprob[LESSONS - 1]) < 1e-12, "seed %u: %g", seed, logprob[LESSONS - 1]);
        close_setting(&s);
    }
}

/* However many jobs are trained on a text, its distributions are there once. */
Test(teacher, is_shared)
{
    static setting s;
    double logprob[2 * LESSONS];
    osv_batch *batch;
    open_setting(&s, 3);
    learn(&s);
    osv_job both[] = {s.job, s.job};
    const osv_real *vector[] = {s.late, s.late};
    both[1].layer = 1;
    both[1].name = "b";
    s.training.job = both;
    s.training.jobs = 2;
    cr_assert_eq(osv_bin_batch(&batch, &s.training, (int[]){0, 1}, 2, false), 0, "%s", s.error.text);
    int rows = (int)osv_teacher_rows(&s.teacher);
    cr_expect_eq(batch->live.distributions.K + batch->base.distributions.K, 2 * rows);
    cr_expect_eq(batch->live.aims + batch->base.aims, rows);
    osv_batch_free(batch);
    cr_assert_eq(osv_evaluate(&s.training, vector, logprob), 0, "%s", s.error.text);
    for (int i = 0; i < LESSONS; i++) {
        double expected = divergence(&s, i);
        cr_expect(fabs(-logprob[i] - expected) < 1e-11 * (1 + expected), "lesson %d", i);
    }
    close_setting(&s);
}

typedef struct {
    double first, last;
    osv_real vector[D];
} ending;

static int observe(void *context, const osv_report *report, osv_error *e)
{
    ending *end = context;
    (void)e;
    if (report->iter == 0) end->first = report->loss;
    end->last = report->loss;
    if (report->vector) memcpy(end->vector, report->vector, sizeof end->vector);
    return OSV_OK;
}

/* A vector of the same layer is what training comes to. */
Test(teacher, is_found_again)
{
    static setting s;
    ending end = {0};
    open_setting(&s, 5);
    for (int i = 0; i < LESSONS; i++) {
        s.lesson[i].text.steer = s.of_job[i];
        s.lesson[i].steering = &s.job_steering;
        s.lesson[i].steerings = 1;
    }
    learn(&s);
    s.job.options.lr = 0.05;
    s.job.options.max_iters = 400;
    s.job.options.plateau_iters = 0;
    s.training.observer = (osv_observer){.context = &end, .report = observe};
    cr_assert_eq(osv_train(&s.training), 0, "%s", s.error.text);
    cr_expect(end.first > 0.1 && end.last < 1e-3 * end.first, "%g -> %g", end.first, end.last);
    close_setting(&s);
}
