/* What an iteration sends between ranks, counted, against what engine/traffic.h says it does: to the byte.
 * Usage: ranks-traffic BACKEND [TP [RANKS]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/bin.h"
#include "tests/golden_form.h"
#include "tests/ranks/count.h"
#include "tests/ranks/ranks.h"

enum { JOBS = 3 };

static ranks r;

static bool check(const char *what, const osv_traffic *counted, const osv_traffic *said)
{
    if (counted->calls == said->calls && counted->bytes == said->bytes) return true;
    return ranks_say(&r, "%s: %ld calls and %zu bytes, not %ld and %zu", what, counted->calls, counted->bytes,
                     said->calls, said->bytes);
}

/* Iterations of one bin of these jobs. */
static bool check_bin(const char *what, golden_model *g, const osv_job *job, int jobs, bool narrow,
                      int recompute)
{
    static const int all[JOBS] = {0, 1, 2};
    counted_comm counted;
    osv_training t = {.ops = g->ops,
                      .comm = counted_comm_make(&counted, r.comm),
                      .model = &g->model,
                      .on = osv_all_on,
                      .job = job,
                      .jobs = jobs};
    osv_job_state state[JOBS] = {0};
    osv_batch *batch;
    osv_bin *bin;
    bool good = true;
    t.on.narrow_last = narrow;
    for (int j = 0; j < jobs; j++) {
        golden_check(g, osv_job_state_open(&state[j], (size_t)(osv_job_rows(&job[j]) * g->model.config.D),
                                           job[j].completions, &g->error));
        osv_job_start(state[j].vector, &job[j], g->model.config.D);
    }
    golden_check(g, osv_bin_batch(&batch, &t, all, jobs, false));
    golden_check(g, osv_bin_open(&bin, &t, all, jobs, recompute, state));
    osv_traffic said = osv_bin_traffic(&t, batch, all, jobs, recompute);
    for (int i = 0; i < 3; i++) {
        counted.sent = (osv_traffic){0};
        osv_bin_submit(bin, false, 0);
        good &= check(what, &counted.sent, &said);
    }
    osv_bin_close(bin);
    osv_batch_free(batch);
    for (int j = 0; j < jobs; j++) osv_job_state_close(&state[j]);
    return good;
}

/* A model's cases one by one, and its first ones together. */
static void check_model(const char *folder, const char *model)
{
    static golden_form form[JOBS];
    static golden_problem problem[JOBS];
    golden_model g;
    osv_job job[JOBS];
    size_t i;
    json_t *golden;
    char path[600], name[64];
    bool good = true, forms = strcmp(folder, "forms") == 0;
    golden_open_in(&g, folder, model, osv_ref_open, OSV_DTYPE_F32);
    osv_model whole = g.model;
    osv_checkpoint *checkpoint;
    osv_ops *own = g.ops;
    snprintf(path, sizeof path, "%s/models/%s", OSV_GOLDEN, model);
    golden_check(&g, osv_checkpoint_open(&checkpoint, &g.model, path, r.comm->rank, r.comm->size, &g.error));
    g.ops = r.ops;
    golden_check(&g, osv_model_place(&g.model, g.ops));
    json_array_foreach(json_object_get(g.json, "cases"), i, golden)
    {
        int at = i < JOBS ? (int)i : 0;
        if (i >= JOBS && !forms) break;
        if (forms) {
            golden_form_open(&form[at], &g, golden);
            job[at] = form[at].job;
            if (i % 3 == 0) job[at].options.noise = 0.1, job[at].options.noise_draws = 2;
        } else {
            golden_problem_open(&problem[at], &g, golden);
            job[at] = problem[at].job;
        }
        for (int recompute = 0; recompute <= g.model.config.N; recompute += 2)
            good &= check_bin(json_string_value(json_object_get(golden, "name")), &g, &job[at], 1, i % 2 == 0,
                              recompute);
        if (forms) golden_form_close(&form[at]);
    }
    if (!forms) good &= check_bin("together", &g, job, JOBS, true, 1);
    for (int j = 0; j < JOBS && !forms; j++) golden_problem_close(&problem[j]);
    osv_model_free(&g.model);
    osv_checkpoint_close(checkpoint);
    g.model = whole;
    g.ops = own;
    golden_close(&g);
    snprintf(name, sizeof name, "%s, %s", model, folder);
    ranks_test(&r, good, name);
}

int main(int argc, char **argv)
{
    ranks_open(&r, argc, argv);
    check_model("cases", "llama-tiny");
    check_model("cases", "olmo2");  /* norms of whole rows */
    check_model("cases", "gemma3"); /* post-norms */
    check_model("forms", "llama-tiny");
    check_model("forms", "gemma2-tiny");
    return ranks_close(&r);
}
