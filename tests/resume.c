/* A training that is ended after any iteration and goes on from what was saved makes the same reports and
 * vectors, byte for byte, as one that was left alone: with bins that are packed anew, jobs at rest, jobs that
 * wait for others, a loss that stops being a number, blocks that are computed again, and measurements that
 * come late. */
#include <criterion/criterion.h>
#include <math.h>

#include "emu/device_emu.h"
#include "files.h"
#include "loader/checkpoint.h"
#include "loader/file.h"
#include "optim/pack.h"
#include "optim/saved_run.h"

enum { JOBS = 14, MOST_COMPLETIONS = 3, IDS = 12, MOST_SAVES = 400, LOG_ROOM = 1 << 20 };

/* What a training told: every field of every report, one after the other. */
typedef struct {
    unsigned char bytes[LOG_ROOM];
    size_t used;
} log_of_reports;

typedef struct {
    osv_error error;
    osv_checkpoint *checkpoint;
    osv_model model;
    osv_ops *ops;
    osv_comm *comm;
    osv_job job[JOBS];
    osv_sequence sequence[JOBS][MOST_COMPLETIONS];
    int ids[JOBS][MOST_COMPLETIONS][IDS];
    osv_training training;
    /* the run at hand */
    log_of_reports *log;
    osv_outcome outcome[JOBS];
    osv_real *kept[JOBS];       /* vectors of those that have ended */
    int saves, interrupt_after; /* reports; < 0: never */
    bool keeps_all;             /* every save under its own name */
    volatile sig_atomic_t interrupted;
    /* of what was saved */
    bool rested, waited, began_later, computed_again, was_nan, chained, was_second;
} subject;

static void check(const subject *s, int status)
{
    cr_assert_eq(status, 0, "%s", s->error.text);
}

static osv_saved_shape shape_of(const subject *s)
{
    return (osv_saved_shape){s->job, JOBS, s->model.config.D, s->model.config.N};
}

static void put(log_of_reports *log, const void *data, size_t bytes)
{
    cr_assert_leq(log->used + bytes, (size_t)LOG_ROOM);
    if (bytes) memcpy(log->bytes + log->used, data, bytes);
    log->used += bytes;
}

static void keep(subject *s, int job, const osv_real *vector)
{
    size_t bytes = (size_t)s->model.config.D * sizeof *vector;
    s->kept[job] = memcpy(malloc(bytes), vector, bytes);
}

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    subject *s = context;
    osv_outcome *out = &s->outcome[r->job];
    const int ints[] = {r->phase, r->job, r->iter, r->completions, (int)r->stopped, r->nan_iter};
    const double numbers[] = {r->loss, r->norm, r->grad_norm};
    (void)e;
    cr_assert_eq(out->stopped, OSV_RUNNING, "job %d ended twice", r->job);
    put(s->log, ints, sizeof ints);
    put(s->log, numbers, sizeof numbers);
    put(s->log, r->losses, (size_t)r->completions * sizeof *r->losses);
    if (r->vector) put(s->log, r->vector, (size_t)r->D * sizeof *r->vector);
    if (r->iter == 0) out->loss_start = r->loss;
    if (s->interrupt_after >= 0 && s->interrupt_after-- == 0) s->interrupted = 1;
    if (r->stopped == OSV_RUNNING) return OSV_OK;
    out->stopped = r->stopped;
    out->iterations = r->iter;
    out->nan_iter = r->nan_iter;
    out->loss = r->loss;
    out->norm = r->norm;
    out->losses = malloc((size_t)r->completions * sizeof *out->losses);
    memcpy(out->losses, r->losses, (size_t)r->completions * sizeof *out->losses);
    keep(s, r->job, r->vector);
    return OSV_OK;
}

static const char *file_of(int save)
{
    char name[32];
    snprintf(name, sizeof name, "%d.safetensors", save);
    return temp_path(name);
}

static int on_save(void *context, const osv_training_state *state, osv_error *e)
{
    subject *s = context;
    const osv_saved_run saved = {
        .state = *state, .outcome = s->outcome, .trace_bytes = (long long)s->log->used};
    const osv_saved_shape shape = shape_of(s);
    for (int j = 0; j < JOBS; j++) s->waited |= state->stage[j] == OSV_JOB_WAITS;
    s->began_later |= state->iterations > state->submitted && state->jobs > 0;
    s->computed_again |= state->recompute > 0;
    s->chained |= state->stage[3] == OSV_JOB_ENDED && state->stage[10] == OSV_JOB_BEGUN;
    for (int i = 0; i < state->jobs; i++) {
        s->rested |= state->state[state->job[i]].stopped != OSV_RUNNING;
        s->was_second |= state->state[state->job[i]].second;
        s->was_nan |= state->state[state->job[i]].stopped == OSV_STOP_NAN;
    }
    return osv_saved_run_write(file_of(s->keeps_all ? s->saves++ : 0), &saved, &shape, e);
}

