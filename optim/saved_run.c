#include "optim/saved_run.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/safetensors.h"
#include "optim/phase.h"

static const char format[] = "osv-checkpoint/2";

/* Fields of a job's state, a tensor [jobs of the bin] each; integers are I32, the others F64. */
typedef struct {
    const char *name;
    size_t at;
} field;

#define OF_STATE(name) offsetof(osv_job_state, name)
static const field state_ints[] = {
    {"bin.steps", OF_STATE(steps)},     {"bin.met", OF_STATE(stop.met)},
    {"bin.flat", OF_STATE(stop.flat)},  {"bin.late", OF_STATE(stop.late)},
    {"bin.stopped", OF_STATE(stopped)}, {"bin.stopped_at", OF_STATE(stopped_at)},
    {"bin.iter", OF_STATE(iter)},       {"bin.second", OF_STATE(second)},
    {"bin.from", OF_STATE(from)},       {"bin.reason", OF_STATE(reason)},
};
static const field state_numbers[] = {{"bin.last", OF_STATE(stop.last)},
                                      {"bin.loss", OF_STATE(loss)},
                                      {"bin.norm", OF_STATE(norm)},
                                      {"bin.size", OF_STATE(size)},
                                      {"bin.shortest", OF_STATE(shortest)}};

/* Fields of an outcome, a tensor [jobs that have begun] each. */
#define OF_OUTCOME(name) offsetof(osv_outcome, name)
static const field outcome_ints[] = {{"job.stopped", OF_OUTCOME(stopped)},
                                     {"job.iterations", OF_OUTCOME(iterations)},
                                     {"job.nan_iter", OF_OUTCOME(nan_iter)}};
static const field outcome_numbers[] = {{"job.loss_start", OF_OUTCOME(loss_start)},
                                        {"job.loss", OF_OUTCOME(loss)},
                                        {"job.norm", OF_OUTCOME(norm)}};

_Static_assert(sizeof(osv_stop) == sizeof(int) && sizeof(osv_job_stage) == sizeof(int), "copied as an int");
_Static_assert(sizeof(int) == 4 && sizeof(osv_real) == 4, "tensors are I32 and F32");

enum {
    STATE_INTS = sizeof state_ints / sizeof *state_ints,
    STATE_NUMBERS = sizeof state_numbers / sizeof *state_numbers,
    OUTCOME_INTS = sizeof outcome_ints / sizeof *outcome_ints,
    OUTCOME_NUMBERS = sizeof outcome_numbers / sizeof *outcome_numbers,
    /* bin.job, bin.losses, bin.bounds, bin.multipliers, job.stage, job.losses */
    TENSORS = STATE_INTS + STATE_NUMBERS + OUTCOME_INTS + OUTCOME_NUMBERS + 6,
    MULTIPLIER = sizeof(osv_multiplier) / sizeof(osv_real), /* numbers */
    NAME_ROOM = 24,
    NUMBER_ROOM = 24,
    MOST = INT_MAX / 2, /* of counts that are counted on */
};

/* Integers of the metadata. */
enum { TRACE_BYTES, ITERATIONS, MEMORY, RECOMPUTE, SUBMITTED, JOBS, METADATA };
static const char *const metadata_key[METADATA] = {
    [TRACE_BYTES] = "trace_bytes", [ITERATIONS] = "iterations",    [MEMORY] = "memory",
    [RECOMPUTE] = "recompute",     [SUBMITTED] = "bin_iterations", [JOBS] = "jobs"};

/* Parameters of a job. */
static int numbers_of(const osv_saved_shape *shape, int job)
{
    return osv_job_rows(&shape->job[job]) * shape->D;
}

/* Parameters and moments of a job, which lie one after the other. */
static void name_tensor(char name[NAME_ROOM], int job)
{
    snprintf(name, NAME_ROOM, "state.%d", job);
}

/* The jobs that have begun -> job [jobs]. Returns how many. */
static int begun_jobs(int *job, const osv_training_state *s, const osv_saved_shape *shape)
{
    int n = 0;
    for (int j = 0; j < shape->jobs; j++)
        if (s->stage[j] != OSV_JOB_WAITS) job[n++] = j;
    return n;
}

