/* Bounds on completions, and vectors that are made as short as bounds allow, in double on small random
 * models. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/train.h"
#include "tests/toy.h"

enum { COMPLETIONS = 3, IDS = 10, D = 24, ROWS = 5 };

/* One job: the first completion is trained on, the second may be held, the third is looked at. */
typedef struct {
    osv_error error;
    toy t;
    osv_ops *ops;
    osv_comm *comm;
    osv_sequence sequence[COMPLETIONS];
    int ids[COMPLETIONS][IDS];
    signed char steer[IDS];
    osv_goal goal[COMPLETIONS];
    osv_job job;
    /* what was told */
    int lines, second; /* reports in all, and of the second phase; the last one counts */
    double start[COMPLETIONS], losses[COMPLETIONS], loss, norm;
    osv_stop stopped;
    osv_real vector[ROWS * D];
} subject;

static void open_subject(subject *s)
{
    memset(s, 0, sizeof *s);
    s->t = toy_make(TOY_LLAMA, 3, 9);
    cr_assert_eq(osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error), 0);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), 0);
    for (int t = 0; t < IDS; t++) s->steer[t] = t > 1;
    for (int c = 0; c < COMPLETIONS; c++) {
        for (int t = 0; t < IDS; t++) s->ids[c][t] = (t * 5 + (t > 3 ? c * 11 : 0)) % 37;
        s->sequence[c] = (osv_sequence){
            .count = IDS - c, .prompt = 6, .ids = s->ids[c], .steer = s->steer, .kind = OSV_PROMOTE};
        s->goal[c] = osv_goal_plain;
        s->goal[c].aside = c > 0;
        s->goal[c].weight = c > 0 ? 0 : 1;
    }
    s->job = (osv_job){.name = "a",
                       .layer = 1,
                       .options = osv_job_defaults(),
                       .completions = COMPLETIONS,
                       .sequence = s->sequence,
                       .goal = s->goal};
    s->job.options.lr = 0.02;
    s->job.options.max_iters = 400;
    s->job.options.plateau_iters = 0;
}

static void close_subject(subject *s)
{
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->t);
}

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    subject *s = context;
    (void)e;
    memcpy(r->iter == 0 ? s->start : s->losses, r->losses, sizeof s->losses);
    s->loss = r->loss;
    s->norm = r->norm;
    s->second += r->phase == 2;
    if (r->vector) memcpy(s->vector, r->vector, (size_t)(r->rows * r->D) * sizeof *r->vector);
    s->stopped = r->stopped;
    s->lines++;
    return OSV_OK;
}

static void train(subject *s)
{
    const osv_training t = {.ops = s->ops,
                            .comm = s->comm,
                            .model = &s->t.model,
                            .on = osv_all_on,
                            .job = &s->job,
                            .jobs = 1,
                            .observer = {.context = s, .report = on_report}};
    s->lines = s->second = 0;
    cr_assert_eq(osv_train(&t), OSV_OK, "%s", s->error.text);
}

/* What is aside is told, and counts nowhere. */
Test(constraints, aside)
{
    static subject s;
    open_subject(&s);
    s.job.options.max_iters = 3;
    train(&s);
    cr_expect_eq(s.loss, s.losses[0]);
    cr_expect(s.losses[1] > 0 && s.losses[2] > 0);
    s.job.options.max_iters = 100;
    s.job.options.target_rule = OSV_TARGET_EACH;
    s.job.options.target_loss = s.losses[0];
    s.goal[1].target = s.goal[2].target = -1000;
    train(&s);
    cr_expect_eq(s.stopped, OSV_STOP_TARGET);
    cr_expect(s.lines < 6, "%d lines", s.lines);
    close_subject(&s);
}

/* A bound that the training left to itself would break is kept, at a loss that is higher for it; one that it
 * would keep in any case changes nothing to speak of. */