/* By way of the memory. */
static int on_keep(void *context, const osv_training_state *state, osv_error *e)
{
    subject *s = context;
    const osv_saved_run saved = {
        .state = *state, .outcome = s->outcome, .trace_bytes = (long long)s->log->used};
    const osv_saved_shape shape = shape_of(s);
    osv_packed packed;
    OSV_TRY(osv_saved_run_pack(&packed, "kept", &saved, &shape, e));
    int status = osv_file_write(file_of(s->saves++), &(osv_piece){packed.data, packed.bytes}, 1, e);
    free(packed.data);
    return status;
}

/* Of all shapes and ends: the numbers of steps differ, some meet a target, one rests on a plateau, one's
 * vector overflows. */
static void make_jobs(subject *s)
{
    static osv_goal drawn[MOST_COMPLETIONS], bounded[MOST_COMPLETIONS];
    static const signed char steer[IDS] = {0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const char *const name[JOBS] = {"a", "b", "c", "d", "e", "f", "g",
                                           "h", "i", "j", "k", "l", "m", "n"};
    for (int j = 0; j < JOBS; j++) {
        int completions = 1 + j % MOST_COMPLETIONS;
        for (int c = 0; c < completions; c++) {
            for (int t = 0; t < IDS; t++) s->ids[j][c][t] = (t * 29 + j * 53 + (t > 7 ? c * 11 : 0)) % 317;
            s->sequence[j][c] = (osv_sequence){.count = 9 + j % 4,
                                               .prompt = 7,
                                               .ids = s->ids[j][c],
                                               .steer = steer,
                                               .kind = c == 1 ? OSV_ONE_MINUS : OSV_PROMOTE};
        }
        s->job[j] = (osv_job){.name = name[j],
                              .layer = j % 3,
                              .options = osv_job_defaults(),
                              .completions = completions,
                              .sequence = s->sequence[j]};
        s->job[j].options.lr = 0.05;
        s->job[j].options.max_iters = 3 + j * 5 % 11;
    }
    s->job[2].options.lr = 1e39;
    s->job[4].options.target_loss = 1000;
    s->job[4].options.target_iters = 4;
    s->job[5].options.plateau_eps = 1000;
    s->job[5].options.plateau_iters = 5;
    for (int c = 0; c < MOST_COMPLETIONS; c++) {
        drawn[c] = osv_goal_plain;
        drawn[c].sign = c % 2 ? -1 : 1;
        bounded[c] = osv_goal_plain;
        if (c == 1) bounded[c].bound = 3;
    }
    s->job[13].goal = bounded;
    s->job[1].options.min_norm_iters = s->job[9].options.min_norm_iters = 4;
    s->job[4].options.min_norm_iters = 6; /* after its target */
    s->job[11].goal = drawn;
    s->job[6].options.l1 = 0.02;
    s->job[8].options.max_norm = 1.2;
    /* 1, then 3, then 10: orthogonal to each other, while others come and go */
    static const int chain[] = {1, 3};
    s->job[3].before = s->job[10].before = chain;
    s->job[3].befores = 1;
    s->job[10].befores = 2;
    s->job[10].options.max_norm = 1.5;
    s->job[8].options.noise = 0.1;
    s->job[8].options.noise_draws = 2;
    s->job[8].options.noise_kind = OSV_NOISE_ANTI;
}

static void open_subject(subject *s, const char *backend)
{
    memset(s, 0, sizeof *s);
    temp_open();
    s->log = calloc(1, sizeof *s->log);
    if (strcmp(backend, "cpu") == 0) check(s, osv_cpu_open(&s->ops, OSV_DTYPE_F32, 2, &s->error));
    if (strcmp(backend, "emu") == 0) check(s, osv_emu_open(&s->ops, OSV_DTYPE_F32, &s->error));
    if (!s->ops) check(s, osv_ref_open(&s->ops, OSV_DTYPE_F32, &s->error));
    check(s,
          osv_checkpoint_open(&s->checkpoint, &s->model, OSV_GOLDEN "/models/llama-tiny", 0, 1, &s->error));
    check(s, osv_comm_self_open(&s->comm, &s->error));
    check(s, osv_model_place(&s->model, s->ops));
    make_jobs(s);
    s->training = (osv_training){.ops = s->ops,
                                 .comm = s->comm,
                                 .model = &s->model,
                                 .on = osv_all_on,
                                 .job = s->job,
                                 .jobs = JOBS,
                                 .observer = {s, on_report, on_save, NULL},
                                 .kept = (const osv_real *const *)s->kept,
                                 .interrupted = &s->interrupted};
    /* Room for five jobs, or for a few more if blocks are computed again. */
    static const int first[] = {0, 1, 2, 3, 4};
    osv_bin_size size;
    bool fits;
    check(s, osv_pack_measure(&size, &fits, &s->training, first, 5, 0));
    s->training.memory = size.bytes;
}

static void forget(subject *s)
{
    for (int j = 0; j < JOBS; j++) {
        free(s->outcome[j].losses);
        free(s->kept[j]);
    }
    memset(s->outcome, 0, sizeof s->outcome);
    memset(s->kept, 0, sizeof s->kept);
    s->saves = 0;
    s->interrupted = 0;
    s->interrupt_after = -1;
    s->log->used = 0;
}

static void close_subject(subject *s)
{
    forget(s);
    free(s->log);
    s->comm->close(s->comm);
    osv_model_free(&s->model);
    s->ops->close(s->ops);
    osv_checkpoint_close(s->checkpoint);
    temp_close();
}

static void expect_same(const subject *s, const log_of_reports *whole, int at)
{
    size_t n = 0;
    while (n < s->log->used && n < whole->used && s->log->bytes[n] == whole->bytes[n]) n++;
    cr_assert(s->log->used == whole->used && n == whole->used,
              "ended at %d and resumed: byte %zu of the reports differs, %zu bytes of %zu", at, n,
              s->log->used, whole->used);
}

/* Goes on from what was saved as number `save`; what was reported and kept until then comes from `whole` and
 * `kept`. */
static void go_on(subject *s, const log_of_reports *whole, osv_real *const *kept, int save)
{
    osv_saved_run saved;
    const osv_saved_shape shape = shape_of(s);
    forget(s);
    check(s, osv_saved_run_read(&saved, file_of(save), &shape, &s->error));
    put(s->log, whole->bytes, (size_t)saved.trace_bytes);
    for (int j = 0; j < JOBS; j++) {
        s->outcome[j] = saved.outcome[j];
        saved.outcome[j].losses = NULL; /* now forget() frees them */
        if (saved.state.stage[j] == OSV_JOB_ENDED) keep(s, j, kept[j]);
    }
    osv_training training = s->training;
    training.resume = &saved.state;
    training.memory = 1; /* what the bins were packed with counts */
    check(s, osv_train(&training));
    osv_saved_run_free(&saved, &shape);
}

/* Kept after every iteration: that changes nothing, and each can be gone on from. */
static void check_keeping(subject *s, const log_of_reports *whole, osv_real *const *kept, int stride)
{
    forget(s);
    s->training.observer.save = NULL;
    s->training.observer.keep = on_keep;
    check(s, osv_train(&s->training));
    s->training.observer.save = on_save;
    s->training.observer.keep = NULL;
    int saves = s->saves;
    expect_same(s, whole, -1);
    cr_assert(saves > 15 && saves <= MOST_SAVES, "%d times kept", saves);
    for (int save = 1; save < saves; save += 4 * stride) {
        go_on(s, whole, kept, save);
        expect_same(s, whole, save);
    }
    for (int save = 0; save < saves; save++) unlink(file_of(save));
}

static void check_backend(const char *backend, int stride)
{
    static subject s;
    static log_of_reports whole;
    osv_real *kept[JOBS];
    open_subject(&s, backend);
    forget(&s);
    check(&s, osv_train(&s.training));
    whole = *s.log;
    memcpy(kept, s.kept, sizeof kept);
    memset(s.kept, 0, sizeof s.kept);
    cr_assert_gt(whole.used, 1000u);

    /* Saving changes nothing. */
    forget(&s);
    s.training.save_every = 1;
    s.keeps_all = true;
    check(&s, osv_train(&s.training));
    expect_same(&s, &whole, -1);
    int saves = s.saves;
    s.training.save_every = 0;
    s.keeps_all = false;
    cr_assert(s.rested && s.waited && s.began_later && s.was_nan && s.chained, "the jobs are too simple");
    cr_assert(s.was_second, "no second phase");
    cr_assert(s.computed_again, "no block was computed again");
    cr_assert(saves > 15 && saves <= MOST_SAVES, "%d saves", saves);

    /* Killed after any of them. */
    for (int save = 0; save < saves; save += stride) {
        go_on(&s, &whole, kept, save);
        expect_same(&s, &whole, save);
    }
    for (int save = 0; save < saves; save++) unlink(file_of(save));
    check_keeping(&s, &whole, kept, stride);

    /* Interrupted while any report is made, and once more on the way. */
    for (int n = 0; n < 90; n += 4 * stride + 1) {
        forget(&s);
        s.interrupt_after = n;
        check(&s, osv_train(&s.training));
        int ended = 0, running = 0;
        for (int j = 0; j < JOBS; j++) {
            ended += s.outcome[j].stopped == OSV_STOP_INTERRUPTED;
            running += s.outcome[j].stopped == OSV_RUNNING;
        }
        cr_assert(ended > 0, "interrupted at report %d: %d jobs ended, %d have not begun", n, ended, running);
        go_on(&s, &whole, kept, 0);
        expect_same(&s, &whole, n);
    }
    for (int j = 0; j < JOBS; j++) free(kept[j]);
    close_subject(&s);
}

Test(resume, ref)
{
    check_backend("ref", 3);
}

Test(resume, cpu)
{
    check_backend("cpu", 1);
}

Test(resume, emulated_cuda)
{
    check_backend("emu", 8);
    cr_assert_gt(osv_emu_count().graph_runs, 20u, "its measurements did not come late");
}