static int completions_of(const int *job, int jobs, const osv_saved_shape *shape)
{
    int n = 0;
    for (int i = 0; i < jobs; i++) n += shape->job[job[i]].completions;
    return n;
}

/* ---- writing ---- */

typedef struct {
    osv_tensor_out *tensor;
    int tensors;
    char *memory; /* what they point to, as far as it had to be collected */
    size_t used;
} writer;

static void *add(writer *w, const char *name, const char *dtype, size_t element, int count)
{
    void *data = w->memory + w->used;
    w->used += ((size_t)count * element + 7) / 8 * 8;
    w->tensor[w->tensors++] =
        (osv_tensor_out){.name = name, .dtype = dtype, .rank = 1, .shape = {count}, .data = data};
    return data;
}

static void add_int(writer *w, const field *f, const osv_training_state *s)
{
    int *out = add(w, f->name, "I32", sizeof *out, s->jobs);
    for (int i = 0; i < s->jobs; i++)
        memcpy(&out[i], (const char *)&s->state[s->job[i]] + f->at, sizeof *out);
}

static void add_number(writer *w, const field *f, const osv_training_state *s)
{
    double *out = add(w, f->name, "F64", sizeof *out, s->jobs);
    for (int i = 0; i < s->jobs; i++)
        memcpy(&out[i], (const char *)&s->state[s->job[i]] + f->at, sizeof *out);
}

static void add_bin(writer *w, const osv_training_state *s, const osv_saved_shape *shape,
                    char (*name)[NAME_ROOM])
{
    int *job = add(w, "bin.job", "I32", sizeof *job, s->jobs);
    for (int i = 0; i < s->jobs; i++) job[i] = s->job[i];
    for (int k = 0; k < STATE_INTS; k++) add_int(w, &state_ints[k], s);
    for (int k = 0; k < STATE_NUMBERS; k++) add_number(w, &state_numbers[k], s);
    int completions = completions_of(s->job, s->jobs, shape);
    double *losses = add(w, "bin.losses", "F64", sizeof *losses, completions);
    double *bounds = add(w, "bin.bounds", "F64", sizeof *bounds, completions);
    osv_multiplier *multipliers =
        add(w, "bin.multipliers", "F32", sizeof(osv_real), MULTIPLIER * completions);
    for (int i = 0; i < s->jobs; i++) {
        int job = s->job[i], n = shape->job[job].completions;
        memcpy(losses, s->state[job].losses, (size_t)n * sizeof *losses);
        memcpy(multipliers, s->state[job].multiplier, (size_t)n * sizeof *multipliers);
        memcpy(bounds, s->state[job].bound, (size_t)n * sizeof *bounds);
        losses += n;
        bounds += n;
        multipliers += n;
        name_tensor(name[i], job);
        w->tensor[w->tensors++] = (osv_tensor_out){.name = name[i],
                                                   .dtype = "F32",
                                                   .rank = 2,
                                                   .shape = {OSV_STATE_ROWS, numbers_of(shape, job)},
                                                   .data = s->state[job].vector};
    }
}

/* job [jobs]: those that have begun */
static void add_outcomes(writer *w, const osv_saved_run *saved, const osv_saved_shape *shape, const int *job,
                         int jobs)
{
    memcpy(add(w, "job.stage", "I32", sizeof(int), shape->jobs), saved->state.stage,
           (size_t)shape->jobs * sizeof(int));
    for (int k = 0; k < OUTCOME_INTS; k++) {
        int *out = add(w, outcome_ints[k].name, "I32", sizeof *out, jobs);
        for (int i = 0; i < jobs; i++)
            memcpy(&out[i], (const char *)&saved->outcome[job[i]] + outcome_ints[k].at, sizeof *out);
    }
    for (int k = 0; k < OUTCOME_NUMBERS; k++) {
        double *out = add(w, outcome_numbers[k].name, "F64", sizeof *out, jobs);
        for (int i = 0; i < jobs; i++)
            memcpy(&out[i], (const char *)&saved->outcome[job[i]] + outcome_numbers[k].at, sizeof *out);
    }
    double *losses = add(w, "job.losses", "F64", sizeof *losses, completions_of(job, jobs, shape));
    for (int i = 0; i < jobs; i++) {
        size_t n = (size_t)shape->job[job[i]].completions;
        const double *from = saved->outcome[job[i]].losses;
        if (from) memcpy(losses, from, n * sizeof *losses);
        losses += n;
    }
}

