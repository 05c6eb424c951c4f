/* Whole models against golden data (tests/golden/README.md): losses, logits, dv and training traces of tiny
 * random models of all families, from files to vectors, on every filling. Built twice: in float for all
 * fillings, in double for `ref`, where the fp64 oracle is met to 1e-9. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/evaluate.h"
#include "tests/golden_check.h"
#include "tests/golden_trace.h"
#include "tests/op_fillings.h"
#include "tests/sanitized.h"

#ifdef OSV_DOUBLE
static const double tight = 1e-9; /* against the fp64 oracle */
#else
static const double tight = 1e-5;
TEST_GPU(golden_models)
#endif

static void open_number(golden_model *g, int number)
{
    const op_filling *f = &op_fillings[number / GOLDEN_MODELS];
    golden_open(g, golden_models[number % GOLDEN_MODELS], f->open, f->dtype);
}

/* Lists that lost entries must not pass. */
static size_t least_cases(int model)
{
    return model < GOLDEN_FULL ? 9 : 5;
}

/* ---- cases: one forward and one reverse pass at a fixed vector ---- */

enum { MOST_LOGITS = 1 << 15 };

/* What a filling makes of a case. */
typedef struct {
    int C, D;
    double zero[GOLDEN_COMPLETIONS], losses[GOLDEN_COMPLETIONS], dv[GOLDEN_D];
    double logits; /* distance to transformers'; 0 if the case has none */
    int numbers;   /* of z */
    double z[MOST_LOGITS];
} measured; /* too large for the stack of a thread */

static void read_back(const golden_model *g, void *host, const void *memory, size_t bytes)
{
    g->ops->copy(g->ops, host, memory, bytes, OSV_TO_HOST);
    g->ops->sync(g->ops, 0);
    golden_check(g, osv_ops_status(g->ops));
}

static void losses_of(const golden_model *g, const osv_step *step, double *losses)
{
    const osv_batch *b = step->batch;
    size_t scores = (size_t)(b->live.scores.S + b->base.scores.S);
    osv_real *loss = malloc(scores * sizeof *loss);
    read_back(g, loss, step->buffer.loss, scores * sizeof *loss);
    for (int c = 0; c < b->C; c++) {
        losses[c] = 0;
        for (int i = b->completion_first[c]; i < b->completion_first[c + 1]; i++)
            losses[c] += (double)loss[b->completion_score[i]];
    }
    free(loss);
}

static void read_logits(const golden_model *g, const osv_step *step, measured *m)
{
    m->numbers = step->batch->live.scores.R * g->model.config.V;
    cr_assert_leq(m->numbers, MOST_LOGITS);
    size_t bytes = (size_t)m->numbers * sizeof(osv_real);
    osv_real *z = malloc(bytes);
    read_back(g, z, step->buffer.live.scratch.z, bytes);
    for (int i = 0; i < m->numbers; i++) m->z[i] = (double)z[i];
    free(z);
}

/* Rows of golden logits are scored tokens, completion by completion; a constant one has no logits in the live
 * pass. */
static double logits_error(const golden_model *g, const char *name, const osv_batch *b, const measured *m)
{
    const osv_scores *scores = &b->live.scores;
    int V = g->model.config.V;
    const float *golden = golden_tensor(g, name, "logits32");
    double difference = 0, norm = 0;
    for (int i = 0; i < b->completion_tokens; i++) {
        int score = b->completion_score[i], row = 0;
        if (score >= scores->S) continue;
        while (scores->first[row + 1] <= score) row++;
        for (int j = 0; j < V; j++) {
            double got = m->z[row * V + j], want = (double)golden[i * V + j];
            difference += (got - want) * (got - want);
            norm += want * want;
        }
    }
    return sqrt(difference / norm);
}

