/* The engine as a whole in double: dv against central differences of the summed loss, over random batches and
 * every feature of the families; and every switch off gives what all on gives. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/toy.h"

enum {
    MAX_SEQUENCES = 12,
    MAX_TOKENS = 40,
    JOBS = 3,
    BLOCKS = 4,
    ROWS = JOBS * BLOCKS * 5,
    NUMBERS = ROWS * 64,
    SCORED = 8,
    MAX_V = 64
};

typedef struct {
    osv_sequence sequence[MAX_SEQUENCES];
    int ids[MAX_SEQUENCES][MAX_TOKENS];
    signed char steer[MAX_SEQUENCES][MAX_TOKENS];
    int C;
    osv_real logp[MAX_SEQUENCES][SCORED][MAX_V];
    const osv_real *row[MAX_SEQUENCES][SCORED];
    bool matches[MAX_SEQUENCES]; /* a distribution for each token, instead of its id */
    osv_batch_job job[JOBS];
    int later[JOBS][BLOCKS];
    int J;
} problem;

/* Every form, at one block or at several, with parameters of its own or shared. */
static void give_forms(problem *p, int N, unsigned seed)
{
    static const osv_form form[] = {{.kind = OSV_FORM_CLAMP, .clamp = 0.8},
                                    {.kind = OSV_FORM_AFFINE, .rank = 2},
                                    {.kind = OSV_FORM_ADD_NORM},
                                    {.kind = OSV_FORM_ADD},
                                    {.kind = OSV_FORM_CLAMP, .clamp = 0},
                                    {.kind = OSV_FORM_AFFINE, .rank = 1},
                                    {.kind = OSV_FORM_CLAMP, .clamp = -0.5, .offset = true}};
    for (int j = 0; j < p->J; j++) {
        osv_batch_job *job = &p->job[j];
        job->form = form[(seed + (unsigned)j * 3) % 7];
        job->apart = (seed / 2 + (unsigned)j) % 2;
        for (int l = job->layer + 1; l < N; l++)
            if ((seed + (unsigned)(l + j)) % 3) p->later[j][job->laters++] = l;
    }
}

/* Every third sequence has distributions to match, in either direction. */
static void give_distributions(problem *p, int V, unsigned seed)
{
    for (int c = 1; c < p->C; c += 3) {
        osv_sequence *q = &p->sequence[c];
        p->matches[c] = q->count - q->prompt <= SCORED;
        q->reverse = c % 2;
        for (int t = 0; p->matches[c] && t < q->count - q->prompt; t++) {
            double sum = 0;
            for (int j = 0; j < V; j++)
                sum += exp((double)(p->logp[c][t][j] = (osv_real)(2 * toy_random(&seed))));
            for (int j = 0; j < V; j++) p->logp[c][t][j] -= (osv_real)log(sum);
        }
    }
}

/* Every third sequence, or all of them, has to go far from where it is without a vector, with or without its
 * completion; where all have, the last blocks are of no use. */
static void give_distances(problem *p, int N, unsigned seed)
{
    static const double power[] = {1, 2, 1.5, 3};
    bool all = seed % 2 == 0;
    if (N == 1) return; /* no block is above another */
    for (int j = 0; j < p->J; j++) {
        osv_batch_job *job = &p->job[j];
        if (all && job->layer > N - 2) job->layer = N - 2;
        while (all && job->laters > 0 && p->later[j][job->laters - 1] > N - 2) job->laters--;
        job->power = power[(seed / 2 + (unsigned)j) % 4];
    }
    for (int c = all ? 0 : 2; c < p->C; c += all ? 1 : 3) {
        osv_sequence *q = &p->sequence[c];
        const osv_batch_job *job = &p->job[q->job];
        int last = job->laters > 0 ? p->later[q->job][job->laters - 1] : job->layer;
        if (last > N - 2) continue;
        q->target_layer = last + 1 + (int)(seed / 2 + (unsigned)c) % (N - 1 - last);
        if (c % 2) q->count = q->prompt;
    }
}

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
        for (int t = 0; t < SCORED; t++) p->row[c][t] = p->logp[c][t];
        p->sequence[c].logp = p->matches[c] ? p->row[c] : NULL;
    }
    for (int j = 0; j < p->J; j++) p->job[j].later = p->later[j];
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
    r->S = osv_losses_of(&r->batch->live);
    r->total = r->S + osv_losses_of(&r->batch->base);
    osv_prefix(r->step);
}

static void close_run(run *r)
{
    osv_step_close(r->step);
    osv_batch_free(r->batch);
    r->comm->close(r->comm);
    r->ops->close(r->ops);
}

/* Sum of all losses; of each completion's where `each` is given. */
static double loss_at(run *r, const osv_real *v, double *each)
{
    if (!r->step->on.cache_prefix) osv_prefix(r->step);
    osv_forward(r->step, v);
    cr_assert_eq(osv_ops_status(r->ops), 0, "%s", r->error.text);
    const osv_batch *b = r->batch;
    double sum = 0;
    for (int c = 0; c < b->C; c++) {
        double of_completion = 0;
        for (int i = b->completion_first[c]; i < b->completion_first[c + 1]; i++)
            of_completion += (double)r->step->buffer.loss[b->completion_score[i]];
        sum += of_completion;
        if (each) each[c] = of_completion;
    }
    return sum;
}

static void gradient_at(run *r, const osv_real *v, osv_real *dv)
{
    loss_at(r, v, NULL);
    for (int i = 0; i < r->S; i++) r->step->buffer.w[i] = 1;
    osv_backward(r->step, v, dv);
    cr_assert_eq(osv_ops_status(r->ops), 0, "%s", r->error.text);
}

