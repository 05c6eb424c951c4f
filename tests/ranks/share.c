/* One job whose completions are divided among replicas, against the same job on one: traces and final
 * vectors, of replicas of one rank each and of two. Usage, by mpirun: ranks-share BACKEND TP */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm_filling.h"
#include "optim/share.h"
#include "tests/golden_check.h"
#include "tests/golden_form.h"
#include "tests/golden_trace.h"
#include "tests/ranks/ranks.h"

/* "Between layouts": losses along a trace, final vectors. */
static const double along = 1e-4, at_the_end = 1e-3;
static const double slack = 1e-6; /* of losses that are all but 0 */

static ranks r;
static osv_comm *model_ranks, *data; /* those of r, divided */

static int open_cpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cpu_open(o, dtype, 1, error);
}

static bool near_traces(const char *name, const golden_trace *a, const golden_trace *b, int completions,
                        int numbers)
{
    if (a->lines != b->lines || a->stopped != b->stopped)
        return ranks_say(&r, "%s: %d lines, %s; on one: %d, %s", name, a->lines, osv_stop_name(a->stopped),
                         b->lines, osv_stop_name(b->stopped));
    for (int i = 0; i < a->lines; i++)
        for (int c = 0; c < completions; c++)
            if (!(fabs(a->losses[i][c] - b->losses[i][c]) <= along * fabs(b->losses[i][c]) + slack))
                return ranks_say(&r, "%s: loss %d of iteration %d is %.9g, on one %.9g", name, c, i,
                                 a->losses[i][c], b->losses[i][c]);
    double error = golden_distance(a->final, b->final, numbers);
    return error <= at_the_end ? true : ranks_say(&r, "%s: vectors differ by %.3g", name, error);
}

/* The case, divided; false: not the same. *divided counts those that could be. */
static bool check_case(golden_model *whole, golden_model *split, const json_t *golden, int *divided)
{
    static golden_form one, own;
    static golden_trace alone, shared;
    osv_error refused = {0};
    bool good = true;
    golden_form_open(&one, whole, golden);
    if (osv_share_check(&one.job, data, &refused)) {
        golden_form_close(&one);
        return refused.status == OSV_USAGE || ranks_say(&r, "%s", refused.text);
    }
    golden_form_open(&own, split, golden);
    split->data = data;
    golden_train(split, &own.job, &shared);
    golden_train(whole, &one.job, &alone);
    int numbers = osv_job_rows(&one.job) * whole->model.config.D;
    good = near_traces(one.job.name, &shared, &alone, one.job.completions, numbers);
    if (!ranks_same(&r, shared.final, (size_t)numbers * sizeof *shared.final))
        good = ranks_say(&r, "%s: vectors differ from another rank's", one.job.name);
    ++*divided;
    golden_form_close(&own);
    golden_form_close(&one);
    split->data = NULL; /* what other cases are prepared with is each replica's own */
    return good;
}

static bool check_model(const char *model, const char *backend)
{
    golden_model whole, split;
    char path[600];
    size_t i;
    json_t *golden;
    bool good = true;
    int divided = 0;
    golden_open_in(&whole, "forms", model, open_cpu, OSV_DTYPE_F32);
    split = whole;
    split.ops = r.ops;
    split.comm = model_ranks;
    snprintf(path, sizeof path, "%s/models/%s", OSV_GOLDEN, model);
    golden_check(&split, osv_checkpoint_open(&split.checkpoint, &split.model, path, model_ranks->rank,
                                             model_ranks->size, &split.error));
    golden_check(&split, osv_model_place(&split.model, r.ops));
    json_array_foreach(json_object_get(whole.json, "cases"), i, golden)
    {
        if (strcmp(backend, "cuda") == 0 && i % 4 != 0) continue; /* the emulation is slow */
        good &= check_case(&whole, &split, golden, &divided);
    }
    if (divided < 4) good = ranks_say(&r, "%s: %d cases could be divided", model, divided);
    osv_model_free(&split.model);
    osv_checkpoint_close(split.checkpoint);
    golden_close(&whole);
    return good;
}

/* A job with too few completions, and one with a bound. */
static bool check_refusals(void)
{
    const osv_sequence sequence[8] = {0};
    osv_goal bound[8];
    osv_error few = {0}, bounded = {0};
    osv_job job = {.name = "j", .completions = data->size - 1, .sequence = sequence};
    for (int i = 0; i < 8; i++) bound[i] = osv_goal_plain;
    bound[1].bound = 0.5;
    bool good = osv_share_check(&job, data, &few) == OSV_USAGE && strstr(few.text, "cannot have some each");
    job = (osv_job){.name = "j", .completions = 8, .sequence = sequence, .goal = bound};
    return good && osv_share_check(&job, data, &bounded) == OSV_USAGE && strstr(bounded.text, "with bounds");
}

/* Pairs stay together wherever they are cut. */
static bool check_pairs(void)
{
    const osv_sequence sequence[9] = {0};
    osv_goal goal[9];
    for (int i = 0; i < 9; i++) goal[i] = osv_goal_plain;
    for (int i = 0; i < 3; i++) goal[3 + i].partner = 6 + i, goal[6 + i].partner = 3 + i;
    osv_job job = {.name = "j", .completions = 9, .sequence = sequence, .goal = goal};
    osv_comm two = {.size = 2};
    int next = 0;
    for (two.rank = 0; two.rank < 2; two.rank++) {
        osv_share s = osv_share_of(&job, &two);
        if (s.first != next || (s.first > 3 && s.first < 9)) return false;
        next = s.first + s.count;
    }
    return next == 9;
}

int main(int argc, char **argv)
{
    const char *backend = argc > 1 ? argv[1] : "cpu";
    ranks_open(&r, argc, argv);
    int tp = argc > 2 ? atoi(argv[2]) : 1, size = r.comm->size;
    ranks_group(&r, &model_ranks, (osv_group){tp, 1});
    ranks_group(&r, &data, (osv_group){size / tp, tp});
    ranks_test(&r, check_model("llama-tiny", backend), "every form and loss, llama-tiny");
    ranks_test(&r, check_model("gemma2-tiny", backend), "every form and loss, gemma2-tiny");
    ranks_test(&r, check_refusals(), "what cannot be divided");
    ranks_test(&r, check_pairs(), "pairs are not divided");
    data->close(data);
    model_ranks->close(model_ranks);
    return ranks_close(&r);
}
