/* Every form and every loss against golden data (tests/golden/README.md, "forms/", "melbo/"): losses, the
 * gradient of the objective and traces of tiny random models, on every filling. Built twice: in float for all
 * fillings, in double for `ref`. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "optim/bin.h"
#include "optim/objective.h"
#include "optim/penalty.h"
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

/* Lists that lost entries must not pass. */
static const struct {
    const char *folder, *model;
    size_t least_cases;
} lists[] = {{"forms", "llama-tiny", 36},
             {"forms", "gemma2-tiny", 36},
             {"melbo", "llama-tiny", 9},
             {"melbo", "gemma2-tiny", 9}};
enum { LISTS = sizeof lists / sizeof *lists };

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

/* What measuring takes from the device beside a step. */
typedef struct {
    osv_real *p, *dp, *losses, *weight;
    osv_objective objective;
    osv_penalties penalties;
} buffers;

static void lay_out(buffers *b, osv_bump *memory, const osv_batch *batch, const osv_job *job, int D)
{
    size_t row = (size_t)D * sizeof(osv_real), C = (size_t)batch->C;
    b->p = osv_take(memory, (size_t)batch->P, row);
    b->dp = osv_take(memory, (size_t)batch->G, row);
    b->losses = osv_take(memory, C, sizeof *b->losses);
    b->weight = osv_take(memory, C, sizeof *b->weight);
    osv_objective_place(&b->objective, memory, batch, job, NULL, 1);
    osv_penalties_place(&b->penalties, memory, batch, job, (int[]){0}, 1);
    b->objective.weight = b->weight;
}

static void start(const golden_model *g, const buffers *b, const osv_job *job)
{
    osv_real p[GOLDEN_ROWS * GOLDEN_D], weight[FORM_COMPLETIONS];
    int D = g->model.config.D, rows = osv_job_rows(job);
    cr_assert_leq(rows * D, GOLDEN_ROWS * GOLDEN_D);
    osv_job_start(p, job, D);
    for (int c = 0; c < job->completions; c++) weight[c] = (osv_real)osv_weight_of(job, c, 0);
    g->ops->copy(g->ops, b->p, p, (size_t)(rows * D) * sizeof *p, OSV_TO_DEVICE);
    g->ops->copy(g->ops, b->weight, weight, (size_t)job->completions * sizeof *weight, OSV_TO_DEVICE);
    g->ops->sync(g->ops, 0);
}

static void measure(golden_model *g, const osv_job *job, measured *m)
{
    osv_ops *o = g->ops;
    osv_training t = {.ops = o, .comm = g->comm, .model = &g->model, .on = osv_all_on, .job = job, .jobs = 1};
    osv_batch *batch;
    osv_step *step;
    osv_bump size = {0};
    buffers b;
    int D = g->model.config.D;
    golden_check(g, osv_bin_batch(&batch, &t, (int[]){0}, 1, false));
    golden_check(g, osv_step_open(&step, o, g->comm, &g->model, batch, &osv_all_on));
    lay_out(&b, &size, batch, job, D);
    void *memory = o->alloc(o, size.used);
    lay_out(&b, &(osv_bump){.memory = memory, .o = o}, batch, job, D);
    start(g, &b, job);
    osv_prefix(step);
    osv_forward(step, b.p);
    o->objective(o, step->buffer.w, b.losses, step->buffer.loss, &b.objective, osv_losses_of(&batch->live));
    osv_backward(step, b.p, b.dp);
    osv_penalties_run(&b.penalties, o, b.dp, b.p, D);
    read_back(g, m->losses, b.losses, batch->C);
    read_back(g, m->gradient, b.dp, batch->P * D);
    o->free(o, memory);
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

/* The job's loss is the sum of all that are not aside; a pair's part is -ln sigmoid of its margin, counted
 * with the chosen one. */
static void check_sum(const char *who, const osv_job *job, double loss, const double *losses)
{
    double sum = 0, size = 0;
    for (int c = 0; c < job->completions; c++) {
        const osv_goal *g = &job->goal[c], *other = g->partner < 0 ? g : &job->goal[g->partner];
        if (g->aside || (g->partner >= 0 && g->beta < 0)) continue;
        double margin = g->beta * (g->reference - losses[c]);
        if (g->partner >= 0) margin += other->beta * (other->reference - losses[g->partner]);
        double term = g->partner < 0 ? losses[c] : log(1 + exp(-margin));
        sum += term;
        size += fabs(losses[c]);
    }
    cr_assert(fabs(loss - sum) <= 1e-6 * size, "%s: the loss is %.9g, the sum %.9g", who, loss, sum);
}

static void check_trace(golden_model *g, const char *who, const json_t *golden, const osv_job *job)
{
    static golden_trace t;
    static double want[GOLDEN_ROWS * GOLDEN_D];
    const float *final = golden_tensor(g, job->name, "final");
    int numbers = osv_job_rows(job) * g->model.config.D;
    golden_train(g, job, &t);
    cr_assert_eq(t.lines, (int)json_array_size(json_object_get(golden, "losses")), "%s: %d lines", who,
                 t.lines);
    cr_assert_eq(t.kept, (int)golden_number(golden, "kept"), "%s: kept after %d steps", who, t.kept);
    for (int i = 0; i < t.lines; i++) {
        char what[32];
        snprintf(what, sizeof what, "losses[%d]", i);
        golden_check_losses(who, what, t.losses[i],
                            json_array_get(json_object_get(golden, "losses"), (size_t)i), along, slack);
        check_sum(who, job, t.loss[i], t.losses[i]);
    }
    golden_check_numbers(who, golden, "norm", t.norm, t.lines, along);
    golden_check_numbers(who, golden, "grad_norm", t.grad_norm, t.lines - 1, 10 * along);
    for (int i = 0; i < numbers; i++) want[i] = (double) final[i];
    double error = golden_distance(t.final, want, numbers); /* which are F32 */
    cr_assert(error <= 10 * along + 1e-7, "%s: the final parameters differ by %.3g", who, error);
}

ParameterizedTestParameters(golden_forms, cases)
{
    return op_filling_numbers_f32(LISTS);
}

ParameterizedTest(const int *number, golden_forms, cases, .timeout = 600)
{
    static golden_model g;
    static golden_form f;
    const op_filling *filling = &op_fillings[*number / LISTS];
    int list = *number % LISTS;
    size_t i;
    json_t *golden;
    golden_open_in(&g, lists[list].folder, lists[list].model, filling->open, filling->dtype);
    bool emulated = strstr(filling->name, "emu"); /* is slow */
    cr_assert_geq(json_array_size(json_object_get(g.json, "cases")), lists[list].least_cases);
    json_array_foreach(json_object_get(g.json, "cases"), i, golden)
    {
        char who[256];
        if (emulated && SANITIZED && i % 5) continue;
        golden_form_open(&f, &g, golden);
        snprintf(who, sizeof who, "%s, %s, %s", filling->name, lists[list].model, f.job.name);
        check_start(&g, who, golden, &f.job);
        if (!emulated || i % 3 == 0) check_trace(&g, who, golden, &f.job);
        golden_form_close(&f);
    }
    golden_close(&g);
}
