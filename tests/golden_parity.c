/* Training as the published reference implementation does it (docs/parity.md) against golden data
 * (tests/golden/README.md, "parity/"): losses iteration by iteration, where it ends and why, on every
 * filling.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/golden_check.h"
#include "tests/golden_form.h"
#include "tests/golden_trace.h"
#include "tests/op_fillings.h"

TEST_GPU(golden_parity)

static const char *const models[] = {"llama-tiny", "gemma2-tiny"};
enum { MODELS = 2, LEAST_CASES = 15 };

/* What --parity reference sets, and the rules that end a training. */
static void be_reference(osv_job *job, const json_t *golden)
{
    osv_job_options *o = &job->options;
    const char *rule = json_string_value(json_object_get(golden, "target_rule"));
    o->parity = OSV_PARITY_EXTRA_STEP | OSV_PARITY_STEP_AFTER_TARGET | OSV_PARITY_PLATEAU_TOTAL;
    o->target_rule = strcmp(rule, "each") == 0 ? OSV_TARGET_EACH : OSV_TARGET_SUM;
    o->target_iters = (int)golden_number(golden, "target_iters");
    o->plateau_eps = o->eps;
    o->plateau_iters = (int)golden_number(golden, "plateau_iters");
    job->form.constant_norm = job->form.kind == OSV_FORM_CLAMP;
    job->form.cut = job->laters > 0;
}

static void check_final(const golden_model *g, const char *who, const osv_job *job, const golden_trace *t)
{
    static double want[GOLDEN_ROWS * GOLDEN_D];
    const float *final = golden_tensor(g, job->name, "final");
    int numbers = osv_job_rows(job) * g->model.config.D;
    for (int i = 0; i < numbers; i++) want[i] = (double) final[i];
    double error = golden_distance(t->final, want, numbers);
    cr_assert(error <= 1e-3, "%s: the final parameters differ by %.3g", who, error);
}

static void check_case(golden_model *g, const char *who, const json_t *golden, const osv_job *job)
{
    static golden_trace t;
    const json_t *losses = json_object_get(golden, "losses");
    golden_train(g, job, &t);
    cr_assert_eq(t.lines, (int)json_array_size(losses), "%s: %d lines", who, t.lines);
    for (int i = 0; i < t.lines; i++) {
        char what[32];
        snprintf(what, sizeof what, "losses[%d]", i);
        golden_check_losses(who, what, t.losses[i], json_array_get(losses, (size_t)i), 1e-4, 1e-6);
    }
    golden_check_numbers(who, golden, "norm", t.norm, t.lines, 1e-4);
    cr_assert_str_eq(osv_stop_name(t.stopped), json_string_value(json_object_get(golden, "stopped")), "%s",
                     who);
    if (json_is_null(json_object_get(golden, "second_lr"))) check_final(g, who, job, &t);
}

ParameterizedTestParameters(golden_parity, cases)
{
    return op_filling_numbers_f32(MODELS);
}

ParameterizedTest(const int *number, golden_parity, cases, .timeout = 600)
{
    static golden_model g;
    static golden_form f;
    const op_filling *filling = &op_fillings[*number / MODELS];
    const char *model = models[*number % MODELS];
    size_t i;
    json_t *golden;
    golden_open_in(&g, "parity", model, filling->open, filling->dtype);
    cr_assert_geq(json_array_size(json_object_get(g.json, "cases")), LEAST_CASES);
    json_array_foreach(json_object_get(g.json, "cases"), i, golden)
    {
        char who[256];
        if (strstr(filling->name, "emu") && i % 4) continue; /* is slow */
        golden_form_open(&f, &g, golden);
        be_reference(&f.job, golden);
        snprintf(who, sizeof who, "%s, %s, %s", filling->name, model, f.job.name);
        check_case(&g, who, golden, &f.job);
        golden_form_close(&f);
    }
    golden_close(&g);
}