/* To `path`, or, if `packed` is given, into memory. */
static int put(osv_packed *packed, const char *path, const osv_saved_run *saved, const osv_saved_shape *shape,
               osv_error *e)
{
    const osv_training_state *s = &saved->state;
    int *job = calloc((size_t)shape->jobs + 1, sizeof *job);
    if (!job) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for it", path);
    int begun = begun_jobs(job, s, shape);
    size_t bin = (size_t)s->jobs, numbers;
    numbers = bin * (STATE_INTS + STATE_NUMBERS + 1) + (size_t)begun * (OUTCOME_INTS + OUTCOME_NUMBERS) +
              (2 + MULTIPLIER) * (size_t)completions_of(s->job, s->jobs, shape) +
              (size_t)completions_of(job, begun, shape) + (size_t)shape->jobs + TENSORS;
    writer w = {.tensor = calloc(TENSORS + bin, sizeof *w.tensor), .memory = calloc(numbers, sizeof(double))};
    char(*name)[NAME_ROOM] = calloc(bin + 1, sizeof *name);
    const long long value[METADATA] = {
        [TRACE_BYTES] = saved->trace_bytes, [ITERATIONS] = s->iterations, [MEMORY] = (long long)s->memory,
        [RECOMPUTE] = s->recompute,         [SUBMITTED] = s->submitted,   [JOBS] = shape->jobs};
    char text[METADATA][NUMBER_ROOM];
    osv_metadata metadata[METADATA + 1] = {{"format", format}};
    for (int k = 0; k < METADATA; k++) {
        snprintf(text[k], sizeof text[k], "%lld", value[k]);
        metadata[k + 1] = (osv_metadata){metadata_key[k], text[k]};
    }
    int status = w.tensor && w.memory && name ? OSV_OK
                                              : OSV_FAIL(e, OSV_DEVICE, "%s: no memory for it", path);
    if (!status) {
        add_bin(&w, s, shape, name);
        add_outcomes(&w, saved, shape, job, begun);
        status = packed ? osv_safetensors_pack(packed, path, w.tensor, w.tensors, metadata, METADATA + 1, e)
                        : osv_safetensors_write(path, w.tensor, w.tensors, metadata, METADATA + 1, e);
    }
    free(job);
    free(w.tensor);
    free(w.memory);
    free(name);
    return status;
}

int osv_saved_run_write(const char *path, const osv_saved_run *saved, const osv_saved_shape *shape,
                        osv_error *e)
{
    return put(NULL, path, saved, shape, e);
}

int osv_saved_run_pack(osv_packed *packed, const char *path, const osv_saved_run *saved,
                       const osv_saved_shape *shape, osv_error *e)
{
    return put(packed, path, saved, shape, e);
}

/* ---- reading ---- */

typedef struct {
    const osv_safetensors *file;
    const char *path;
    osv_saved_run *saved;
    const osv_saved_shape *shape;
    osv_error *e;
} reader;

static int broken(const reader *r, const char *what)
{
    return OSV_FAIL(r->e, OSV_BAD_INPUT,
                    "%s: %s; it cannot be gone on from: without this file --resume begins the run anew",
                    r->path, what);
}

static int other_run(const reader *r, const char *what)
{
    return OSV_FAIL(r->e, OSV_BAD_INPUT, "%s: %s; it was saved by another run", r->path, what);
}

