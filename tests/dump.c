/* Dumps of the first iteration (optim/dump.h): rows.json describes the tensors, the tensors fit one another,
 * and what they hold is what the engine computes. */
#include <criterion/criterion.h>
#include <math.h>

#include "files.h"
#include "optim/bin.h"
#include "optim/dump.h"
#include "optim/pack.h"
#include "tests/emu/device_emu.h"
#include "tests/golden_case.h"

enum { SEQUENCES = 7, TOKENS = 9, JOBS = 2 };

static const char *const models[] = {"llama-tiny", "gemma2-f16"};
enum { MODELS = sizeof models / sizeof *models };

/* Two jobs at two layers, sequences that share beginnings, both signs, tokens before the first steered one, a
 * completion whose loss is constant. */
static const int ids[SEQUENCES][TOKENS] = {
    {5, 9, 100, 31, 7, 8},       {5, 9, 100, 31, 7, 9, 12},   {5, 9, 100, 44},
    {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 10, 11, 12, 7}, {1, 2, 3, 9},
    {5, 9, 100, 31, 60, 61},
};
static const signed char steer[SEQUENCES][TOKENS] = {
    {0, 1, 1, 1, 1, 1},       {0, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 1}, {0, -1, -1, -1, 0, 0, 0, 0, 0},
    {0, 0, 1, 0, 1, 0, 0, 0}, {1, 1, 1, 1},          {1, 1, 1, 1},
};
static const osv_sequence sequences[SEQUENCES] = {
    {.count = 6, .prompt = 4, .ids = ids[0], .steer = steer[0], .kind = OSV_PROMOTE},
    {.count = 7, .prompt = 4, .ids = ids[1], .steer = steer[1], .kind = OSV_ONE_MINUS},
    {.count = 4, .prompt = 3, .ids = ids[2], .steer = steer[2], .kind = OSV_PROMOTE},
    {.count = 9, .prompt = 6, .ids = ids[3], .steer = steer[3], .kind = OSV_PROMOTE},
    {.count = 8, .prompt = 3, .ids = ids[4], .steer = steer[4], .kind = OSV_NEGATED},
    {.count = 4, .prompt = 3, .ids = ids[5], .steer = steer[5], .kind = OSV_ONE_MINUS},
    {.count = 6, .prompt = 5, .ids = ids[6], .steer = steer[6], .kind = OSV_PROMOTE},
};
#define TARGET(x)                                               \
    {                                                           \
        .target = (x), .weight = 1, .bound = NAN, .partner = -1 \
    }
static const osv_goal goals[SEQUENCES] = {TARGET(0.5), TARGET(NAN), TARGET(1), TARGET(2),
                                          TARGET(NAN), TARGET(NAN), TARGET(3)};

typedef struct {
    golden_model g;
    osv_job job[JOBS];
    osv_training training;
} subject;

static int open_cpu(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cpu_open(o, dtype, 2, error);
}

static void open_subject(subject *s, const char *model, golden_opener *open, osv_switches on)
{
    *s = (subject){.job = {{.name = "a", .completions = 4}, {.name = "b", .completions = 3}}};
    golden_open(&s->g, model, open, OSV_DTYPE_F32);
    for (int j = 0; j < JOBS; j++) {
        osv_job *job = &s->job[j];
        job->layer = j == 0 ? s->g.model.config.N - 1 : s->g.model.config.N - 2;
        job->options = osv_job_defaults();
        job->options.coldness = j == 0 ? 0.7 : 1;
        job->options.length_norm = j == 0;
        job->options.satisfice = j == 1;
        job->options.target_loss = 4;
        job->sequence = sequences + 4 * j;
        job->goal = goals + 4 * j;
    }
    s->training = (osv_training){
        .ops = s->g.ops, .comm = s->g.comm, .model = &s->g.model, .on = on, .job = s->job, .jobs = JOBS};
}

/* ---- what was written ---- */

typedef struct {
    osv_safetensors *tensors;
    json_t *rows;
} written;