/* At the golden v times `stretch`. */
static void measure(golden_model *g, const json_t *golden, double stretch, measured *m)
{
    const char *name = json_string_value(json_object_get(golden, "name"));
    osv_ops *o = g->ops;
    golden_problem p = {0};
    golden_problem_open(&p, g, golden);
    int D = g->model.config.D, bad;
    osv_batch_job job = {.layer = p.job.layer, .coldness = p.job.options.coldness, .eps = p.job.options.eps};
    osv_batch *b;
    osv_step *step;
    golden_check(g, osv_batch_build(&b, p.sequence, p.job.completions, &job, 1, g->model.config.N,
                                    &osv_all_on, &bad, &g->error));
    golden_check(g, osv_step_open(&step, o, g->comm, &g->model, b, &osv_all_on));
    osv_prefix(step);

    osv_real host[GOLDEN_D], ones[GOLDEN_COMPLETIONS * 8];
    size_t bytes = (size_t)D * sizeof *host, scores = (size_t)b->live.scores.S;
    osv_real *v = o->alloc(o, bytes), *dv = o->alloc(o, bytes);
    m->C = b->C;
    m->D = D;
    m->logits = m->numbers = 0;
    o->zero(o, v, bytes);
    osv_forward(step, v);
    losses_of(g, step, m->zero);

    for (int i = 0; i < D; i++) host[i] = (osv_real)(stretch * (double)golden_tensor(g, name, "v")[i]);
    o->copy(o, v, host, bytes, OSV_TO_DEVICE);
    osv_forward(step, v);
    losses_of(g, step, m->losses);
    if (json_is_true(json_object_get(golden, "logits"))) {
        read_logits(g, step, m);
        m->logits = logits_error(g, name, b, m);
    }

    cr_assert_leq(scores, sizeof ones / sizeof *ones);
    for (size_t i = 0; i < scores; i++) ones[i] = 1;
    o->copy(o, step->buffer.w, ones, scores * sizeof *ones, OSV_TO_DEVICE);
    osv_backward(step, v, dv);
    read_back(g, host, dv, bytes);
    for (int i = 0; i < D; i++) m->dv[i] = (double)host[i];

    o->free(o, v);
    o->free(o, dv);
    osv_step_close(step);
    osv_batch_free(b);
    golden_problem_close(&p);
}

/* The worst of a filling and a model, for the log: docs/families.md. */
typedef struct {
    double logits, loss, dv;
} worst;

static void check_case(golden_model *g, const char *who, const json_t *golden, worst *w)
{
    static measured m;
    double dv[GOLDEN_D], sum = 0, want = golden_number(golden, "loss64");
    const char *name = json_string_value(json_object_get(golden, "name"));
    measure(g, golden, 1, &m);
    golden_check_losses(who, "losses64_zero", m.zero, json_object_get(golden, "losses64_zero"), tight,
                        tight * 1e-1);
    golden_check_losses(who, "losses32_zero", m.zero, json_object_get(golden, "losses32_zero"), 1e-5, 1e-6);
    golden_check_losses(who, "losses64", m.losses, json_object_get(golden, "losses64"), tight, tight * 1e-1);
    golden_check_losses(who, "losses32", m.losses, json_object_get(golden, "losses32"), 1e-5, 1e-6);
    for (int i = 0; i < m.C; i++) sum += m.losses[i];
    cr_assert(fabs(sum - want) <= tight * fabs(want), "%s: the loss is %.9g, golden %.9g", who, sum, want);
    cr_assert(m.logits <= 1e-4, "%s: logits differ by %.3g", who, m.logits);
    w->logits = fmax(w->logits, m.logits);
    w->loss = fmax(w->loss, fabs(sum - want) / fabs(want));

    cr_assert_eq(golden_list(dv, json_object_get(golden, "dv64")), m.D);
    double error = golden_distance(m.dv, dv, m.D);
    cr_assert(error <= tight, "%s: dv differs from the oracle's by %.3g", who, error);
    w->dv = fmax(w->dv, error);
    for (int i = 0; i < m.D; i++) dv[i] = (double)golden_tensor(g, name, "dv32")[i];
    error = golden_distance(m.dv, dv, m.D);
    cr_assert(error <= 1e-3, "%s: dv differs from transformers' by %.3g", who, error);
    cr_assert(golden_cosine(m.dv, dv, m.D) > 0.99999, "%s: dv turned", who);
}

