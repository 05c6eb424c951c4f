/* The whole training on the emulated CUDA backend, with several jobs, layers and completions: the same bytes
 * each time and in any order of threads, the numbers of `cpu`, a hot loop of recorded graphs alone, and a
 * clean end whatever call of the device fails and however little memory it has. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "optim/evaluate.h"
#include "optim/pack.h"
#include "tests/emu/device_emu.h"
#include "tests/golden_case.h"
#include "tests/golden_check.h"
#include "tests/sanitized.h"

enum { JOBS = 3, ITERS = 6 };

/* What one run told. */
typedef struct {
    uint64_t hash; /* over all reports with their vectors, and all probabilities */
    double loss[JOBS][ITERS + 1], norm[JOBS][ITERS + 1], vector[JOBS][GOLDEN_D];
    int lines[JOBS], D;
    osv_emu_counts start, at[ITERS + 1]; /* before training, and at the first job's reports */
    osv_error error;
} record;

/* ---- one run ---- */

/* FNV-1a */
static void add_to_hash(uint64_t *hash, const void *p, size_t bytes)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < bytes; i++) *hash = (*hash ^ at[i]) * 0x100000001b3u;
}

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    record *to = context;
    (void)e;
    cr_assert_eq(r->iter, to->lines[r->job], "job %d: report of iteration %d", r->job, r->iter);
    cr_assert_leq(r->iter, ITERS);
    if (r->job == 0) to->at[r->iter] = osv_emu_count();
    to->loss[r->job][r->iter] = r->loss;
    to->norm[r->job][r->iter] = r->norm;
    to->lines[r->job]++;
    to->D = r->D;
    add_to_hash(&to->hash, &r->job, sizeof r->job);
    add_to_hash(&to->hash, &r->iter, sizeof r->iter);
    add_to_hash(&to->hash, &r->loss, sizeof r->loss);
    add_to_hash(&to->hash, &r->norm, sizeof r->norm);
    if (r->stopped == OSV_RUNNING) add_to_hash(&to->hash, &r->grad_norm, sizeof r->grad_norm);
    add_to_hash(&to->hash, r->losses, (size_t)r->completions * sizeof *r->losses);
    if (r->stopped == OSV_RUNNING) return OSV_OK;
    cr_assert_eq(r->stopped, OSV_STOP_MAX_ITERS);
    add_to_hash(&to->hash, r->vector, (size_t)r->D * sizeof *r->vector);
    for (int i = 0; i < r->D; i++) to->vector[r->job][i] = (double)r->vector[i];
    return OSV_OK;
}

/* What is trained. One job may end early, so that the rest is packed anew. */
typedef struct {
    const char *cases[JOBS]; /* up to the first NULL; one is a job */
    int iters;
    int early; /* steps of the second job */
} plan;
static const plan whole = {{"negative", "pos-slice", "mixed"}, ITERS, 2},
                  steady = {{"negative", "pos-slice", "mixed"}, ITERS, ITERS},
                  little = {{"promote", "suppress"}, 4, 1};

/* A job a case, at different layers. Returns how many. */
static int make_jobs(golden_model *g, const plan *a, golden_problem *p, osv_job *job)
{
    static const char *const names[JOBS] = {"a", "b", "c"};
    int N = g->model.config.N, layers[JOBS] = {N / 2, N - 1, 0}, j = 0;
    for (; j < JOBS && a->cases[j]; j++) {
        golden_problem_open(&p[j], g, golden_case_of(g, a->cases[j]));
        job[j] = p[j].job;
        job[j].name = names[j];
        job[j].layer = layers[j];
        job[j].options.lr = 0.05;
        job[j].options.seed = 3;
        job[j].options.max_iters = j == 1 ? a->early : a->iters;
        job[j].options.plateau_iters = 0;
        if (j % 2) job[j].options.max_norm = 1;
    }
    return j;
}

