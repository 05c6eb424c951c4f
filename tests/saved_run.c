/* The file of a checkpoint: every bit comes back, and what is broken is refused. */
#include "optim/saved_run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>

#include "files.h"
#include "loader/file.h"

enum { JOBS = 4, D = 3, N = 5, VALUES = OSV_STATE_ROWS * D };

/* The last one comes after the first two. */
static const int before[] = {0, 1};
static const osv_job jobs[JOBS] = {{.completions = 2},
                                   {.completions = 1},
                                   {.completions = 3},
                                   {.completions = 1, .befores = 2, .before = before}};
static const osv_saved_shape shape = {jobs, JOBS, D, N};

/* A NaN with a payload of its own, as hardware may make it. */
static double odd_nan(void)
{
    const uint64_t bits = 0xfff80000deadbeef;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

typedef struct {
    osv_saved_run saved;
    osv_job_state state[JOBS];
    osv_outcome outcome[JOBS];
    float vector[JOBS][VALUES];
    double losses[JOBS][3], bounds[JOBS][3];
    osv_multiplier multiplier[JOBS][3];
    int in_bin[2];
    osv_job_stage stage[JOBS];
} sample;

/* Job 0 has ended and is gone, job 2 has ended with NaN and rests, job 1 runs, job 3 has not begun. */
static void make_sample(sample *s)
{
    memset(s, 0, sizeof *s);
    for (int j = 0; j < JOBS; j++) {
        for (int i = 0; i < VALUES; i++) s->vector[j][i] = (float)(0.1 * i - j);
        for (int c = 0; c < 3; c++) {
            s->losses[j][c] = 1.0 / (3 + c + j);
            s->bounds[j][c] = 0.1 * c - j;
            s->multiplier[j][c] =
                (osv_multiplier){.lambda = 0.1f * (float)j, .slack = NAN, .slack_u = (float)c};
        }
    }
    s->vector[1][2] = INFINITY;
    s->vector[1][4] = -0.0f;
    s->losses[2][1] = -INFINITY;
    s->in_bin[0] = 2;
    s->in_bin[1] = 1;
    s->stage[0] = s->stage[2] = OSV_JOB_ENDED;
    s->stage[1] = OSV_JOB_BEGUN;
    s->state[2] = (osv_job_state){.steps = 9,
                                  .stop = {.met = 0, .flat = 1, .last = 0.1},
                                  .stopped = OSV_STOP_NAN,
                                  .stopped_at = -3,
                                  .iter = 5,
                                  .loss = odd_nan(),
                                  .norm = 5e-324};
    s->state[1] =
        (osv_job_state){.steps = 9, .stop = {.met = 2, .last = INFINITY}, .iter = 8, .loss = 0.1, .norm = 1};
    s->outcome[0] = (osv_outcome){
        .stopped = OSV_STOP_TARGET, .iterations = 3, .nan_iter = -1, .loss_start = 7, .loss = 2};
    s->outcome[1] = (osv_outcome){.nan_iter = -1, .loss_start = 1e308};
    s->outcome[2] = (osv_outcome){.stopped = OSV_STOP_NAN, .iterations = 5, .nan_iter = 6, .loss = odd_nan()};
    for (int j = 0; j < JOBS; j++) {
        s->state[j].vector = s->vector[j];
        s->state[j].losses = s->losses[j];
        s->state[j].bound = s->bounds[j];
        s->state[j].multiplier = s->multiplier[j];
        if (s->outcome[j].stopped != OSV_RUNNING) s->outcome[j].losses = s->losses[j];
    }
    s->saved = (osv_saved_run){.state = {.iterations = 20,
                                         .memory = (size_t)1 << 40,
                                         .stage = s->stage,
                                         .jobs = 2,
                                         .job = s->in_bin,
                                         .state = s->state,
                                         .recompute = 4,
                                         .submitted = 6},
                               .outcome = s->outcome,
                               .trace_bytes = 1LL << 33};
}

static const char *write_sample(void)
{
    static sample s;
    osv_error e = {0};
    const char *path = temp_path("checkpoint.safetensors");
    make_sample(&s);
    cr_assert_eq(osv_saved_run_write(path, &s.saved, &shape, &e), OSV_OK, "%s", e.text);
    return path;
}

static void expect_bits(const char *what, const void *a, const void *b, size_t bytes)
{
    cr_expect(memcmp(a, b, bytes) == 0, "%s did not come back", what);
}

Test(saved_run, every_bit_comes_back, .init = temp_open, .fini = temp_close)
{
    static sample s;
    osv_saved_run back;
    osv_error e = {0};
    make_sample(&s);
    cr_assert_eq(osv_saved_run_read(&back, write_sample(), &shape, &e), OSV_OK, "%s", e.text);
    const osv_training_state *a = &s.saved.state, *b = &back.state;
    cr_expect(back.trace_bytes == s.saved.trace_bytes && a->memory == b->memory &&
              a->iterations == b->iterations);
    cr_expect(a->recompute == b->recompute && a->submitted == b->submitted);
    for (int j = 0; j < JOBS; j++) cr_expect_eq(a->stage[j], b->stage[j]);
    cr_assert(b->jobs == 2 && b->job[0] == 2 && b->job[1] == 1);
    for (int i = 0; i < 2; i++) {
        const osv_job_state *x = &s.state[s.in_bin[i]], *y = &b->state[s.in_bin[i]];
        cr_expect(x->steps == y->steps && x->stop.met == y->stop.met && x->stop.flat == y->stop.flat);
        cr_expect(x->stopped == y->stopped && x->stopped_at == y->stopped_at && x->iter == y->iter);
        expect_bits("last", &x->stop.last, &y->stop.last, sizeof(double));
        expect_bits("loss", &x->loss, &y->loss, sizeof(double));
        expect_bits("norm", &x->norm, &y->norm, sizeof(double));
        expect_bits("losses", x->losses, y->losses, (size_t)jobs[s.in_bin[i]].completions * sizeof(double));
        expect_bits("bounds", x->bound, y->bound, (size_t)jobs[s.in_bin[i]].completions * sizeof(double));
        expect_bits("multipliers", x->multiplier, y->multiplier,
                    (size_t)jobs[s.in_bin[i]].completions * sizeof *x->multiplier);
        expect_bits("vectors and moments", x->vector, y->vector, VALUES * sizeof(float));
        cr_expect(y->m == y->vector + OSV_HISTORY * D && y->s == y->m + D);
    }
    for (int j = 0; j < 3; j++) {
        const osv_outcome *x = &s.outcome[j], *y = &back.outcome[j];
        cr_expect(x->stopped == y->stopped && x->iterations == y->iterations && x->nan_iter == y->nan_iter);
        expect_bits("loss_start", &x->loss_start, &y->loss_start, sizeof(double));
        expect_bits("loss", &x->loss, &y->loss, sizeof(double));
        cr_assert((x->losses == NULL) == (y->losses == NULL));
        if (x->losses)
            expect_bits("losses", x->losses, y->losses, (size_t)jobs[j].completions * sizeof(double));
    }
    osv_saved_run_free(&back, &shape);
}

static char *sample_bytes(size_t *bytes)
{
    osv_error e = {0};
    char *text;
    cr_assert_eq(osv_file_read(&text, bytes, write_sample(), 1 << 20, &e), OSV_OK);
    return text;
}

/* To add a case: a piece of the header, what stands there instead (as long), what is said. */
static const struct {
    const char *was, *is, *piece;
} edits[] = {
    {"osv-checkpoint/2", "osv-checkpoint/3", "format \"osv-checkpoint/3\" is not known"},
    {"\"format\"", "\"farmat\"", "format \"\" is not known"},
    {"\"job.stage\"", "\"job.stale\"", "tensor \"job.stage\" is missing"},
    {"\"jobs\":\"4\"", "\"jobs\":\"5\"", "saved by another run"},
    {"\"recompute\":\"4\"", "\"recompute\":\"6\"", "do not fit together"},
    {"\"iterations\":\"20\"", "\"iterations\":\"05\"", "do not fit together"},
    {"\"trace_bytes\"", "\"trade_bytes\"", "\"trace_bytes\" is not a number"},
    {"\"state.1\"", "\"state.7\"", "tensor \"state.1\" is missing"},
    {"\"bin.job\"", "\"bin.jab\"", "\"bin.job\" is wrong"},
    {"\"bin.loss\"", "\"bin.boss\"", "tensor \"bin.loss\" is missing"},
    {"\"shape\":[7,3]", "\"shape\":[3,7]", "has not the dtype or the shape"},
    {"\"I32\"", "\"U32\"", "has not the dtype or the shape"},
};

/* In memory it is the same file. */
Test(saved_run, packed, .init = temp_open, .fini = temp_close)
{
    static sample s;
    osv_error e = {0};
    osv_packed packed;
    char *text;
    size_t bytes;
    make_sample(&s);
    cr_assert_eq(osv_saved_run_pack(&packed, "it", &s.saved, &shape, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_file_read(&text, &bytes, write_sample(), 1 << 20, &e), OSV_OK, "%s", e.text);
    cr_expect(bytes == packed.bytes && memcmp(text, packed.data, bytes) == 0);
    free(text);
    free(packed.data);
}

Test(saved_run, edited, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        size_t bytes;
        char *text = sample_bytes(&bytes);
        char *at = memmem(text, bytes, edits[i].was, strlen(edits[i].was));
        cr_assert(at != NULL && strlen(edits[i].was) == strlen(edits[i].is), "no %s", edits[i].was);
        memcpy(at, edits[i].is, strlen(edits[i].is));
        osv_saved_run back;
        osv_error e = {0};
        int status = osv_saved_run_read(&back, temp_write("x", text, bytes), &shape, &e);
        check_failure(edits[i].is, status, &e, OSV_BAD_INPUT, edits[i].piece);
        free(text);
    }
}

Test(saved_run, of_another_model, .init = temp_open, .fini = temp_close)
{
    osv_saved_run back;
    osv_error e = {0};
    osv_saved_shape other = shape;
    other.D = D + 1;
    check_failure("width", osv_saved_run_read(&back, write_sample(), &other, &e), &e, OSV_BAD_INPUT,
                  "\"state.2\"");
    other.D = D;
    other.jobs = JOBS - 1;
    e = (osv_error){0};
    check_failure("jobs", osv_saved_run_read(&back, write_sample(), &other, &e), &e, OSV_BAD_INPUT,
                  "another run");
}

/* Numbers that would lead out of an array, or into one another's. */
Test(saved_run, numbers_that_do_not_fit, .init = temp_open, .fini = temp_close)
{
    for (int i = 0; i < 17; i++) {
        static sample s;
        osv_error e = {0};
        osv_saved_run back;
        make_sample(&s);
        switch (i) {
        case 0: s.state[1].steps = -1; break;
        case 1: s.state[1].iter = 10; break;
        case 2: s.state[1].stop.met = -5; break;
        case 3: s.state[2].stopped = 77; break;
        case 4: s.state[2].stopped = OSV_STOP_TARGET; break;
        case 5: s.state[2].stopped_at = 6; break;
        case 6: s.state[1].stopped = OSV_STOP_INTERRUPTED; break;
        case 7: s.outcome[0].stopped = OSV_RUNNING; break;
        case 8: s.outcome[0].iterations = -1; break;
        case 9: s.outcome[2].nan_iter = -2; break;
        case 10: s.outcome[1].stopped = OSV_STOP_MAX_ITERS; break;
        case 11: s.state[1].steps = 2000000000; break;
        case 12: s.stage[1] = (osv_job_stage)3; break;
        case 13: s.stage[1] = OSV_JOB_WAITS; break; /* it is in the bin */
        case 14: s.stage[1] = OSV_JOB_ENDED; break; /* with what? */
        case 15: s.stage[0] = OSV_JOB_BEGUN; break; /* where? */
        case 16: s.stage[3] = OSV_JOB_BEGUN; break; /* before job 1 has ended */
        }
        const char *path = temp_path("x");
        cr_assert_eq(osv_saved_run_write(path, &s.saved, &shape, &e), OSV_OK, "%s", e.text);
        char row[16];
        snprintf(row, sizeof row, "case %d", i);
        check_failure(row, osv_saved_run_read(&back, path, &shape, &e), &e, OSV_BAD_INPUT,
                      "begins the run anew");
    }
}

Test(saved_run, cut_short_or_with_other_bytes, .init = temp_open, .fini = temp_close)
{
    size_t bytes;
    char *text = sample_bytes(&bytes);
    for (size_t cut = 0; cut < bytes; cut += 37) {
        osv_saved_run back;
        osv_error e = {0};
        cr_expect_eq(osv_saved_run_read(&back, temp_write("x", text, cut), &shape, &e), OSV_BAD_INPUT, "%zu",
                     cut);
    }
    unsigned random = 1;
    for (int i = 0; i < 500; i++) { /* either it still makes sense or it is refused */
        osv_saved_run back;
        osv_error e = {0};
        random = random * 1664525 + 1013904223;
        size_t at = random / 7 % bytes;
        char was = text[at];
        text[at] = (char)(random >> 24);
        int status = osv_saved_run_read(&back, temp_write("x", text, bytes), &shape, &e);
        cr_expect(status == OSV_OK || status == OSV_BAD_INPUT, "%s", e.text);
        if (!status) osv_saved_run_free(&back, &shape);
        text[at] = was;
    }
    free(text);
}