/* "cpu f32, llama-tiny, mixed" */
static void who_is(char who[256], int number, const json_t *golden)
{
    snprintf(who, 256, "%s, %s, %s", op_fillings[number / GOLDEN_MODELS].name,
             golden_models[number % GOLDEN_MODELS], json_string_value(json_object_get(golden, "name")));
}

ParameterizedTestParameters(golden_models, cases)
{
    return op_filling_numbers_f32(GOLDEN_MODELS);
}

ParameterizedTest(const int *number, golden_models, cases, .timeout = 600)
{
    golden_model g;
    size_t i;
    json_t *golden;
    char who[256];
    worst w = {0};
    open_number(&g, *number);
    bool few = SANITIZED && *number % GOLDEN_MODELS >= GOLDEN_FULL &&
               strstr(op_fillings[*number / GOLDEN_MODELS].name, "emu");
    cr_assert_geq(json_array_size(json_object_get(g.json, "cases")), least_cases(*number % GOLDEN_MODELS));
    json_array_foreach(json_object_get(g.json, "cases"), i, golden)
    {
        who_is(who, *number, golden);
        check_case(&g, who, golden, &w);
        if (few && i == 1) break;
    }
    cr_log_info("%-13s %-12s logits %.1e  loss %.1e  dv %.1e", op_fillings[*number / GOLDEN_MODELS].name,
                golden_models[*number % GOLDEN_MODELS], w.logits, w.loss, w.dv);
    golden_close(&g);
}

/* ---- traces: the whole optimizer loop ---- */

/* As the golden trace was made, or `smooth`: exactly as many steps, and Adam's eps as large as gradients.
 * With the usual one the first steps have the same length however small a gradient is, so that a component
 * near 0 goes either way after rounding, and the trace with it. */
static void train(golden_model *g, const json_t *golden, bool smooth, golden_trace *t)
{
    const char *name = json_string_value(json_object_get(golden, "name"));
    golden_problem p = {0};
    golden_problem_open(&p, g, golden_case_of(g, json_string_value(json_object_get(golden, "case"))));
    osv_job_options *o = &p.job.options;
    o->lr = golden_number(golden, "lr");
    o->beta1 = json_number_value(json_array_get(json_object_get(golden, "betas"), 0));
    o->beta2 = json_number_value(json_array_get(json_object_get(golden, "betas"), 1));
    o->adam_eps = smooth ? 1 : golden_number(golden, "adam_eps");
    o->max_iters = (int)golden_number(golden, smooth ? "steps" : "max_iters");
    if (!smooth) o->target_loss = golden_number(golden, "target_loss");
    if (!isnan(golden_number(golden, "max_norm"))) o->max_norm = golden_number(golden, "max_norm");
    if (smooth) {
        o->plateau_iters = 0;
    } else if (!isnan(golden_number(golden, "plateau_eps"))) {
        o->plateau_eps = golden_number(golden, "plateau_eps");
        o->plateau_iters = (int)golden_number(golden, "plateau_iters");
    }
    o->init = golden_tensor(g, name, "start");
    golden_train(g, &p.job, t);
    cr_assert_eq(t->lines, (int)golden_number(golden, "steps") + 1, "%s: %d lines", name, t->lines);
    golden_problem_close(&p);
}

/* Of the final vector. */
static double final_error(const golden_model *g, const json_t *golden, const golden_trace *t)
{
    double want[GOLDEN_D];
    int D = g->model.config.D;
    for (int i = 0; i < D; i++)
        want[i] = (double)golden_tensor(g, json_string_value(json_object_get(golden, "name")), "final64")[i];
    return golden_distance(t->final, want, D);
}

static void check_trace(golden_model *g, const char *who, const json_t *golden)
{
    static golden_trace t;
    train(g, golden, false, &t);
    golden_check_numbers(who, golden, "loss32", t.loss, t.lines, 1e-4);
    golden_check_numbers(who, golden, "loss64", t.loss, t.lines, 1e-4);
    golden_check_numbers(who, golden, "norm64", t.norm, t.lines, 1e-4);
    golden_check_numbers(who, golden, "grad_norm64", t.grad_norm, t.lines - 1, 1e-3);
    for (int i = 0; i < t.lines; i++)
        golden_check_losses(who, "losses64", t.losses[i],
                            json_array_get(json_object_get(golden, "losses64"), (size_t)i), 1e-4, 1e-6);
    cr_assert_str_eq(osv_stop_name(t.stopped), json_string_value(json_object_get(golden, "stopped")), "%s",
                     who);
    double error = final_error(g, golden, &t);
    cr_assert(error <= 1e-3, "%s: the final vector differs by %.3g", who, error);
}

