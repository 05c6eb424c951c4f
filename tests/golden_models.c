/* Whole models against golden data (tests/golden/README.md): losses, logits, dv and training traces of tiny
 * random models of both families, from files to vectors. Built twice: in float for `ref` and `cpu`, in double
 * for `ref`, where the fp64 oracle is met to 1e-9. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint.h"
#include "loader/datapoints.h"
#include "loader/json.h"
#include "loader/safetensors.h"
#include "optim/evaluate.h"
#include "optim/train.h"

static const char *const models[] = {"llama-tiny", "llama-bf16", "gemma2-tiny", "gemma2-f16"};
enum { MODELS = sizeof models / sizeof *models };

#ifdef OSV_DOUBLE
static const double tight = 1e-9; /* against the fp64 oracle */
#else
static const double tight = 1e-5;
#endif

/* A model with its golden file, on one backend. */
typedef struct {
    osv_error error;
    char cases[512];
    osv_checkpoint *checkpoint;
    osv_model model;
    osv_ops *ops;
    osv_comm *comm;
    json_t *json;
    osv_safetensors *tensors;
} subject;

static void check(const subject *s, int status)
{
    cr_assert_eq(status, 0, "%s", s->error.text);
}

static void open_subject(subject *s, const char *model, const char *backend)
{
    char path[512], file[600];
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, "%s/models/%s", OSV_GOLDEN, model);
    snprintf(s->cases, sizeof s->cases, "%s/cases/%s", OSV_GOLDEN, model);
    check(s, osv_checkpoint_open(&s->checkpoint, &s->model, path, 0, 1, &s->error));
#ifndef OSV_DOUBLE
    if (strcmp(backend, "cpu") == 0) check(s, osv_cpu_open(&s->ops, OSV_DTYPE_F32, 2, &s->error));
#endif
    if (!s->ops) check(s, osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error));
    cr_assert_str_eq(s->ops->name, backend);
    check(s, osv_comm_self_open(&s->comm, &s->error));
    check(s, osv_model_place(&s->model, s->ops));
    snprintf(file, sizeof file, "%s/cases.json", s->cases);
    check(s, osv_json_read(&s->json, file, &s->error));
    snprintf(file, sizeof file, "%s/cases.safetensors", s->cases);
    check(s, osv_safetensors_open(&s->tensors, file, &s->error));
}

static void close_subject(subject *s)
{
    json_decref(s->json);
    osv_safetensors_close(s->tensors);
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    osv_model_free(&s->model);
    osv_checkpoint_close(s->checkpoint);
}

static const float *tensor(const subject *s, const char *name, const char *what, int64_t *rows)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", name, what);
    const osv_tensor *t = osv_safetensors_find(s->tensors, full);
    cr_assert(t != NULL, "no tensor %s", full);
    if (rows) *rows = t->shape[0];
    return t->data;
}

static double number(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* The job of a case's datapoint file. */
typedef struct {
    osv_dataset *data;
    osv_sequence sequence[64];
    double target[64];
    osv_job job;
} problem;

static void open_problem(problem *p, subject *s, const json_t *golden_case)
{
    char file[600];
    snprintf(file, sizeof file, "%s/%s", s->cases, json_string_value(json_object_get(golden_case, "data")));
    osv_dataset_options options = {.tokenizer_missing = "the golden models have no tokenizer",
                                   .V = s->model.config.V,
                                   .positions = s->model.config.positions,
                                   .default_positions = "all",
                                   .boundary = OSV_BOUNDARY_AUTO};
    check(s, osv_dataset_read(&p->data, file, &options, &s->error));
    p->job = (osv_job){.name = "all",
                       .layer = (int)number(golden_case, "layer"),
                       .options = osv_job_defaults(),
                       .sequence = p->sequence,
                       .target = p->target};
    p->job.options.coldness = number(golden_case, "coldness");
    p->job.options.eps = number(golden_case, "eps");
    for (int d = 0; d < p->data->count; d++) {
        for (int c = 0; c < p->data->point[d].completions; c++) {
            const osv_completion *x = &p->data->point[d].completion[c];
            cr_assert_lt(p->job.completions, 64);
            p->target[p->job.completions] = x->target;
            p->sequence[p->job.completions++] =
                (osv_sequence){.count = x->count,
                               .prompt = x->prompt,
                               .ids = x->ids,
                               .steer = x->steer,
                               .kind = x->suppress ? OSV_ONE_MINUS : OSV_PROMOTE};
        }
    }
}

static void close_problem(problem *p)
{
    osv_dataset_free(p->data);
}

/* Norm of the difference over norm of the golden numbers. */
static double distance(const double *a, const double *b, int n)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < n; i++) difference += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
    return sqrt(difference / norm);
}

static double cosine(const double *a, const double *b, int n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    return ab / sqrt(aa * bb);
}

/* A small suppress loss is about P, whose relative error is the absolute error of a logit: in fp32 it is
 * known to 1e-6 absolute rather than to 1e-5 of itself (transformers' own differ from the oracle by 4e-7):
 * `slack`. The sum has no such excuse. */
