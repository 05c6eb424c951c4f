#include "tools/train_join.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/safetensors.h"
#include "tools/train_resume.h"
#include "tools/train_select.h"

static const char evaluation[] = "evaluation.safetensors", format[] = "osv-evaluation/1";

int train_join_prepare(const train_work *w)
{
    const train_setup *s = w->setup;
    const int64_t completions = s->jobs.completions;
    const osv_tensor_out tensor[] = {
        {.name = "before", .dtype = "F64", .rank = 1, .shape = {completions}, .data = w->before},
        {.name = "after", .dtype = "F64", .rank = 1, .shape = {completions}, .data = w->after},
    };
    const osv_metadata metadata = {"format", format};
    char *path;
    OSV_TRY(osv_path_join(&path, w->run.path, evaluation, s->error));
    int status = osv_safetensors_write(path, tensor, 2, &metadata, 1, s->error);
    free(path);
    return status;
}

int train_join_ready(bool *ready, const train_setup *s, int unit)
{
    char *folder, *path = NULL;
    OSV_TRY(osv_run_unit_path(s->options->out, unit, &folder, s->error));
    int status = osv_path_join(&path, folder, evaluation, s->error);
    if (!status) *ready = osv_path_exists(path);
    free(path);
    free(folder);
    return status;
}

/* ---- reading a unit ---- */

typedef struct {
    train_report *r;
    double *before, *after;
    int *completion; /* [jobs] where those of a job begin */
    int iterations;  /* of all units */
} joining;

static int read_numbers(double *x, const osv_safetensors *file, const char *name, int count, osv_error *e)
{
    const osv_tensor *t = osv_safetensors_find(file, name);
    if (!t || strcmp(t->dtype, "F64") != 0 || t->bytes != (size_t)count * sizeof *x)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"%s\" is not what it should be; without this file --resume makes it anew",
                        osv_safetensors_path(file), name);
    memcpy(x, t->data, t->bytes);
    return OSV_OK;
}

static int read_evaluation(const joining *g, const char *folder, const train_jobs *some, const int *job)
{
    osv_error *e = g->r->setup->error;
    int count = some->completions;
    osv_safetensors *file = NULL;
    char *path;
    OSV_TRY(osv_path_join(&path, folder, evaluation, e));
    double *x = malloc(2 * (size_t)count * sizeof *x + 1);
    int status = x ? osv_safetensors_open(&file, path, e) : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (!status) status = read_numbers(x, file, "before", count, e);
    if (!status) status = read_numbers(x + count, file, "after", count, e);
    for (int i = 0, c = 0; i < some->jobs && !status; i++) {
        size_t n = (size_t)some->job[i].completions;
        memcpy(g->before + g->completion[job[i]], x + c, n * sizeof *x);
        memcpy(g->after + g->completion[job[i]], x + count + c, n * sizeof *x);
        c += some->job[i].completions;
    }
    if (file) osv_safetensors_close(file);
    free(x);
    free(path);
    return status;
}

static int read_outcomes(joining *g, const char *folder, const train_jobs *some, const int *job)
{
    const train_setup *s = g->r->setup;
    const osv_saved_shape shape = {some->job, some->jobs, s->m.config.D, s->m.config.N};
    osv_saved_run saved;
    char *path;
    OSV_TRY(osv_path_join(&path, folder, "checkpoint.safetensors", s->error));
    int status = osv_saved_run_read(&saved, path, &shape, s->error);
    for (int i = 0; i < some->jobs && !status; i++) {
        if (saved.state.stage[i] != OSV_JOB_ENDED)
            status = OSV_FAIL(s->error, OSV_BAD_INPUT, "%s: says that job \"%s\" has not ended", path,
                              some->name[i]);
        else
            g->r->outcome[job[i]] = saved.outcome[i];
        saved.outcome[i].losses = NULL; /* they have moved */
    }
    if (!status) g->iterations += saved.state.iterations;
    osv_saved_run_free(&saved, &shape);
    free(path);
    return status;
}

/* What was made on other machines of a shared file system is seen once its folder has been opened anew. */
static void refresh(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) close(file);
}

static int join_unit(joining *g, int unit)
{
    train_report *r = g->r;
    const train_setup *s = r->setup;
    const int *job = s->units.job + s->units.first[unit];
    int jobs = s->units.first[unit + 1] - s->units.first[unit];
    train_jobs some;
    char *folder;
    OSV_TRY(train_jobs_select(&some, &s->jobs, job, jobs, s->error));
    int status = osv_run_unit_path(s->options->out, unit, &folder, s->error);
    if (!status) {
        refresh(folder);
        status = read_evaluation(g, folder, &some, job);
    }
    if (!status) status = read_outcomes(g, folder, &some, job);
    if (!status) status = osv_run_append(r->run, folder, s->error);
    for (int i = 0; i < jobs && !status; i++) {
        status = osv_run_vector_path(r->run, some.name[i], &r->file[job[i]], s->error);
        if (!status) status = osv_run_move_vector(r->run, folder, some.name[i], s->error);
    }
    free(folder);
    train_jobs_free(&some);
    return status;
}

/* ---- the whole ---- */

/* Of a run in which all jobs have ended. Vectors and trace are on the disk before it is. */
static int write_checkpoint(const joining *g)
{
    const train_setup *s = g->r->setup;
    osv_job_stage *stage = malloc((size_t)s->jobs.jobs * sizeof *stage + 1);
    osv_saved_run saved = {.outcome = g->r->outcome};
    saved.state = (osv_training_state){.iterations = g->iterations, .memory = s->memory.bin, .stage = stage};
    if (!stage) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < s->jobs.jobs; j++) stage[j] = OSV_JOB_ENDED;
    int status = osv_path_sync(g->r->file[0], s->error);
    if (!status) status = osv_run_sync(g->r->run, &saved.trace_bytes, s->error);
    if (!status) status = train_report_checkpoint(g->r, &saved, s->error);
    free(stage);
    return status;
}

int train_join(train_report *r, double *before, double *after)
{
    const train_setup *s = r->setup;
    joining g = {.r = r, .before = before, .after = after};
    g.completion = calloc((size_t)s->jobs.jobs + 1, sizeof *g.completion);
    if (!g.completion) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    for (int j = 0; j < s->jobs.jobs; j++) g.completion[j + 1] = g.completion[j] + s->jobs.job[j].completions;
    int status = OSV_OK;
    for (int k = 0; k < s->units.units && !status; k++) status = join_unit(&g, k);
    if (!status) status = write_checkpoint(&g);
    if (!status) status = osv_run_remove_units(s->options->out, s->error);
    free(g.completion);
    return status;
}
