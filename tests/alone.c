/* Many jobs in one run against each of them alone: random prompts with shared beginnings, layers, positions,
 * signs, start norms, stops, and so little memory that there are several bins whose places are taken by the
 * next jobs. In the double build `ref` has to agree to 1e-12, else the fillings to what design allows between
 * layouts. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/pack.h"
#include "tests/toy.h"
#ifndef OSV_DOUBLE
#include "tests/emu/device_emu.h"
#endif

enum { MOST_JOBS = 9, MOST_COMPLETIONS = 3, MOST_TOKENS = 24, MOST_ITERS = 12, MOST_SECOND = 4, WIDTH = 24 };

typedef struct {
    int jobs;
    osv_job job[MOST_JOBS];
    char name[MOST_JOBS][8];
    osv_sequence sequence[MOST_JOBS][MOST_COMPLETIONS];
    int ids[MOST_JOBS][MOST_COMPLETIONS][MOST_TOKENS];
    signed char steer[MOST_JOBS][MOST_COMPLETIONS][MOST_TOKENS];
} problem;

static int below(unsigned *s, int n)
{
    int x = (int)((toy_random(s) + 1) / 2 * n);
    return x < n ? x : n - 1;
}

static void make_completion(problem *p, int j, int c, int V, unsigned *s)
{
    static const osv_score_kind kinds[] = {OSV_PROMOTE, OSV_ONE_MINUS, OSV_PROMOTE};
    int *ids = p->ids[j][c], shared = 0;
    signed char *steer = p->steer[j][c];
    int prompt = 2 + below(s, 8), count = prompt + 1 + below(s, 4);
    const int *before = c > 0 ? p->ids[j][c - 1] : j > 0 ? p->ids[j - 1][0] : NULL;
    if (before) shared = below(s, prompt + 1); /* begins as another one of this job, or of the one before */
    for (int t = 0; t < count; t++) ids[t] = t < shared ? before[t] : below(s, V);
    int from = below(s, prompt), sign = below(s, 4) == 0 ? -1 : 1;
    for (int t = 0; t < count; t++) steer[t] = (signed char)(t >= from ? sign : 0);
    p->sequence[j][c] = (osv_sequence){
        .count = count, .prompt = prompt, .ids = ids, .steer = steer, .kind = kinds[below(s, 3)]};
}

static void make_problem(problem *p, int N, int V, unsigned seed)
{
    unsigned s = seed;
    *p = (problem){.jobs = 3 + below(&s, MOST_JOBS - 2)};
    for (int j = 0; j < p->jobs; j++) {
        osv_job *job = &p->job[j];
        snprintf(p->name[j], sizeof p->name[j], "j%d", j);
        *job = (osv_job){.name = p->name[j],
                         .layer = below(&s, N),
                         .options = osv_job_defaults(),
                         .completions = 1 + below(&s, MOST_COMPLETIONS),
                         .sequence = p->sequence[j]};
        job->options.lr = 0.02 + 0.01 * below(&s, 3);
        job->options.max_iters = below(&s, MOST_ITERS);
        job->options.seed = (unsigned long long)below(&s, 3);
        job->options.init_norm = 0.5 + below(&s, 3);
        job->options.max_norm = below(&s, 2) ? 2 : -1;
        job->options.target_loss = below(&s, 3) == 0 ? 8 : NAN;
        job->options.l1 = 0.05 * below(&s, 2);
#ifdef OSV_DOUBLE /* what is kept of a second phase hangs on a loss being above a bound or below */
        job->options.min_norm_iters = MOST_SECOND * below(&s, 2);
#endif
        for (int c = 0; c < job->completions; c++) make_completion(p, j, c, V, &s);
        job->options.noise = below(&s, 3) == 0 ? 0.2 : 0;
        job->options.noise_draws = 1 + below(&s, 3);
        job->options.noise_kind = (osv_noise_kind)below(&s, 4);
    }
}

/* What a job reported. */
typedef struct {
    int lines, iterations;
    double loss[MOST_ITERS + MOST_SECOND + 2];
    osv_stop stopped;
    osv_real vector[WIDTH];
} history;

typedef struct {
    history *of; /* [jobs] */
    int first;   /* the job with index 0 */
} recorder;

static int record(void *context, const osv_report *r, osv_error *e)
{
    const recorder *to = context;
    history *h = &to->of[to->first + r->job];
    (void)e;
    cr_assert_lt(h->lines, MOST_ITERS + MOST_SECOND + 2);
    h->loss[h->lines++] = r->loss;
    if (r->stopped == OSV_RUNNING) return OSV_OK;
    cr_assert_eq(h->stopped, OSV_RUNNING, "job %d ended twice", r->job);
    h->stopped = r->stopped;
    h->iterations = r->iter;
    memcpy(h->vector, r->vector, sizeof h->vector);
    return OSV_OK;
}