static void check_losses(const char *model, const char *name, const char *what, const double *losses,
                         const json_t *golden, double tolerance, double slack)
{
    size_t i;
    json_t *x;
    json_array_foreach(golden, i, x)
    {
        double want = json_number_value(x), allowed = tolerance * fabs(want) + slack;
        cr_assert(fabs(losses[i] - want) <= allowed, "%s, %s: %s[%zu] is %.9g, golden %.9g", model, name,
                  what, i, losses[i], want);
    }
}

/* ---- cases: one forward and one reverse pass at a fixed vector ---- */

static void losses_of(const osv_step *step, const osv_batch *b, double *losses)
{
    for (int c = 0; c < b->C; c++) {
        losses[c] = 0;
        for (int i = b->completion_first[c]; i < b->completion_first[c + 1]; i++)
            losses[c] += (double)step->buffer.loss[b->completion_score[i]];
    }
}

/* Rows of golden logits are scored tokens, completion by completion; a constant one has no logits in the live
 * pass. */
static void check_logits(const subject *s, const char *model, const char *name, const osv_step *step,
                         const osv_batch *b)
{
    int V = s->model.config.V;
    const float *golden = tensor(s, name, "logits32", NULL);
    const osv_scores *scores = &b->live.scores;
    double difference = 0, norm = 0;
    for (int i = 0; i < b->completion_tokens; i++) {
        int score = b->completion_score[i], row = 0;
        if (score >= scores->S) continue;
        while (scores->first[row + 1] <= score) row++;
        for (int j = 0; j < V; j++) {
            double z = (double)step->buffer.live.scratch.z[row * V + j], want = (double)golden[i * V + j];
            difference += (z - want) * (z - want);
            norm += want * want;
        }
    }
    double error = sqrt(difference / norm);
    cr_assert(error <= 1e-4, "%s, %s: logits differ by %.3g", model, name, error);
}

static void check_sum(const char *model, const char *name, const char *what, const double *losses, int n,
                      const json_t *golden)
{
    double sum = 0, want = json_number_value(golden);
    for (int i = 0; i < n; i++) sum += losses[i];
    cr_assert(fabs(sum - want) <= tight * fabs(want), "%s, %s: %s is %.9g, golden %.9g", model, name, what,
              sum, want);
}

static void check_case(subject *s, const char *model, const json_t *golden)
{
    const char *name = json_string_value(json_object_get(golden, "name"));
    problem p = {0};
    open_problem(&p, s, golden);
    int D = s->model.config.D, bad;
    osv_batch_job job = {.layer = p.job.layer, .coldness = p.job.options.coldness, .eps = p.job.options.eps};
    osv_batch *b;
    osv_step *step;
    check(s, osv_batch_build(&b, p.sequence, p.job.completions, &job, 1, s->model.config.N, &osv_all_on, &bad,
                             &s->error));
    check(s, osv_step_open(&step, s->ops, s->comm, &s->model, b, &osv_all_on));
    osv_prefix(step);

    osv_real *v = calloc(2 * (size_t)D, sizeof *v), *dv = v + D;
    double *x = calloc(3 * (size_t)D, sizeof *x), *dv64 = x + D, *dv32 = dv64 + D, losses[64];
    osv_forward(step, v);
    losses_of(step, b, losses);
    check_losses(model, name, "losses64_zero", losses, json_object_get(golden, "losses64_zero"), tight,
                 tight * 1e-1);
    check_losses(model, name, "losses32_zero", losses, json_object_get(golden, "losses32_zero"), 1e-5, 1e-6);

    for (int i = 0; i < D; i++) v[i] = (osv_real)tensor(s, name, "v", NULL)[i];
    osv_forward(step, v);
    losses_of(step, b, losses);
    check_losses(model, name, "losses64", losses, json_object_get(golden, "losses64"), tight, tight * 1e-1);
    check_losses(model, name, "losses32", losses, json_object_get(golden, "losses32"), 1e-5, 1e-6);
    check_sum(model, name, "loss64", losses, b->C, json_object_get(golden, "loss64"));
    if (json_is_true(json_object_get(golden, "logits"))) check_logits(s, model, name, step, b);

    for (int i = 0; i < b->live.scores.S; i++) step->buffer.w[i] = 1;
    osv_backward(step, dv);
    check(s, osv_ops_status(s->ops));
    for (int i = 0; i < D; i++) {
        x[i] = (double)dv[i];
        dv64[i] = json_number_value(json_array_get(json_object_get(golden, "dv64"), (size_t)i));
        dv32[i] = (double)tensor(s, name, "dv32", NULL)[i];
    }
    double error = distance(x, dv64, D);
    cr_assert(error <= tight, "%s, %s: dv differs from the oracle's by %.3g", model, name, error);
    error = distance(x, dv32, D);
    cr_assert(error <= 1e-3, "%s, %s: dv differs from transformers' by %.3g", model, name, error);
    cr_assert(cosine(x, dv32, D) > 0.99999, "%s, %s: dv turned", model, name);

    free(v);
    free(x);
    osv_step_close(step);
    osv_batch_free(b);
    close_problem(&p);
}