/* From placing the weights to the probabilities after the training. Whatever fails, all is released. */
static int run(const char *model, osv_dtype dtype, golden_opener *open, const plan *a, record *to)
{
    static golden_model g;
    static golden_problem p[JOBS];
    osv_job job[JOBS];
    double logprob[JOBS * GOLDEN_COMPLETIONS] = {0};
    *to = (record){.hash = 0xcbf29ce484222325u};
    memset(p, 0, sizeof p);
    golden_read(&g, model);
    int jobs = make_jobs(&g, a, p, job);
    int status = open(&g.ops, dtype, &g.error);
    if (!status) status = osv_model_place(&g.model, g.ops);
    osv_training t = {.ops = g.ops,
                      .comm = g.comm,
                      .model = &g.model,
                      .on = osv_all_on,
                      .job = job,
                      .jobs = jobs,
                      .observer = {.context = to, .report = on_report}};
    if (!status) status = osv_evaluate(&t, NULL, logprob);
    to->start = osv_emu_count();
    if (!status) status = osv_train(&t);
    if (!status) {
        osv_real vector[JOBS][GOLDEN_D];
        const osv_real *vectors[JOBS];
        for (int j = 0; j < jobs; j++) {
            vectors[j] = vector[j];
            for (int i = 0; i < to->D; i++) vector[j][i] = (osv_real)to->vector[j][i];
        }
        add_to_hash(&to->hash, logprob, sizeof logprob);
        status = osv_evaluate(&t, vectors, logprob);
        add_to_hash(&to->hash, logprob, sizeof logprob);
    }
    to->error = g.error;
    for (int j = 0; j < jobs; j++) golden_problem_close(&p[j]);
    golden_close(&g);
    return status;
}

static void must_run(const char *model, osv_dtype dtype, const plan *a, record *to)
{
    int status = run(model, dtype, osv_emu_open, a, to);
    cr_assert_eq(status, OSV_OK, "%s: %s", model, to->error.text);
    cr_expect_eq(osv_emu_bytes(), 0, "%s: %zu bytes were not freed", model, osv_emu_bytes());
}

static record one, other; /* too large for the stack of a thread */

/* ---- numbers ---- */

/* Every model with all cases in both dtypes, the others in one of them, as one number; sanitized, a few. */
static struct criterion_test_params models_by_dtypes(void)
{
    int *number = cr_malloc(2 * GOLDEN_MODELS * sizeof *number), n = 0;
    for (int m = 0; m < GOLDEN_MODELS; m += SANITIZED ? 3 : 1)
        for (int dtype = 0; dtype < 2; dtype++)
            if (SANITIZED || m >= GOLDEN_FULL ? m % 2 == dtype : true) number[n++] = 2 * m + dtype;
    return cr_make_param_array(int, number, (size_t)n, NULL);
}

ParameterizedTestParameters(train_emu, same_bytes)
{
    return models_by_dtypes();
}

ParameterizedTest(const int *number, train_emu, same_bytes, .timeout = 600)
{
    const char *model = golden_models[*number / 2];
    osv_dtype dtype = *number % 2 ? OSV_DTYPE_BF16 : OSV_DTYPE_F32;
    must_run(model, dtype, &whole, &one);
    cr_expect_eq(one.lines[0], ITERS + 1);
    cr_expect_eq(one.lines[1], 3);
    bool few = *number / 2 >= GOLDEN_FULL;
    for (unsigned order = SANITIZED ? 2 : 0; order < (SANITIZED ? 3 : 4); order += few ? 2 : 1) {
        osv_emu_order(order);
        must_run(model, dtype, &whole, &other);
        cr_expect_eq(other.hash, one.hash, "%s, dtype %d: other bytes in order %u", model, (int)dtype, order);
    }
}

static int open_cpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cpu_open(o, dtype, 2, error);
}

Test(train_emu, numbers_of_cpu, .timeout = 600)
{
    for (int m = 0; m < GOLDEN_MODELS; m += SANITIZED ? 4 : 1) {
        must_run(golden_models[m], OSV_DTYPE_F32, &whole, &one);
        cr_assert_eq(run(golden_models[m], OSV_DTYPE_F32, open_cpu, &whole, &other), OSV_OK, "%s",
                     other.error.text);
        for (int j = 0; j < JOBS; j++) {
            cr_assert_eq(one.lines[j], other.lines[j]);
            for (int i = 0; i < one.lines[j]; i++) {
                double loss = other.loss[j][i], norm = other.norm[j][i];
                cr_expect(fabs(one.loss[j][i] - loss) <= 1e-4 * fabs(loss),
                          "%s, job %d: loss %d is %.9g, on cpu %.9g", golden_models[m], j, i, one.loss[j][i],
                          loss);
                cr_expect(fabs(one.norm[j][i] - norm) <= 1e-4 * norm,
                          "%s, job %d: norm %d is %.9g, on cpu %.9g", golden_models[m], j, i, one.norm[j][i],
                          norm);
            }
            double error = golden_distance(one.vector[j], other.vector[j], one.D);
            cr_expect(error <= 1e-4, "%s, job %d: the vector differs by %.3g", golden_models[m], j, error);
        }
    }
}