static written dump_of(subject *s, const char *dir)
{
    written w;
    char file[600];
    osv_dump_size size;
    golden_check(&s->g, osv_dump(&s->training, dir, false, "a model", &size));
    snprintf(file, sizeof file, "%s/activations.safetensors", dir);
    golden_check(&s->g, osv_safetensors_open(&w.tensors, file, &s->g.error));
    snprintf(file, sizeof file, "%s/rows.json", dir);
    golden_check(&s->g, osv_json_read(&w.rows, file, &s->g.error));
    cr_expect_eq(size.tensors, osv_safetensors_count(w.tensors));
    return w;
}

static void close_written(written *w)
{
    osv_safetensors_close(w->tensors);
    json_decref(w->rows);
}

static const osv_tensor *find(const written *w, const char *name, int number)
{
    char full[64];
    snprintf(full, sizeof full, number < 0 ? "%s" : "%s.%d", name, number);
    return osv_safetensors_find(w->tensors, full);
}

/* Row r of a tensor that has to be there. */
static const float *row_of(const written *w, const char *name, int number, int r)
{
    const osv_tensor *t = find(w, name, number);
    cr_assert(t != NULL, "no tensor %s.%d", name, number);
    cr_assert(r >= 0 && r < t->shape[0], "%s.%d has no row %d", name, number, r);
    return (const float *)t->data + (int64_t)r * (t->rank > 1 ? t->shape[1] : 1);
}

/* rows.json: a.b.c[i], each NULL or -1: not gone into */
static const json_t *at(const json_t *rows, const char *pass, const char *key, int i)
{
    const json_t *x = json_object_get(rows, pass);
    if (key) x = json_object_get(x, key);
    if (i >= 0) x = json_array_get(x, (size_t)i);
    cr_assert(x != NULL, "rows.json has no %s %s %d", pass, key ? key : "", i);
    return x;
}
static int whole(const written *w, const char *pass, const char *key, int i)
{
    return (int)json_integer_value(at(w->rows, pass, key, i));
}
static int length(const written *w, const char *pass, const char *key)
{
    return (int)json_array_size(at(w->rows, pass, key, -1));
}

static double distance(const float *a, const float *b, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return difference == 0 ? 0 : sqrt(difference / norm);
}

/* ---- checks ---- */

/* All that should be there is, with as many rows as rows.json says. */
static void check_shapes(const subject *s, const written *w)
{
    int N = s->g.model.config.N, first = s->g.model.config.N - 2, R = length(w, "live", "scored");
    bool narrow = json_is_true(at(w->rows, "narrow", NULL, -1));
    cr_assert_eq(json_integer_value(at(w->rows, "first_block", NULL, -1)), first);
    int expected = 4 + 1; /* w, loss, v, dv; live.z */
    for (int l = 0; l <= N; l++) {
        int base = l == 0 ? length(w, "base", "id") : whole(w, "base", "active", l - 1);
        if (l == N && base > 0) base = length(w, "base", "scored");
        int live = l < N ? whole(w, "live", "active", l) : narrow ? R : length(w, "live", "id");
        const osv_tensor *x = find(w, "base.x", l), *y = find(w, "live.x", l), *dy = find(w, "live.dx", l);
        cr_assert_eq(x ? x->shape[0] : 0, base, "base.x.%d", l);
        cr_assert_eq(y ? y->shape[0] : 0, l >= first ? live : 0, "live.x.%d", l);
        cr_assert_eq(dy ? dy->shape[0] : 0, l >= first ? live : 0, "live.dx.%d", l);
        expected += (x != NULL) + (y != NULL) + (dy != NULL) + (l == N && x != NULL);
    }
    cr_assert_eq(find(w, "live.z", -1)->shape[0], R);
    cr_assert_eq(find(w, "live.z", -1)->shape[1], s->g.model.config.V);
    cr_assert_eq(osv_safetensors_count(w->tensors), expected);
}