static void check_cases(const char *backend)
{
    for (int m = 0; m < MODELS; m++) {
        subject s;
        open_subject(&s, models[m], backend);
        size_t i;
        json_t *golden;
        cr_assert_gt(json_array_size(json_object_get(s.json, "cases")), 8);
        json_array_foreach(json_object_get(s.json, "cases"), i, golden) check_case(&s, models[m], golden);
        close_subject(&s);
    }
}

/* ---- traces: the whole optimizer loop ---- */

typedef struct {
    const char *model, *name;
    const json_t *golden;
    int lines;
    bool finished;
    double *final; /* [D] */
} trace;

static void check_number(const trace *t, const char *key, int i, double got, double tolerance)
{
    double want = json_number_value(json_array_get(json_object_get(t->golden, key), (size_t)i));
    cr_assert(fabs(got - want) <= tolerance * fabs(want), "%s, %s: %s[%d] is %.9g, golden %.9g", t->model,
              t->name, key, i, got, want);
}

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    trace *t = context;
    (void)e;
    cr_assert_eq(r->iter, t->lines++);
    check_number(t, "loss32", r->iter, r->loss, 1e-4);
    check_number(t, "loss64", r->iter, r->loss, 1e-4);
    check_number(t, "norm64", r->iter, r->norm, 1e-4);
    check_losses(t->model, t->name, "losses64", r->losses,
                 json_array_get(json_object_get(t->golden, "losses64"), (size_t)r->iter), 1e-4, 1e-6);
    if (r->stopped == OSV_RUNNING) {
        check_number(t, "grad_norm64", r->iter, r->grad_norm, 1e-3);
    } else {
        t->finished = true;
        cr_assert_str_eq(osv_stop_name(r->stopped), json_string_value(json_object_get(t->golden, "stopped")));
        cr_assert_eq(r->iter, (int)number(t->golden, "steps"));
        for (int i = 0; i < r->D; i++) t->final[i] = (double)r->vector[i];
    }
    return 0;
}

static void check_trace(subject *s, const char *model, const json_t *golden)
{
    const char *name = json_string_value(json_object_get(golden, "name"));
    json_t *of = json_object_get(golden, "case"), *one, *data = NULL;
    size_t i;
    json_array_foreach(json_object_get(s->json, "cases"), i,
                       one) if (json_equal(json_object_get(one, "name"), of)) data = one;
    cr_assert(data != NULL);
    problem p = {0};
    open_problem(&p, s, data);
    osv_job_options *o = &p.job.options;
    o->lr = number(golden, "lr");
    o->beta1 = json_number_value(json_array_get(json_object_get(golden, "betas"), 0));
    o->beta2 = json_number_value(json_array_get(json_object_get(golden, "betas"), 1));
    o->adam_eps = number(golden, "adam_eps");
    o->max_iters = (int)number(golden, "max_iters");
    o->target_loss = number(golden, "target_loss");
    if (!isnan(number(golden, "max_norm"))) o->max_norm = number(golden, "max_norm");
    if (!isnan(number(golden, "plateau_eps"))) {
        o->plateau_eps = number(golden, "plateau_eps");
        o->plateau_iters = (int)number(golden, "plateau_iters");
    }
    o->init = tensor(s, name, "start", NULL);

    int D = s->model.config.D;
    double *final = calloc(2 * (size_t)D, sizeof *final), *golden_final = final + D;
    trace t = {.model = model, .name = name, .golden = golden, .final = final};
    osv_training training = {.ops = s->ops,
                             .comm = s->comm,
                             .model = &s->model,
                             .on = osv_all_on,
                             .job = &p.job,
                             .jobs = 1,
                             .observer = {.context = &t, .report = on_report}};
    check(s, osv_train(&training));
    cr_assert(t.finished, "%s, %s: no final report", model, name);
    cr_assert_eq(t.lines, (int)number(golden, "steps") + 1);
    for (int k = 0; k < D; k++) golden_final[k] = (double)tensor(s, name, "final64", NULL)[k];
    double error = distance(final, golden_final, D);
    cr_assert(error <= 1e-3, "%s, %s: the final vector differs by %.3g", model, name, error);
    free(final);
    close_problem(&p);
}

static void check_traces(const char *backend)
{
    for (int m = 0; m < MODELS; m++) {
        subject s;
        open_subject(&s, models[m], backend);
        size_t i;
        json_t *golden;
        cr_assert_geq(json_array_size(json_object_get(s.json, "traces")), 6);
        json_array_foreach(json_object_get(s.json, "traces"), i, golden) check_trace(&s, models[m], golden);
        close_subject(&s);
    }
}

Test(golden_models, cases_ref)
{
    check_cases("ref");
}

Test(golden_models, traces_ref)
{
    check_traces("ref");
}

#ifndef OSV_DOUBLE
Test(golden_models, cases_cpu)
{
    check_cases("cpu");
}

Test(golden_models, traces_cpu)
{
    check_traces("cpu");
}
#endif