Test(constraints, bounds_are_kept)
{
    static subject s;
    open_subject(&s);
    train(&s);
    double left = s.losses[1], most = s.start[1] + 0.1 * (left - s.start[1]), loss = s.losses[0];
    cr_assert_gt(left, s.start[1] + 0.5, "nothing to hold: %g, at the start %g", left, s.start[1]);
    s.goal[1].weight = 1;
    s.goal[1].bound = most;
    train(&s);
    cr_expect(s.losses[1] <= most + 0.02 * (left - most), "%g, bound %g, left alone %g", s.losses[1], most,
              left);
    cr_expect(s.losses[0] > loss && s.losses[0] < s.start[0] - 1, "loss %g, alone %g, at the start %g",
              s.losses[0], loss, s.start[0]);
    s.goal[1].bound = left + 5;
    train(&s);
    cr_expect(fabs(s.losses[0] - loss) <= 0.02 * loss && s.losses[1] < left + 5, "loss %g, alone %g",
              s.losses[0], loss);
    close_subject(&s);
}

/* ---- the second phase ---- */

/* |v| + |left^T right|_F of a map of rank 2, or of none. */
static double size_of(const osv_real *p, int rank)
{
    double vector = 0, map = 0;
    for (int i = 0; i < D; i++) vector += p[i] * p[i];
    for (int i = 0; rank > 0 && i < D; i++)
        for (int j = 0; j < D; j++) {
            double x = 0;
            for (int k = 0; k < rank; k++) x += p[(1 + k) * D + i] * p[(1 + rank + k) * D + j];
            map += x * x;
        }
    return sqrt(vector) + sqrt(map);
}

static void check_shorter(osv_form form, double least)
{
    enum { FIRST = 40, SECOND = 150 };
    static subject s;
    double losses[COMPLETIONS];
    float given[ROWS * D];
    open_subject(&s);
    for (int c = 0; c < COMPLETIONS; c++) s.goal[c] = osv_goal_plain;
    s.job.form = form;
    s.job.options.lr = 0.1;
    s.job.options.max_iters = FIRST;
    train(&s);
    double first = size_of(s.vector, form.rank);
    memcpy(losses, s.losses, sizeof losses);
    cr_expect_eq(s.second, 0);

    s.job.options.min_norm_iters = SECOND;
    s.job.options.min_norm_lr = 0.02;
    train(&s);
    cr_expect_eq(s.second, SECOND + 1);
    cr_expect_eq(s.lines, FIRST + SECOND + 1);
    cr_expect_eq(s.stopped, OSV_STOP_MAX_ITERS);
    for (int c = 0; c < COMPLETIONS; c++) cr_expect(s.losses[c] <= losses[c] + 1e-6);
    double second = size_of(s.vector, form.rank);
    cr_expect(second < (1 - least) * first, "%g, before %g", second, first);

    /* What is reported is what this vector with this map does. */
    memcpy(losses, s.losses, sizeof losses);
    for (int i = 0; i < ROWS * D; i++) given[i] = (float)s.vector[i];
    s.job.options.init = given;
    s.job.options.max_iters = s.job.options.min_norm_iters = 0;
    train(&s);
    for (int c = 0; c < COMPLETIONS; c++)
        cr_expect(fabs(s.start[c] - losses[c]) <= 1e-5, "%g, said to be %g", s.start[c], losses[c]);
    close_subject(&s);
}

Test(constraints, a_shorter_vector)
{
    check_shorter((osv_form){.kind = OSV_FORM_ADD}, 0.1);
}

Test(constraints, a_shorter_vector_and_map)
{
    check_shorter((osv_form){.kind = OSV_FORM_AFFINE, .rank = 2}, 0.1);
}

/* Targets that are out of reach leave nothing to keep but what there is. */
Test(constraints, nothing_shorter_is_found)
{
    static subject s;
    osv_real first[D];
    open_subject(&s);
    s.job.options.max_iters = 5;
    train(&s);
    memcpy(first, s.vector, sizeof first);
    for (int c = 0; c < COMPLETIONS; c++) s.goal[c].target = -1000;
    s.goal[0].aside = false;
    s.job.options.min_norm_iters = 7;
    train(&s);
    cr_expect_eq(s.second, 8);
    cr_expect_arr_eq(s.vector, first, sizeof first);
    close_subject(&s);
}