/* Each token's row is of that token, and follows the row of the token before. */
static void check_rows(const written *w)
{
    const json_t *completions = at(w->rows, "completions", NULL, -1);
    cr_assert_eq(json_array_size(completions), SEQUENCES);
    for (int c = 0; c < SEQUENCES; c++) {
        const osv_sequence *q = &sequences[c];
        const json_t *rows = json_object_get(json_array_get(completions, (size_t)c), "rows");
        cr_assert_eq((int)json_array_size(rows), q->count - 1);
        int before = -1; /* as `parent` of live names it */
        for (int t = 0; t + 1 < q->count; t++) {
            int row = (int)json_integer_value(json_array_get(rows, (size_t)t));
            const char *pass = row >= 0 ? "live" : "base";
            int r = row >= 0 ? row : -1 - row, parent = whole(w, pass, "parent", r);
            cr_expect_eq(whole(w, pass, "id", r), q->ids[t], "sequence %d, token %d", c, t);
            cr_expect_eq(whole(w, pass, "pos", r), t, "sequence %d, token %d", c, t);
            if (row >= 0) {
                int base = whole(w, "live", "base_row", r);
                cr_expect_eq(whole(w, "live", "sign", r), q->steer[t]);
                cr_expect_eq(whole(w, "live", "job", r), c < 4 ? 0 : 1);
                cr_expect(whole(w, "base", "id", base) == q->ids[t] && whole(w, "base", "pos", base) == t);
                cr_expect_eq(parent, before, "sequence %d, token %d", c, t);
            } else {
                cr_expect_eq(parent, before == -1 ? -1 : -2 - before, "sequence %d, token %d", c, t);
            }
            before = row >= 0 ? row : -2 - r;
        }
    }
}

/* Where a vector enters: x = unsteered x + sign v; and dv is the sum of sign dx. */
static void check_entrance(const subject *s, const written *w)
{
    int T = length(w, "live", "id"), D = s->g.model.config.D;
    float x[GOLDEN_D];
    for (int j = 0; j < JOBS; j++) {
        int layer = s->job[j].layer, steered = 0;
        const float *v = row_of(w, "v", -1, j);
        float dv[GOLDEN_D] = {0};
        for (int r = 0; r < T; r++) {
            if (whole(w, "live", "job", r) != j) continue;
            int sign = whole(w, "live", "sign", r);
            const float *x0 = row_of(w, "base.x", layer, whole(w, "live", "base_row", r));
            const float *dx = row_of(w, "live.dx", layer, r);
            for (int i = 0; i < D; i++) x[i] = x0[i] + (float)sign * v[i];
            for (int i = 0; i < D; i++) dv[i] += (float)sign * dx[i];
            cr_expect(distance(row_of(w, "live.x", layer, r), x, (size_t)D) <= 1e-6, "job %d, row %d", j, r);
            steered += sign != 0;
        }
        cr_assert_gt(steered, 2);
        cr_expect(distance(dv, row_of(w, "dv", -1, j), (size_t)D) <= 1e-5, "dv of job %d", j);
    }
}

/* w is what rows.json says is optimized. */
static void check_objective(const written *w)
{
    int S = (int)find(w, "w", -1)->shape[0];
    double want[64] = {0};
    for (int c = 0; c < SEQUENCES; c++) {
        const json_t *one = at(w->rows, "completions", NULL, c);
        double scale = json_number_value(json_object_get(one, "scale")), slope = scale;
        const json_t *target = json_object_get(one, "target"), *scores = json_object_get(one, "scores");
        cr_expect_eq(json_is_null(target), c < 4);
        if (!json_is_null(target))
            slope = 2 * scale * ((double)*row_of(w, "loss", -1, c) - json_number_value(target));
        size_t i;
        json_t *score;
        json_array_foreach(scores, i, score)
        {
            if (json_integer_value(score) < S) want[json_integer_value(score)] += slope;
        }
        cr_expect_float_eq(scale, c < 4 ? 1.0 / (sequences[c].count - sequences[c].prompt) : 1, 1e-15);
    }
    for (int k = 0; k < S; k++)
        cr_expect_float_eq((double)*row_of(w, "w", -1, k), want[k], 1e-5 * (1 + fabs(want[k])));
}