/* ---- the hot loop ---- */

/* Once both graphs are recorded, an iteration is one run of a graph and one wait for the iteration before: no
 * memory, no work outside of the graph, no copy of its own, no second wait. */
Test(train_emu, hot_loop)
{
    must_run("gemma2-tiny", OSV_DTYPE_BF16, &steady, &one);
    for (int i = 0; i <= ITERS; i++)
        cr_expect_eq(one.at[i].graph_runs - one.start.graph_runs, (size_t)i + 2,
                     "the losses of iteration %d were read after %zu", i,
                     one.at[i].graph_runs - one.start.graph_runs);
    /* The report of iteration 0 comes when iteration 1, the second graph, is recorded and submitted. At the
     * last one the vectors are fetched. */
    for (int i = 1; i < ITERS; i++) {
        const osv_emu_counts *a = &one.at[i - 1], *b = &one.at[i];
        cr_expect_eq(b->graph_runs - a->graph_runs, 1, "iteration %d", i);
        cr_expect_eq(b->syncs - a->syncs, 1, "iteration %d: %zu waits", i, b->syncs - a->syncs);
        cr_expect_eq(b->marks - a->marks, 1, "iteration %d", i);
        cr_expect_eq(b->allocations - a->allocations, 0, "iteration %d", i);
        cr_expect_eq(b->outside - a->outside, 0, "iteration %d: %zu outside of the graph", i,
                     b->outside - a->outside);
        cr_expect_eq(b->copies - a->copies, 0, "iteration %d: %zu copies", i, b->copies - a->copies);
        cr_expect_eq(b->launches - a->launches, 0, "iteration %d", i);
        cr_expect_eq(b->products - a->products, 0, "iteration %d", i);
        cr_expect_eq(b->calls[OSV_EMU_HOST_ALLOC] - a->calls[OSV_EMU_HOST_ALLOC], 0, "iteration %d", i);
    }
    cr_expect(one.at[0].launches > one.start.launches && one.at[0].products > one.start.products);
}

/* ---- the plan ---- */

static void add_bytes(void *context, osv_weight *w)
{
    const osv_footprint f = {.backend = "cuda", .dtype = OSV_DTYPE_BF16};
    *(size_t *)context += osv_footprint_weight(&f, w);
}

/* What is planned from shapes alone is what a training allocates, to the byte: the weights, and a bin. */
Test(train_emu, plan)
{
    static golden_model g;
    static golden_problem p[JOBS];
    for (int m = 0; m < GOLDEN_MODELS; m++) {
        osv_job job[JOBS];
        osv_model shapes = {0};
        osv_bin_size size;
        size_t weights = 0;
        int all[JOBS] = {0, 1, 2};
        bool fits;
        memset(p, 0, sizeof p);
        golden_read(&g, golden_models[m]);
        int jobs = make_jobs(&g, &steady, p, job);
        golden_check(&g, osv_model_alloc(&shapes, &g.model.config, &g.model.shard, &g.error));
        osv_model_shapes(&shapes, g.model.config.format);
        osv_model_each(&shapes, add_bytes, &weights);
        golden_check(
            &g, osv_ref_open(&g.ops, OSV_DTYPE_F32, &g.error)); /* a plan needs it for its errors alone */
        osv_training t = {.ops = g.ops, .model = &shapes, .on = osv_all_on, .job = job, .jobs = jobs};
        golden_check(&g, osv_pack_measure(&size, &fits, &t, all, jobs, 0));
        g.ops->close(g.ops);

        static record r;
        r = (record){0};
        osv_emu_peak();
        golden_check(&g, osv_emu_open(&g.ops, OSV_DTYPE_BF16, &g.error));
        size_t fixed = osv_emu_peak();
        golden_check(&g, osv_model_place(&g.model, g.ops));
        cr_expect_eq(osv_emu_peak() - fixed, weights, "%s: the weights", golden_models[m]);
        t.ops = g.ops;
        t.comm = g.comm;
        t.model = &g.model;
        t.observer = (osv_observer){.context = &r, .report = on_report};
        golden_check(&g, osv_train(&t));
        size_t most = osv_emu_peak();
        cr_expect_eq(most - fixed - weights, size.bytes, "%s: a bin took %zu bytes, planned were %zu",
                     golden_models[m], most - fixed - weights, size.bytes);
        for (int j = 0; j < jobs; j++) golden_problem_close(&p[j]);
        osv_model_free(&shapes);
        golden_close(&g);
    }
}