static bool steers_something(const problem *p)
{
    bool on[JOBS] = {0};
    for (int c = 0; c < p->C; c++)
        for (int t = 0; t < osv_sequence_tokens(&p->sequence[c]); t++)
            on[p->sequence[c].job] |= p->steer[c][t] != 0;
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

/* The offset of a clamp is given, not trained: it has no gradient. */
static bool is_offset(const run *r, const problem *p, int row)
{
    int j = 0;
    while (r->batch->job_param[j + 1] <= row) j++;
    return p->job[j].form.offset && (row - r->batch->job_param[j]) % 2 == 1;
}

/* What a random problem is given besides. */
enum { FORMS = 1, DISTANCES = 2 };

static void give(problem *p, const toy *t, int what, unsigned seed)
{
    if (what & FORMS) give_forms(p, t->model.config.N, seed);
    if (what & FORMS) give_distributions(p, t->model.config.V, seed);
    if (what & DISTANCES) give_distances(p, t->model.config.N, seed);
}

static void check_dv(int what)
{
    int tried = 0;
    for (unsigned seed = 1; seed <= 60; seed++) {
        int N = 2 + (int)(seed % 3);
        toy t = toy_make((toy_family)(seed % TOY_FAMILIES), N, seed);
        int D = t.model.config.D;
        static problem p;
        p = random_problem(N, t.model.config.V, seed);
        give(&p, &t, what, seed);
        if (!steers_something(&p)) {
            toy_free(&t);
            continue;
        }
        tried++;
        run r;
        open_run(&r, &t, &p, &osv_all_on);
        unsigned s = seed + 1000; /* not the toy's: a clamp would meet its own direction alone */
        static osv_real v[NUMBERS], dv[NUMBERS], u[NUMBERS], moved[NUMBERS];
        int numbers = r.batch->P * D;
        cr_assert_leq(r.batch->G, ROWS);
        for (int i = 0; i < numbers; i++) v[i] = (osv_real)((what & FORMS ? 0.15 : 0.5) * toy_random(&s));
        for (int i = 0; i < numbers; i++) dv[i] = (osv_real)NAN;
        gradient_at(&r, v, dv);
        for (int k = 0; k < 3; k++) {
            double h = 1e-5, slope = 0, size = 0;
            for (int i = 0; i < numbers; i++)
                u[i] = (osv_real)(is_offset(&r, &p, i / D) ? 0 : toy_random(&s));
            for (int i = 0; i < numbers; i++)
                slope += (double)(u[i] * dv[i]), size += fabs((double)(u[i] * dv[i]));
            double at[4];
            static const int step[] = {-2, -1, 1, 2};
            for (int q = 0; q < 4; q++) {
                for (int i = 0; i < numbers; i++) moved[i] = v[i] + (osv_real)(step[q] * h) * u[i];
                at[q] = loss_at(&r, moved, NULL);
            }
            double found = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h);
            double error = fabs(found - slope) / size;
            cr_assert(error <= 1e-7, "seed %u: slope %.12g, differences %.12g, error %.3g", seed, slope,
                      found, error);
        }
        close_run(&r);
        toy_free(&t);
    }
    cr_assert_gt(tried, 40);
}

Test(whole_model, dv_against_finite_differences)
{
    check_dv(0);
}

Test(whole_model, dv_of_every_form_against_finite_differences)
{
    check_dv(FORMS);
}

Test(whole_model, dv_of_distances_against_finite_differences)
{
    check_dv(DISTANCES);
}

Test(whole_model, dv_of_distances_of_every_form_against_finite_differences)
{
    check_dv(FORMS | DISTANCES);
}

static void check_switches(int what)
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
        static problem p;
        p = random_problem(N, t.model.config.V, seed + 100);
        give(&p, &t, what, seed);
        if (!steers_something(&p)) {
            toy_free(&t);
            continue;
        }
        unsigned s = seed + 1000; /* not the toy's: a clamp would meet its own direction alone */
        static osv_real v[NUMBERS], dv[NUMBERS], other[NUMBERS];
        run r;
        open_run(&r, &t, &p, &osv_all_on);
        for (int i = 0; i < r.batch->P * D; i++) v[i] = (osv_real)(0.5 * toy_random(&s));
        double each[MAX_SEQUENCES], each_other[MAX_SEQUENCES];
        loss_at(&r, v, each);
        gradient_at(&r, v, dv);
        for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
            run q;
            open_run(&q, &t, &p, &without[i]);
            loss_at(&q, v, each_other);
            gradient_at(&q, v, other);
            for (int k = 0; k < r.batch->C; k++)
                cr_assert(fabs(each[k] - each_other[k]) <= 1e-12 * (1 + fabs(each[k])),
                          "seed %u, switch %zu, completion %d: %.15g, %.15g", seed, i, k, each[k],
                          each_other[k]);
            double error = relative(other, dv, r.batch->P * D);
            cr_assert(error <= 1e-11, "seed %u, switch %zu: dv differs by %.3g", seed, i, error);
            cr_assert(r.batch->live.T <= q.batch->live.T);
            close_run(&q);
        }
        close_run(&r);
        toy_free(&t);
    }
}

Test(whole_model, switches_change_nothing)
{
    check_switches(0);
}

Test(whole_model, switches_change_nothing_for_every_form)
{
    check_switches(FORMS);
}

Test(whole_model, switches_change_no_distance)
{
    check_switches(DISTANCES);
    check_switches(FORMS | DISTANCES);
}