/* dv of a step that nobody looks at, with the dump's w, byte for byte. */
static void check_dv(subject *s, const written *w)
{
    osv_ops *o = s->g.ops;
    osv_batch *batch;
    osv_step *step;
    const int job[JOBS] = {0, 1};
    const osv_tensor *v = find(w, "v", -1), *dv = find(w, "dv", -1), *weights = find(w, "w", -1);
    float got[JOBS * GOLDEN_D];
    golden_check(&s->g, osv_bin_batch(&batch, &s->training, job, JOBS, false));
    golden_check(&s->g, osv_step_open(&step, s->g.ops, s->g.comm, &s->g.model, batch, &s->training.on));
    osv_real *device = o->alloc(o, v->bytes + dv->bytes), *device_dv = device + v->bytes / sizeof *device;
    o->copy(o, device, v->data, v->bytes, OSV_TO_DEVICE);
    osv_prefix(step);
    osv_forward(step, device);
    o->copy(o, step->buffer.w, weights->data, weights->bytes, OSV_TO_DEVICE);
    osv_backward(step, device, device_dv);
    o->copy(o, got, device_dv, dv->bytes, OSV_TO_HOST);
    o->sync(o, 0);
    o->free(o, device);
    golden_check(&s->g, osv_ops_status(o));
    cr_expect(memcmp(got, dv->data, dv->bytes) == 0, "dv is not that of the engine");
    osv_step_close(step);
    osv_batch_free(batch);
}

static void check_all(const char *model, golden_opener *open, osv_switches on, const char *dir)
{
    subject s;
    open_subject(&s, model, open, on);
    written w = dump_of(&s, dir);
    check_shapes(&s, &w);
    check_rows(&w);
    check_entrance(&s, &w);
    check_objective(&w);
    check_dv(&s, &w);
    close_written(&w);
    golden_close(&s.g);
}

Test(dump, fits_together, .init = temp_open, .fini = temp_close)
{
    for (int m = 0; m < MODELS; m++) check_all(models[m], open_cpu, osv_all_on, temp_path(models[m]));
}

Test(dump, fits_together_on_cuda, .init = temp_open, .fini = temp_close)
{
    for (int m = 0; m < MODELS; m++) check_all(models[m], osv_emu_open, osv_all_on, temp_path(models[m]));
}

Test(dump, fits_together_with_switches_off, .init = temp_open, .fini = temp_close)
{
    osv_switches wide = osv_all_on, thawed = osv_all_on;
    wide.narrow_last = false;
    thawed.freeze = false;
    check_all("llama-tiny", open_cpu, wide, temp_path("wide"));
    check_all("gemma2-f16", open_cpu, thawed, temp_path("thawed"));
}

/* Tensor by tensor. */
static void check_against_ref(const char *model, golden_opener *open, const char *backend)
{
    golden_opener *const opener[] = {osv_ref_open, open};
    const char *const name[] = {"ref", backend};
    subject s[2];
    written w[2];
    for (int k = 0; k < 2; k++) {
        char folder[64];
        snprintf(folder, sizeof folder, "%s.%s.%d", model, backend, k);
        open_subject(&s[k], model, opener[k], osv_all_on);
        w[k] = dump_of(&s[k], temp_path(folder));
        cr_assert_str_eq(json_string_value(at(w[k].rows, "backend", NULL, -1)), name[k]);
    }
    int count = osv_safetensors_count(w[0].tensors);
    cr_assert_eq(count, osv_safetensors_count(w[1].tensors));
    for (int i = 0; i < count; i++) {
        const osv_tensor *a = osv_safetensors_at(w[0].tensors, i), *b = osv_safetensors_at(w[1].tensors, i);
        cr_assert_str_eq(a->name, b->name);
        cr_assert_eq(a->bytes, b->bytes);
        double error = distance(b->data, a->data, a->bytes / sizeof(float));
        cr_expect(error <= 1e-5, "%s, %s: %s differs from ref by %.3g", model, a->name, backend, error);
    }
    for (int k = 0; k < 2; k++) {
        close_written(&w[k]);
        golden_close(&s[k].g);
    }
}