/* Copies the tensor, which must have this dtype and shape; rank 1 where columns is 0. */
static int get(const reader *r, const char *name, const char *dtype, size_t element, int rows, int columns,
               void *out)
{
    char what[128];
    const osv_tensor *t = osv_safetensors_find(r->file, name);
    size_t bytes = (size_t)rows * (size_t)(columns ? columns : 1) * element;
    if (t && strcmp(t->dtype, dtype) == 0 && t->rank == (columns ? 2 : 1) && t->shape[0] == rows &&
        (!columns || t->shape[1] == columns) && t->bytes == bytes) {
        if (bytes) memcpy(out, t->data, bytes);
        return OSV_OK;
    }
    snprintf(what, sizeof what, "tensor \"%s\" %s", name,
             t ? "has not the dtype or the shape that it should have" : "is missing");
    return broken(r, what);
}

static int get_metadata(const reader *r, long long *value)
{
    const char *made = osv_safetensors_metadata(r->file, "format");
    if (!made || strcmp(made, format) != 0)
        return OSV_FAIL(r->e, OSV_BAD_INPUT, "%s: format \"%.40s\" is not known; expected %s", r->path,
                        made ? made : "", format);
    for (int k = 0; k < METADATA; k++) {
        const char *text = osv_safetensors_metadata(r->file, metadata_key[k]);
        size_t length = text ? strlen(text) : 0;
        if (length < 1 || length > 18 || strspn(text, "0123456789") != length) {
            char what[64];
            snprintf(what, sizeof what, "\"%s\" is not a number", metadata_key[k]);
            return broken(r, what);
        }
        value[k] = strtoll(text, NULL, 10);
    }
    return OSV_OK;
}

static int get_numbers(const reader *r)
{
    osv_training_state *s = &r->saved->state;
    long long value[METADATA];
    OSV_TRY(get_metadata(r, value));
    if (value[JOBS] != r->shape->jobs) return other_run(r, "has another number of jobs");
    if (value[RECOMPUTE] > r->shape->N || value[ITERATIONS] > MOST || value[SUBMITTED] > value[ITERATIONS])
        return broken(r, "its numbers do not fit together");
    r->saved->trace_bytes = value[TRACE_BYTES];
    s->iterations = (int)value[ITERATIONS];
    s->memory = (size_t)value[MEMORY];
    s->recompute = (int)value[RECOMPUTE];
    s->submitted = (int)value[SUBMITTED];
    return OSV_OK;
}

/* One value of each of `count` things, which begin at `base` and are `step` bytes long, `index` of them. */
static int scatter(const reader *r, const field *f, const char *dtype, size_t element, int count, char *base,
                   size_t step, const int *index)
{
    char *values = malloc((size_t)count * element + 1);
    if (!values) return OSV_FAIL(r->e, OSV_DEVICE, "%s: no memory for it", r->path);
    int status = get(r, f->name, dtype, element, count, 0, values);
    for (int i = 0; i < count && !status; i++)
        memcpy(base + (size_t)(index ? index[i] : i) * step + f->at, values + (size_t)i * element, element);
    free(values);
    return status;
}

/* How far each job has come; none has begun before those that it comes after have ended. */
static int get_stages(const reader *r)
{
    osv_job_stage *stage = r->saved->state.stage;
    OSV_TRY(get(r, "job.stage", "I32", sizeof *stage, r->shape->jobs, 0, stage));
    for (int j = 0; j < r->shape->jobs; j++) {
        const osv_job *job = &r->shape->job[j];
        bool sane = (int)stage[j] >= 0 && stage[j] <= OSV_JOB_ENDED;
        for (int i = 0; i < job->befores && stage[j] != OSV_JOB_WAITS; i++)
            sane &= stage[job->before[i]] == OSV_JOB_ENDED;
        if (!sane) return broken(r, "tensor \"job.stage\" is wrong");
    }
    return OSV_OK;
}

/* Numbers of jobs that have begun, none twice. */
static int get_jobs(const reader *r)
{
    osv_training_state *s = &r->saved->state;
    const osv_tensor *t = osv_safetensors_find(r->file, "bin.job");
    if (!t || t->rank != 1 || t->shape[0] > r->shape->jobs) return broken(r, "tensor \"bin.job\" is wrong");
    int count = (int)t->shape[0];
    OSV_TRY(get(r, "bin.job", "I32", sizeof *s->job, count, 0, s->job));
    for (int i = 0; i < count; i++) {
        int job = s->job[i];
        if (job < 0 || job >= r->shape->jobs || s->stage[job] == OSV_JOB_WAITS || s->state[job].vector)
            return broken(r, "the jobs of its bin are wrong");
        OSV_TRY(osv_job_state_open(&s->state[job], (size_t)numbers_of(r->shape, job),
                                   r->shape->job[job].completions, r->e));
        s->jobs++; /* from here osv_saved_run_free knows it */
    }
    return OSV_OK;
}

