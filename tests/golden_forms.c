/* Every form and every loss against golden data (tests/golden/README.md, "forms/"): losses, the gradient of
 * the objective and traces of tiny random models, on every filling. Built twice: in float for all fillings,
 * in double for `ref`. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "optim/bin.h"
#include "optim/objective.h"
#include "tests/golden_check.h"
#include "tests/golden_form.h"
#include "tests/golden_trace.h"
#include "tests/op_fillings.h"
#include "tests/sanitized.h"

#ifdef OSV_DOUBLE
static const double tight = 1e-9, along = 1e-8; /* at one point, along a trace */
static const double slack = 1e-12;              /* of losses that are all but 0 */
#else
static const double tight = 1e-5, along = 1e-4;
static const double slack = 1e-6;
TEST_GPU(golden_forms)
#endif

static const char *const models[] = {"llama-tiny", "gemma2-tiny"};
enum { MODELS = 2, LEAST_CASES = 25 };

/* An f32 filling and a model, as one number: Criterion's parameters are bytes. */
static struct criterion_test_params fillings_by_models(void)
{
    int *number = cr_malloc((size_t)op_fillings_here() * MODELS * sizeof *number), n = 0;
    for (int i = 0; i < op_fillings_here() * MODELS; i++)
        if (op_fillings[i / MODELS].dtype == OSV_DTYPE_F32) number[n++] = i;
    return cr_make_param_array(int, number, (size_t)n, NULL);
}

/* ---- at the start parameters ---- */

typedef struct {
    double losses[FORM_COMPLETIONS], gradient[GOLDEN_ROWS * GOLDEN_D];
} measured;

static void read_back(const golden_model *g, double *to, const osv_real *memory, int n)
{
    osv_real *host = malloc((size_t)n * sizeof *host);
    g->ops->copy(g->ops, host, memory, (size_t)n * sizeof *host, OSV_TO_HOST);
    g->ops->sync(g->ops, 0);
    golden_check(g, osv_ops_status(g->ops));
    for (int i = 0; i < n; i++) to[i] = (double)host[i];
    free(host);
}

static void measure(golden_model *g, const osv_job *job, measured *m)
{
    osv_ops *o = g->ops;
    osv_training t = {.ops = o, .comm = g->comm, .model = &g->model, .on = osv_all_on, .job = job, .jobs = 1};
    osv_batch *batch;
    osv_step *step;
    osv_objective objective;
    osv_bump size = {0};
    osv_real start[GOLDEN_ROWS * GOLDEN_D];
    int D = g->model.config.D, numbers = osv_job_rows(job) * D;
    size_t bytes = sizeof *start;
    golden_check(g, osv_bin_batch(&batch, &t, (int[]){0}, 1, false));
    golden_check(g, osv_step_open(&step, o, g->comm, &g->model, batch, &osv_all_on));
    osv_objective_place(&objective, &size, batch, job, NULL, 1);
    void *memory = o->alloc(o, size.used);
    osv_objective_place(&objective, &(osv_bump){.memory = memory, .o = o}, batch, job, NULL, 1);
    osv_real *p = o->alloc(o, (size_t)numbers * bytes), *dp = o->alloc(o, (size_t)(batch->G * D) * bytes);
    osv_real *losses = o->alloc(o, (size_t)batch->C * bytes);

    cr_assert_leq(numbers, GOLDEN_ROWS * GOLDEN_D);
    osv_job_start(start, job, D);
    o->copy(o, p, start, (size_t)numbers * bytes, OSV_TO_DEVICE);
    osv_prefix(step);
    osv_forward(step, p);
    o->objective(o, step->buffer.w, losses, step->buffer.loss, &objective, osv_losses_of(&batch->live));
    osv_backward(step, p, dp);
    read_back(g, m->losses, losses, batch->C);
    read_back(g, m->gradient, dp, numbers);

    o->free(o, memory);
    o->free(o, p);
    o->free(o, dp);
    o->free(o, losses);
    osv_step_close(step);
    osv_batch_free(batch);
}

static void check_start(golden_model *g, const char *who, const json_t *golden, const osv_job *job)
{
    static measured m;
    const double *want = golden_tensor64(g, job->name, "gradient");
    int D = g->model.config.D, rows = osv_job_rows(job);
    measure(g, job, &m);
    golden_check_losses(who, "losses[0]", m.losses, json_array_get(json_object_get(golden, "losses"), 0),
                        tight, slack);
    double error = golden_distance(m.gradient, want, rows * D);
    cr_assert(error <= tight, "%s: the gradient differs by %.3g", who, error);
    for (int r = 0; r < rows; r++) {
        if (osv_job_role(job, r) == OSV_ROW_OFFSET) continue;
        double cosine = golden_cosine(m.gradient + r * D, want + r * D, D);
        cr_assert(cosine > 0.99999, "%s: row %d of the gradient turned: %.9g", who, r, cosine);
    }
}

/* ---- training ---- */

static void check_trace(golden_model *g, const char *who, const json_t *golden, const osv_job *job)
{
    static golden_trace t;
    static double want[GOLDEN_ROWS * GOLDEN_D];
    const float *final = golden_tensor(g, job->name, "final");
    int numbers = osv_job_rows(job) * g->model.config.D;
    golden_train(g, job, &t);
    cr_assert_eq(t.lines, job->options.max_iters + 1, "%s: %d lines", who, t.lines);
    for (int i = 0; i < t.lines; i++) {
        char what[32];
        snprintf(what, sizeof what, "losses[%d]", i);
        golden_check_losses(who, what, t.losses[i],
                            json_array_get(json_object_get(golden, "losses"), (size_t)i), along, slack);
    }
    golden_check_numbers(who, golden, "norm", t.norm, t.lines, along);
    golden_check_numbers(who, golden, "grad_norm", t.grad_norm, t.lines - 1, 10 * along);
    for (int i = 0; i < numbers; i++) want[i] = (double) final[i];
    double error = golden_distance(t.final, want, numbers); /* which are F32 */
    cr_assert(error <= 10 * along + 1e-7, "%s: the final parameters differ by %.3g", who, error);
}

ParameterizedTestParameters(golden_forms, cases)
{
    return fillings_by_models();
}

ParameterizedTest(const int *number, golden_forms, cases, .timeout = 600)
{
    static golden_model g;
    static golden_form f;
    const op_filling *filling = &op_fillings[*number / MODELS];
    const char *model = models[*number % MODELS];
    size_t i;
    json_t *golden;
    golden_open_in(&g, "forms", model, filling->open, filling->dtype);
    bool emulated = strstr(filling->name, "emu"); /* is slow */
    cr_assert_geq(json_array_size(json_object_get(g.json, "cases")), LEAST_CASES);
    json_array_foreach(json_object_get(g.json, "cases"), i, golden)
    {
        char who[256];
        if (emulated && SANITIZED && i % 5) continue;
        golden_form_read(&f, &g, golden);
        snprintf(who, sizeof who, "%s, %s, %s", filling->name, model, f.job.name);
        check_start(&g, who, golden, &f.job);
        if (!emulated || i % 3 == 0) check_trace(&g, who, golden, &f.job);
    }
    golden_close(&g);
}