Test(dump, against_ref, .init = temp_open, .fini = temp_close)
{
    for (int m = 0; m < MODELS; m++) {
        check_against_ref(models[m], open_cpu, "cpu");
        check_against_ref(models[m], osv_emu_open, "cuda");
    }
}

/* In a memory that cannot keep all of a bin for its reverse pass: the same bytes. */
Test(dump, recomputing, .init = temp_open, .fini = temp_close)
{
    subject s;
    osv_bin_size least, size;
    bool fits;
    const int job[JOBS] = {0, 1};
    open_subject(&s, "llama-tiny", open_cpu, osv_all_on);
    golden_check(&s.g, osv_pack_measure(&least, &fits, &s.training, job, JOBS, 0));
    written kept = dump_of(&s, temp_path("kept"));
    s.training.memory = least.bytes - 1;
    golden_check(&s.g, osv_pack_measure(&size, &fits, &s.training, job, JOBS, s.training.memory));
    cr_assert(fits && size.recompute > 0);
    written again = dump_of(&s, temp_path("again"));
    cr_expect_eq(osv_safetensors_count(again.tensors), osv_safetensors_count(kept.tensors));
    for (int i = 0; i < osv_safetensors_count(kept.tensors); i++) {
        const osv_tensor *a = osv_safetensors_at(kept.tensors, i), *b = osv_safetensors_at(again.tensors, i);
        cr_expect(a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0, "%s", a->name);
    }
    close_written(&kept);
    close_written(&again);
    golden_close(&s.g);
}

Test(dump, vectors_are_those_of_iteration_0, .init = temp_open, .fini = temp_close)
{
    subject s;
    float init[GOLDEN_D], start[GOLDEN_D];
    open_subject(&s, "llama-tiny", open_cpu, osv_all_on);
    int D = s.g.model.config.D;
    for (int i = 0; i < D; i++) init[i] = (float)i - 7;
    s.job[1].options.init = init;
    s.job[0].options.seed = 3;
    s.job[0].options.init_norm = 2;
    written w = dump_of(&s, temp_path("d"));
    osv_job_start(start, &s.job[0], D);
    cr_expect(memcmp(row_of(&w, "v", -1, 0), start, (size_t)D * sizeof *start) == 0);
    cr_expect(memcmp(row_of(&w, "v", -1, 1), init, (size_t)D * sizeof *init) == 0);
    close_written(&w);
    golden_close(&s.g);
}

Test(dump, refusals, .init = temp_open, .fini = temp_close)
{
    subject s;
    osv_dump_size size;
    osv_error e = {0};
    osv_switches alone = osv_all_on;
    alone.share = false;
    const char *dir = temp_path("d");
    check_failure("a file", osv_dump_check(temp_text("file", ""), true, &e), &e, OSV_USAGE, "is a file");
    open_subject(&s, "llama-tiny", open_cpu, osv_all_on);
    golden_check(&s.g, osv_dump_check(dir, false, &s.g.error));
    golden_check(&s.g, osv_dump(&s.training, dir, false, "a model", &size));
    golden_check(&s.g, osv_dump(&s.training, dir, true, "a model", &size));
    check_failure("a dump", osv_dump(&s.training, dir, false, "a model", &size), &s.g.error, OSV_USAGE,
                  "holds a dump already");
    golden_close(&s.g);
    open_subject(&s, "llama-tiny", open_cpu, alone);
    check_failure("no sharing", osv_dump(&s.training, temp_path("alone"), false, "a model", &size),
                  &s.g.error, OSV_USAGE, "share their rows");
    cr_expect(access(temp_path("alone"), F_OK) != 0, "nothing is left of it");
    golden_close(&s.g);
}