ParameterizedTestParameters(golden_models, traces)
{
    return op_filling_numbers_f32(GOLDEN_MODELS);
}

ParameterizedTest(const int *number, golden_models, traces, .timeout = 600)
{
    golden_model g;
    size_t i;
    json_t *golden;
    char who[256];
    open_number(&g, *number);
    bool few = SANITIZED && strstr(op_fillings[*number / GOLDEN_MODELS].name, "emu");
    cr_assert_geq(json_array_size(json_object_get(g.json, "traces")),
                  *number % GOLDEN_MODELS < GOLDEN_FULL ? 6 : 1);
    json_array_foreach(json_object_get(g.json, "traces"), i, golden)
    {
        who_is(who, *number, golden);
        check_trace(&g, who, golden);
        if (few) break;
    }
    golden_close(&g);
}

#ifndef OSV_DOUBLE

/* ---- bf16: at most twice the error that ref makes when it rounds every input of a product ---- */

/* ref in bf16, then the other fillings in bf16, on one model. */
enum { MOST_SUBJECTS = 4, KINDS = 3 };
typedef struct {
    golden_model g;
    const char *filling;
    double sum[KINDS]; /* of logarithms of errors, or of their squares */
    int count[KINDS];
} subject;

static int open_subjects(subject *s, const char *model)
{
    int n = 0;
    for (int i = 0; i < op_fillings_here(); i++) {
        if (op_fillings[i].dtype != OSV_DTYPE_BF16) continue;
        cr_assert_lt(n, MOST_SUBJECTS);
        s[n] = (subject){.filling = op_fillings[i].name};
        golden_open(&s[n++].g, model, op_fillings[i].open, OSV_DTYPE_BF16);
    }
    cr_assert_str_eq(s[0].filling, "ref bf16");
    cr_assert_gt(n, 2);
    return n;
}

static void check_error(const subject *s, const char *model, const char *name, const char *what, double error,
                        double of_ref)
{
    cr_log_info("%s, %s, %s: error of %s %.3g, of ref %.3g", s->filling, model, name, what, error, of_ref);
    cr_expect(error <= 2 * of_ref + 1e-5, "%s, %s, %s: the error of %s is %.3g, that of ref %.3g", s->filling,
              model, name, what, error, of_ref);
}

static struct criterion_test_params model_numbers(int count)
{
    int *number = cr_malloc((size_t)count * sizeof *number);
    int n = 0;
    for (int i = 0; i < count; i += SANITIZED ? 3 : 1) number[n++] = i;
    return cr_make_param_array(int, number, (size_t)n, NULL);
}

/* What all are held against: ref in f32, but that an embedding scale of the run's dtype is that of bf16,
 * which is no error of a product. */
static void open_exact(subject *exact, const char *model)
{
    *exact = (subject){.filling = "ref f32"};
    golden_open(&exact->g, model, osv_ref_open, OSV_DTYPE_F32);
    osv_config *c = &exact->g.model.config;
    if (c->embed_scale_dtype) c->embed_scale = osv_dtype_round(OSV_DTYPE_BF16, c->embed_scale);
}

/* Errors of one kind are compared by their geometric mean: some losses, of tokens that are all but certain,
 * have errors a hundred times those of others. */
static void add_error(subject *s, int kind, double error)
{
    s->sum[kind] += log(error + 1e-12);
    s->count[kind]++;
}

/* Adds the errors of losses, logits and dv; returns that of dv. */
static double add_errors(subject *s, const json_t *golden, double stretch, const measured *want)
{
    static measured m;
    measure(&s->g, golden, stretch, &m);
    cr_assert(want->C == m.C && want->numbers == m.numbers);
    double dv = golden_distance(m.dv, want->dv, m.D);
    if (stretch == 1) add_error(s, 0, golden_distance(m.zero, want->zero, m.C));
    add_error(s, 0, golden_distance(m.losses, want->losses, m.C));
    if (m.numbers > 0) add_error(s, 1, golden_distance(m.z, want->z, m.numbers));
    add_error(s, 2, dv);
    return dv;
}