static int get_bin(const reader *r)
{
    osv_training_state *s = &r->saved->state;
    OSV_TRY(get_jobs(r));
    for (int k = 0; k < STATE_INTS; k++)
        OSV_TRY(scatter(r, &state_ints[k], "I32", 4, s->jobs, (char *)s->state, sizeof *s->state, s->job));
    for (int k = 0; k < STATE_NUMBERS; k++)
        OSV_TRY(scatter(r, &state_numbers[k], "F64", 8, s->jobs, (char *)s->state, sizeof *s->state, s->job));
    int completions = completions_of(s->job, s->jobs, r->shape);
    double *losses = malloc(2 * (size_t)completions * sizeof *losses + 1), *bounds = losses + completions;
    osv_multiplier *multipliers = malloc((size_t)completions * sizeof *multipliers + 1);
    int status = losses && multipliers ? OSV_OK : OSV_FAIL(r->e, OSV_DEVICE, "%s: no memory for it", r->path);
    if (!status) status = get(r, "bin.losses", "F64", sizeof *losses, completions, 0, losses);
    if (!status) status = get(r, "bin.bounds", "F64", sizeof *bounds, completions, 0, bounds);
    if (!status)
        status = get(r, "bin.multipliers", "F32", sizeof(osv_real), MULTIPLIER * completions, 0, multipliers);
    for (int i = 0, c = 0; i < s->jobs && !status; i++) {
        int job = s->job[i], n = r->shape->job[job].completions;
        char name[NAME_ROOM];
        name_tensor(name, job);
        memcpy(s->state[job].losses, losses + c, (size_t)n * sizeof *losses);
        memcpy(s->state[job].bound, bounds + c, (size_t)n * sizeof *bounds);
        memcpy(s->state[job].multiplier, multipliers + c, (size_t)n * sizeof *multipliers);
        status = get(r, name, "F32", sizeof(osv_real), OSV_STATE_ROWS, numbers_of(r->shape, job),
                     s->state[job].vector);
        c += n;
    }
    free(losses);
    free(multipliers);
    return status;
}

/* Of the jobs that have begun, job [jobs]. */
static int get_outcomes_of(const reader *r, const int *job, int jobs)
{
    osv_outcome *out = r->saved->outcome;
    int completions = completions_of(job, jobs, r->shape);
    for (int k = 0; k < OUTCOME_INTS; k++)
        OSV_TRY(scatter(r, &outcome_ints[k], "I32", 4, jobs, (char *)out, sizeof *out, job));
    for (int k = 0; k < OUTCOME_NUMBERS; k++)
        OSV_TRY(scatter(r, &outcome_numbers[k], "F64", 8, jobs, (char *)out, sizeof *out, job));
    double *losses = malloc((size_t)completions * sizeof *losses + 1);
    if (!losses) return OSV_FAIL(r->e, OSV_DEVICE, "%s: no memory for it", r->path);
    int status = get(r, "job.losses", "F64", sizeof *losses, completions, 0, losses);
    for (int i = 0, c = 0; i < jobs && !status; i++) {
        size_t n = (size_t)r->shape->job[job[i]].completions;
        if (r->saved->state.stage[job[i]] == OSV_JOB_ENDED) {
            double *own = out[job[i]].losses = malloc(n * sizeof *losses + 1);
            if (!own)
                status = OSV_FAIL(r->e, OSV_DEVICE, "%s: no memory for it", r->path);
            else
                memcpy(own, losses + c, n * sizeof *losses);
        }
        c += (int)n;
    }
    free(losses);
    return status;
}

