/* The engine as a whole in double: dv against central differences of the summed loss, over random batches and
 * every feature of the families; and every switch off gives what all on gives. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/toy.h"

enum { MAX_SEQUENCES = 12, MAX_TOKENS = 40, JOBS = 3 };

typedef struct {
    osv_sequence sequence[MAX_SEQUENCES];
    int ids[MAX_SEQUENCES][MAX_TOKENS];
    signed char steer[MAX_SEQUENCES][MAX_TOKENS];
    int C;
    osv_batch_job job[JOBS];
    int J;
} problem;

/* Sequences with shared beginnings, different jobs, signs, start layers, positions, kinds. */
static problem random_problem(int N, int V, unsigned seed)
{
    problem p = {.C = 0};
    unsigned s = seed;
    p.J = 1 + (int)(seed % JOBS);
    for (int j = 0; j < p.J; j++)
        p.job[j] = (osv_batch_job){.layer = (int)((seed / 3 + (unsigned)j * 7) % (unsigned)N),
                                   .coldness = j == 1 ? 1 : 0.7,
                                   .eps = 1e-6};
    p.C = p.J + (int)((toy_random(&s) + 1) * (MAX_SEQUENCES - JOBS) / 2);
    for (int c = 0; c < p.C; c++) {
        osv_sequence *q = &p.sequence[c];
        int shared = c > 0 ? (int)((toy_random(&s) + 1) / 2 * p.sequence[c - 1].count) : 0;
        q->job = c % p.J;
        q->prompt = 1 + (int)((toy_random(&s) + 1) * 6);
        if (q->prompt < shared - 3) q->prompt = shared - 3;
        q->count = q->prompt + 1 + (int)((toy_random(&s) + 1) * 3);
        for (int t = 0; t < q->count; t++)
            p.ids[c][t] = t < shared ? p.ids[c - 1][t] : (int)((toy_random(&s) + 1) / 2 * V);
        int from = (int)((toy_random(&s) + 1) / 2 * (q->count - 1)), style = (int)((toy_random(&s) + 1) * 2);
        int sign = c % 4 == 3 ? -1 : 1;
        for (int t = 0; t < q->count; t++) {
            bool on = style == 0 || (style == 1 && t >= from) || (style == 2 && t == from) ||
                      (style == 3 && t < q->prompt);
            p.steer[c][t] = (signed char)(on ? sign : 0);
        }
        q->ids = p.ids[c];
        q->steer = p.steer[c];
        q->kind = c % 3 == 1 ? OSV_ONE_MINUS : c % 5 == 4 ? OSV_NEGATED : OSV_PROMOTE;
    }
    for (int c = 0; c < p.C; c++) { /* pointers into this copy are set by the caller's */
        p.sequence[c].ids = NULL;
        p.sequence[c].steer = NULL;
    }
    return p;
}

static void point(problem *p)
{
    for (int c = 0; c < p->C; c++) {
        p->sequence[c].ids = p->ids[c];
        p->sequence[c].steer = p->steer[c];
    }
}

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    osv_batch *batch;
    osv_step *step;
    int S, total;
} run;

static void open_run(run *r, const toy *t, problem *p, const osv_switches *on)
{
    int bad;
    *r = (run){.S = 0};
    point(p);
    cr_assert_eq(osv_ref_open(&r->ops, OSV_DTYPE_F32, &r->error), 0);
    cr_assert_eq(osv_comm_self_open(&r->comm, &r->error), 0);
    cr_assert_eq(
        osv_batch_build(&r->batch, p->sequence, p->C, p->job, p->J, t->model.config.N, on, &bad, &r->error),
        0, "%s", r->error.text);
    cr_assert_eq(osv_step_open(&r->step, r->ops, r->comm, &t->model, r->batch, on), 0, "%s", r->error.text);
    r->S = r->batch->live.scores.S;
    r->total = r->S + r->batch->base.scores.S;
    osv_prefix(r->step);
}

static void close_run(run *r)
{
    osv_step_close(r->step);
    osv_batch_free(r->batch);
    r->comm->close(r->comm);
    r->ops->close(r->ops);
}

/* Sum of all losses; per score in the order of completions where `each` is given. */
static double loss_at(run *r, const osv_real *v, double *each)
{
    if (!r->step->on.cache_prefix) osv_prefix(r->step);
    osv_forward(r->step, v);
    cr_assert_eq(osv_ops_status(r->ops), 0, "%s", r->error.text);
    double sum = 0;
    for (int i = 0; i < r->batch->completion_tokens; i++) {
        double loss = (double)r->step->buffer.loss[r->batch->completion_score[i]];
        sum += loss;
        if (each) each[i] = loss;
    }
    return sum;
}

static void gradient_at(run *r, const osv_real *v, osv_real *dv)
{
    loss_at(r, v, NULL);
    for (int i = 0; i < r->S; i++) r->step->buffer.w[i] = 1;
    osv_backward(r->step, dv);
    cr_assert_eq(osv_ops_status(r->ops), 0, "%s", r->error.text);
}