ParameterizedTestParameters(golden_models, cases_rounded)
{
    return model_numbers(GOLDEN_MODELS);
}

/* One error may be small by luck. So each case is measured at vectors of several lengths, which round in ways
 * that have nothing to do with each other; a dv is held against the largest of ref's errors, the errors of
 * each kind over all cases against ref's. */
ParameterizedTest(const int *number, golden_models, cases_rounded, .timeout = 600)
{
    static const char *const whats[KINDS] = {"losses", "logits", "dv"};
    static subject s[MOST_SUBJECTS], exact;
    static measured want;
    const char *model = golden_models[*number];
    int subjects = open_subjects(s, model), lengths = *number < GOLDEN_FULL || SANITIZED ? 2 : 4;
    open_exact(&exact, model);
    const json_t *cases = json_object_get(exact.g.json, "cases");
    cr_assert_geq(json_array_size(cases), least_cases(*number));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *golden = json_array_get(cases, i);
        double dv[MOST_SUBJECTS] = {0}, of_ref = 0;
        for (int n = 0; n < lengths; n++) {
            double stretch = 1 + 0.02 * n;
            measure(&exact.g, golden, stretch, &want);
            of_ref = fmax(of_ref, add_errors(&s[0], golden, stretch, &want));
            for (int k = 1; k < subjects; k++) {
                double error = add_errors(&s[k], golden, stretch, &want);
                if (n == 0) dv[k] = error;
            }
        }
        for (int k = 1; k < subjects; k++)
            check_error(&s[k], model, json_string_value(json_object_get(golden, "name")), "dv", dv[k],
                        of_ref);
    }
    for (int k = 1; k < subjects; k++)
        for (int kind = 0; kind < KINDS; kind++)
            check_error(&s[k], model, "all", whats[kind], exp(s[k].sum[kind] / s[k].count[kind]),
                        exp(s[0].sum[kind] / s[0].count[kind]));
    for (int k = 0; k < subjects; k++) golden_close(&s[k].g);
    golden_close(&exact.g);
}

ParameterizedTestParameters(golden_models, traces_rounded)
{
    return model_numbers(GOLDEN_FULL);
}

/* Smooth traces against those of ref in f32, but for those that differ by a largest norm alone. */
ParameterizedTest(const int *number, golden_models, traces_rounded, .timeout = 600)
{
    static subject s[MOST_SUBJECTS], exact;
    static golden_trace t, want;
    const char *model = golden_models[*number];
    int subjects = open_subjects(s, model), seen = 0;
    open_exact(&exact, model);
    const json_t *traces = json_object_get(exact.g.json, "traces");
    for (size_t i = 0; i < json_array_size(traces); i++) {
        const json_t *golden = json_array_get(traces, i);
        const char *name = json_string_value(json_object_get(golden, "name"));
        if (strstr(name, "-capped")) continue;
        train(&exact.g, golden, true, &want);
        double of_ref = 0;
        for (int k = 0; k < subjects; k++) {
            train(&s[k].g, golden, true, &t);
            double losses = golden_distance(t.loss, want.loss, want.lines),
                   vector = golden_distance(t.final, want.final, exact.g.model.config.D);
            s[k].sum[0] += losses * losses;
            if (k == 0) of_ref = vector;
            if (k > 0) check_error(&s[k], model, name, "the final vector", vector, of_ref);
        }
        seen++;
        if (SANITIZED) break;
    }
    cr_assert_geq(seen, SANITIZED ? 1 : 5);
    for (int k = 1; k < subjects && !SANITIZED; k++) /* one trace is too few to compare errors by */
        check_error(&s[k], model, "all", "losses of traces", sqrt(s[k].sum[0]), sqrt(s[0].sum[0]));
    for (int k = 0; k < subjects; k++) golden_close(&s[k].g);
    golden_close(&exact.g);
}

#endif