static int get_outcomes(const reader *r)
{
    int *job = calloc((size_t)r->shape->jobs + 1, sizeof *job);
    if (!job) return OSV_FAIL(r->e, OSV_DEVICE, "%s: no memory for it", r->path);
    int status = get_outcomes_of(r, job, begun_jobs(job, &r->saved->state, r->shape));
    free(job);
    return status;
}

static bool is_stop(int stopped)
{
    return stopped >= OSV_RUNNING &&
           stopped < OSV_STOP_INTERRUPTED; /* it is saved before jobs are interrupted */
}

static bool count_is_sane(int n)
{
    return n >= 0 && n <= MOST;
}

/* Every job that has begun is in the bin or has ended; in the bin both parts tell the same. */
static int check(const reader *r)
{
    const osv_training_state *s = &r->saved->state;
    for (int i = 0; i < s->jobs; i++) {
        const osv_job_state *j = &s->state[s->job[i]];
        bool counts = count_is_sane(j->steps) && count_is_sane(j->stop.met) && count_is_sane(j->stop.flat) &&
                      count_is_sane(j->iter) && j->iter <= j->steps && count_is_sane(j->from) &&
                      j->from <= j->iter;
        const osv_job *job = &r->shape->job[s->job[i]];
        bool ended = j->stopped != OSV_RUNNING;
        osv_stop told = osv_phase_follows(job, j) ? OSV_RUNNING : ended && j->second ? j->reason : j->stopped;
        bool phases = j->second == 0 || (j->second == 1 && job->options.min_norm_iters > 0);
        if (!counts || !phases || !is_stop((int)j->stopped) || !is_stop((int)j->reason) ||
            told != r->saved->outcome[s->job[i]].stopped ||
            (ended && (j->stopped_at >= s->submitted || j->stopped_at < -MOST)))
            return broken(r, "what it says about the jobs of its bin does not fit together");
    }
    for (int j = 0; j < r->shape->jobs; j++) {
        const osv_outcome *out = &r->saved->outcome[j];
        bool in_bin = s->state[j].vector != NULL, ended = out->stopped != OSV_RUNNING;
        if (!is_stop((int)out->stopped) || ended != (s->stage[j] == OSV_JOB_ENDED) ||
            (s->stage[j] == OSV_JOB_BEGUN && !in_bin) || !count_is_sane(out->iterations) ||
            out->nan_iter < -1 || out->nan_iter > MOST)
            return broken(r, "what it says about the jobs does not fit together");
    }
    return OSV_OK;
}

int osv_saved_run_read(osv_saved_run *saved, const char *path, const osv_saved_shape *shape, osv_error *e)
{
    size_t jobs = (size_t)shape->jobs;
    osv_safetensors *file;
    *saved = (osv_saved_run){0};
    OSV_TRY(osv_safetensors_open(&file, path, e));
    const reader r = {.file = file, .path = path, .saved = saved, .shape = shape, .e = e};
    saved->state.job = calloc(jobs + 1, sizeof *saved->state.job);
    saved->state.state = calloc(jobs + 1, sizeof *saved->state.state);
    saved->state.stage = calloc(jobs + 1, sizeof *saved->state.stage);
    saved->outcome = calloc(jobs + 1, sizeof *saved->outcome);
    int status = saved->state.job && saved->state.state && saved->state.stage && saved->outcome
                     ? OSV_OK
                     : OSV_FAIL(e, OSV_DEVICE, "%s: no memory for it", path);
    if (!status) status = get_numbers(&r);
    if (!status) status = get_stages(&r);
    if (!status) status = get_bin(&r);
    if (!status) status = get_outcomes(&r);
    if (!status) status = check(&r);
    osv_safetensors_close(file);
    if (status) osv_saved_run_free(saved, shape);
    return status;
}

void osv_saved_run_free(osv_saved_run *saved, const osv_saved_shape *shape)
{
    for (int i = 0; i < saved->state.jobs; i++) osv_job_state_close(&saved->state.state[saved->state.job[i]]);
    for (int j = 0; saved->outcome && j < shape->jobs; j++) free(saved->outcome[j].losses);
    free(saved->state.job);
    free(saved->state.state);
    free(saved->state.stage);
    free(saved->outcome);
    *saved = (osv_saved_run){0};
}