/* ---- failures ---- */

enum { MOST = SANITIZED ? 8 : 100 }; /* tries of a kind and model */

ParameterizedTestParameters(train_emu, failures)
{
    int *kind = cr_malloc(OSV_EMU_KINDS * sizeof *kind);
    for (int i = 0; i < OSV_EMU_KINDS; i++) kind[i] = i;
    return cr_make_param_array(int, kind, OSV_EMU_KINDS, NULL);
}

/* Calls of a kind fail, one a run: every one, or MOST that lie evenly. The weights of the first model change
 * their format on the way, those of the second do not. */
ParameterizedTest(const int *kind, train_emu, failures, .timeout = 600)
{
    static const char *const models[2] = {"gemma2-f16", "llama-tiny"};
    for (int m = 0; m < 2; m++) {
        size_t before = osv_emu_count().calls[*kind];
        must_run(models[m], OSV_DTYPE_F32, &little, &one);
        int calls = (int)(osv_emu_count().calls[*kind] - before), tries = calls < MOST ? calls : MOST;
        cr_assert_gt(calls, 1);
        for (int i = 0; i < tries; i++) {
            int n = 1 + (int)((long)i * (calls - 1) / (tries > 1 ? tries - 1 : 1));
            osv_emu_fail((osv_emu_kind)*kind, n);
            int status = run(models[m], OSV_DTYPE_F32, osv_emu_open, &little, &other);
            cr_expect_eq(status, OSV_DEVICE, "%s, kind %d, call %d of %d: status %d", models[m], *kind, n,
                         calls, status);
            cr_expect(strstr(other.error.text, "injected by a test"), "%s, kind %d, call %d of %d: \"%s\"",
                      models[m], *kind, n, calls, other.error.text);
            cr_expect_eq(osv_emu_bytes(), 0, "%s, kind %d, call %d of %d: %zu bytes were not freed",
                         models[m], *kind, n, calls, osv_emu_bytes());
        }
        cr_log_info("%s, kind %d: %d of %d", models[m], *kind, tries, calls);
        osv_emu_fail((osv_emu_kind)*kind, 0);
        must_run(models[m], OSV_DTYPE_F32, &little, &other);
        cr_expect_eq(other.hash, one.hash, "%s: other bytes after a failure", models[m]);
    }
}

/* Ever more memory, until it is enough: before, the error tells for what there was too little, and what to
 * do. */
static void too_little(osv_dtype dtype)
{
    static const char *const whats[] = {"scratch", "a weight", "activations, keys and values"};
    enum { WHATS = sizeof whats / sizeof *whats };
    int seen[WHATS] = {0}, status = OSV_DEVICE;
    for (size_t memory = 32 << 10; status; memory += memory / 6) {
        cr_assert_lt(memory, (size_t)1 << 30);
        osv_emu_memory(memory);
        status = run("llama-tiny", dtype, osv_emu_open, &little, &one);
        cr_expect_eq(osv_emu_bytes(), 0, "%zu bytes were not freed", osv_emu_bytes());
        if (status == OSV_OK) break;
        cr_expect_eq(status, OSV_DEVICE);
        bool named = false;
        for (int i = 0; i < WHATS; i++) {
            char text[64];
            snprintf(text, sizeof text, "GB asked for %s, ", whats[i]);
            if (!strstr(one.error.text, text)) continue;
            seen[i]++;
            named = true;
        }
        cr_expect(named && strstr(one.error.text, "out of memory") && strstr(one.error.text, "GB are free") &&
                      strstr(one.error.text, "fewer jobs at once or shorter prompts"),
                  "%zu bytes: \"%s\"", memory, one.error.text);
        cr_expect_eq(strstr(one.error.text, "--dtype bf16") != NULL, dtype == OSV_DTYPE_F32, "\"%s\"",
                     one.error.text);
    }
    for (int i = 0; i < WHATS; i++) cr_expect(seen[i] > 0, "never too little for %s", whats[i]);
}

Test(train_emu, too_little_memory_f32, .timeout = 600)
{
    too_little(OSV_DTYPE_F32);
}

Test(train_emu, too_little_memory_bf16, .timeout = 600)
{
    too_little(OSV_DTYPE_BF16);
}