static bool steers_something(const problem *p)
{
    bool on[JOBS] = {0};
    for (int c = 0; c < p->C; c++)
        for (int t = 0; t + 1 < p->sequence[c].count; t++) on[p->sequence[c].job] |= p->steer[c][t] != 0;
    for (int j = 0; j < p->J; j++)
        if (!on[j]) return false;
    return true;
}

static double relative(const osv_real *a, const osv_real *b, int n)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < n; i++) {
        difference += (double)((a[i] - b[i]) * (a[i] - b[i]));
        norm += (double)(b[i] * b[i]);
    }
    return sqrt(difference / norm);
}

Test(whole_model, dv_against_finite_differences)
{
    int tried = 0;
    for (unsigned seed = 1; seed <= 60; seed++) {
        int N = 2 + (int)(seed % 3);
        toy t = toy_make((toy_family)(seed % TOY_FAMILIES), N, seed);
        int D = t.model.config.D;
        problem p = random_problem(N, t.model.config.V, seed);
        if (!steers_something(&p)) {
            toy_free(&t);
            continue;
        }
        tried++;
        run r;
        open_run(&r, &t, &p, &osv_all_on);
        unsigned s = seed;
        osv_real v[JOBS * 64], dv[JOBS * 64], u[JOBS * 64], moved[JOBS * 64];
        for (int i = 0; i < p.J * D; i++) v[i] = (osv_real)(0.5 * toy_random(&s));
        for (int i = 0; i < p.J * D; i++) dv[i] = (osv_real)NAN;
        gradient_at(&r, v, dv);
        for (int k = 0; k < 3; k++) {
            double h = 1e-5, slope = 0, size = 0;
            for (int i = 0; i < p.J * D; i++) u[i] = (osv_real)toy_random(&s);
            for (int i = 0; i < p.J * D; i++)
                slope += (double)(u[i] * dv[i]), size += fabs((double)(u[i] * dv[i]));
            for (int i = 0; i < p.J * D; i++) moved[i] = v[i] + (osv_real)h * u[i];
            double up = loss_at(&r, moved, NULL);
            for (int i = 0; i < p.J * D; i++) moved[i] = v[i] - (osv_real)h * u[i];
            double down = loss_at(&r, moved, NULL);
            double error = fabs((up - down) / (2 * h) - slope) / size;
            cr_assert(error <= 1e-7, "seed %u: slope %.12g, differences %.12g, error %.3g", seed, slope,
                      (up - down) / (2 * h), error);
        }
        close_run(&r);
        toy_free(&t);
    }
    cr_assert_gt(tried, 40);
}

Test(whole_model, switches_change_nothing)
{
    const osv_switches without[] = {
        {false, true, true, true, true, 0},   {true, false, true, true, true, 0},
        {true, true, false, true, true, 0},   {true, true, true, false, true, 0},
        {true, true, true, true, false, 0},   {false, false, false, false, false, 0},
        {true, false, false, true, false, 0}, {true, true, true, true, true, 1},
        {true, true, true, true, true, 2},    {true, true, true, true, true, 9},
        {true, true, false, true, false, 3}};
    for (unsigned seed = 1; seed <= 40; seed++) {
        int N = 1 + (int)(seed % 4);
        toy t = toy_make((toy_family)(seed % TOY_FAMILIES), N, seed);
        int D = t.model.config.D;
        problem p = random_problem(N, t.model.config.V, seed + 100);
        if (!steers_something(&p)) {
            toy_free(&t);
            continue;
        }
        unsigned s = seed;
        osv_real v[JOBS * 64], dv[JOBS * 64], other[JOBS * 64];
        for (int i = 0; i < p.J * D; i++) v[i] = (osv_real)(0.5 * toy_random(&s));
        run r;
        open_run(&r, &t, &p, &osv_all_on);
        double *each = calloc((size_t)r.batch->completion_tokens * 2, sizeof *each);
        double *each_other = each + r.batch->completion_tokens;
        loss_at(&r, v, each);
        gradient_at(&r, v, dv);
        for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
            run q;
            open_run(&q, &t, &p, &without[i]);
            loss_at(&q, v, each_other);
            gradient_at(&q, v, other);
            for (int k = 0; k < r.batch->completion_tokens; k++)
                cr_assert(fabs(each[k] - each_other[k]) <= 1e-12 * (1 + fabs(each[k])),
                          "seed %u, switch %zu, score %d: %.15g, %.15g", seed, i, k, each[k], each_other[k]);
            double error = relative(other, dv, p.J * D);
            cr_assert(error <= 1e-11, "seed %u, switch %zu: dv differs by %.3g", seed, i, error);
            cr_assert(r.batch->live.T <= q.batch->live.T);
            close_run(&q);
        }
        free(each);
        close_run(&r);
        toy_free(&t);
    }
}