/* The bounds of a comparison, relative. */
typedef struct {
    double loss, vector;
} bounds;

static void compare(const history *together, const history *alone, bounds most, unsigned seed, int j)
{
    cr_assert_eq(together->lines, alone->lines, "seed %u, job %d: %d reports, alone %d", seed, j,
                 together->lines, alone->lines);
    cr_assert_eq(together->stopped, alone->stopped, "seed %u, job %d: another stop", seed, j);
    for (int i = 0; i < alone->lines; i++) {
        double error = fabs(together->loss[i] - alone->loss[i]) / (1 + fabs(alone->loss[i]));
        cr_assert(error <= most.loss, "seed %u, job %d, report %d: loss %.15g, alone %.15g", seed, j, i,
                  together->loss[i], alone->loss[i]);
    }
    double difference = 0, norm = 0;
    for (int d = 0; d < WIDTH; d++) {
        difference += pow((double)(together->vector[d] - alone->vector[d]), 2);
        norm += pow((double)alone->vector[d], 2);
    }
    cr_assert(sqrt(difference / norm) <= most.vector, "seed %u, job %d: the vector differs by %.3g", seed, j,
              sqrt(difference / norm));
}

/* Trains random jobs together, then each alone. Returns how many bins of more than one job there were. */
static int together_and_alone(osv_ops *o, unsigned seed, bounds most)
{
    osv_comm *comm;
    int N = 2 + (int)(seed % 3), bins = 0;
    toy t = toy_make((toy_family)(seed % TOY_FAMILIES), N, seed);
    static problem p;
    static history together[MOST_JOBS], alone[MOST_JOBS];
    make_problem(&p, N, t.model.config.V, seed);
    memset(together, 0, sizeof together);
    memset(alone, 0, sizeof alone);
    cr_assert_eq(t.model.config.D, WIDTH);
    cr_assert_eq(osv_comm_self_open(&comm, o->error), OSV_OK);
    cr_assert_eq(osv_model_place(&t.model, o), OSV_OK, "%s", o->error->text);

    recorder to = {.of = together};
    osv_training training = {.ops = o,
                             .comm = comm,
                             .model = &t.model,
                             .on = osv_all_on,
                             .job = p.job,
                             .jobs = p.jobs,
                             .observer = {.context = &to, .report = record}};
    /* memory for about three jobs; computing again is what a bin with few rows does first */
    int all[MOST_JOBS], in_bin[MOST_JOBS];
    bool fits;
    osv_bin_size size;
    for (int j = 0; j < p.jobs; j++) {
        all[j] = j;
        cr_assert_eq(osv_pack_measure(&size, &fits, &training, &all[j], 1, 0), OSV_OK, "%s", o->error->text);
        if (size.bytes > training.memory) training.memory = size.bytes;
    }
    training.memory = training.memory * (3 + seed % 3) / 2;
    for (int first = 0, J = 0; first < p.jobs; first += J) {
        J = 0;
        cr_assert_eq(osv_pack_fill(&size, &training, in_bin, &J, all + first, p.jobs - first), OSV_OK);
        cr_assert(size.bytes <= training.memory);
        bins += J > 1 && J < p.jobs;
    }
    cr_assert_eq(osv_train(&training), OSV_OK, "%s", o->error->text);

    to.of = alone;
    training.jobs = 1;
    training.memory = 0;
    for (int j = 0; j < p.jobs; j++) {
        to.first = j;
        training.job = &p.job[j];
        cr_assert_eq(osv_train(&training), OSV_OK, "%s", o->error->text);
        compare(&together[j], &alone[j], most, seed, j);
    }
    comm->close(comm);
    toy_free(&t);
    return bins;
}

#ifdef OSV_DOUBLE
Test(alone, ref)
{
    int bins = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_F32, &error), OSV_OK);
        bins += together_and_alone(o, seed, (bounds){1e-12, 1e-12});
        o->close(o);
    }
    cr_assert_gt(bins, 20, "only %d bins held several jobs, not all", bins);
}
#else
Test(alone, cpu)
{
    for (unsigned seed = 1; seed <= 24; seed++) {
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(osv_cpu_open(&o, OSV_DTYPE_F32, 1, &error), OSV_OK);
        together_and_alone(o, seed, (bounds){1e-4, 1e-3});
        o->close(o);
    }
}

Test(alone, cuda_emu, .timeout = 300)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        osv_error error = {0};
        osv_ops *o;
        cr_assert_eq(osv_emu_open(&o, OSV_DTYPE_F32, &error), OSV_OK, "%s", error.text);
        together_and_alone(o, seed, (bounds){1e-4, 1e-3});
        o->close(o);
    }
    cr_expect_eq(osv_emu_bytes(), 0);
}
#endif
