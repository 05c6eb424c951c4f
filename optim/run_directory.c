#include "optim/run_directory.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"
#include "optim/output_folder.h"

/* What a run consists of: files, and vectors/. */
static const char *const run_names[] = {"run.json", "trace.jsonl", "checkpoint.safetensors", "vectors"};
enum { RUN_NAMES = sizeof run_names / sizeof *run_names, RUN_FILES = RUN_NAMES - 1 };
static const osv_output run_output = {"--out", "run", run_names, RUN_NAMES};

/* The same words for every file of the run, so that a full disk reads the same wherever it is met. */
static int write_failed(const char *path, osv_error *e)
{
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
}

int osv_run_check(const char *path, bool force, osv_error *e)
{
    return osv_output_check(&run_output, path, force, e);
}

/* Only what a run writes is removed: a user may keep notes in the folder. */
static int remove_run(const char *path, const char *vectors, osv_error *e)
{
    for (int i = 0; i < RUN_FILES; i++) OSV_TRY(osv_output_remove(path, run_names[i], e));
    DIR *dir = opendir(vectors);
    if (!dir)
        return errno == ENOENT ? OSV_OK : OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s", vectors, strerror(errno));
    int status = OSV_OK;
    for (struct dirent *entry; !status && (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".tmp") == 0))
            status = osv_output_remove(vectors, entry->d_name, e);
    }
    closedir(dir);
    return status;
}

/* Folders that were there before, and hold something, stay: rmdir refuses them. */
static void remove_new(const char *path)
{
    osv_error ignored = {0};
    osv_output_remove(path, "trace.jsonl", &ignored);
    osv_output_remove(path, "run.json", &ignored);
    char *vectors;
    if (osv_path_join(&vectors, path, "vectors", &ignored)) return;
    rmdir(vectors);
    rmdir(path);
    free(vectors);
}

int osv_run_create(osv_run_directory *r, const char *path, bool force, osv_error *e)
{
    *r = (osv_run_directory){0};
    OSV_TRY(osv_run_check(path, force, e));
    char *vectors, *trace = NULL;
    OSV_TRY(osv_path_join(&vectors, path, "vectors", e));
    int status = force ? remove_run(path, vectors, e) : OSV_OK;
    if (!status) status = osv_path_join(&trace, path, "trace.jsonl", e);
    if (!status && !(r->path = strdup(path)))
        status = OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its name", path);
    if (!status) status = osv_output_make(vectors, e);
    if (!status && !(r->trace = fopen(trace, "we")))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", trace, strerror(errno));
    if (status) {
        free(r->path);
        *r = (osv_run_directory){0};
        remove_new(path);
    }
    free(trace);
    free(vectors);
    return status;
}

void osv_run_discard(osv_run_directory *r)
{
    if (!r->path) return;
    remove_new(r->path);
    osv_error ignored = {0};
    osv_run_close(r, &ignored);
}

int osv_run_write_json(const osv_run_directory *r, const json_t *run, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, r->path, "run.json", e));
    int status;
    /* 15 digits: every decimal that a user types comes out as it was typed. */
    char *text = json_dumps(run, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (text) {
        const osv_piece piece[] = {{text, strlen(text)}, {"\n", 1}};
        status = osv_file_write(path, piece, 2, e);
    } else {
        status = OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its text", path);
    }
    free(text);
    free(path);
    return status;
}

/* JSON has no NaN and no infinity. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *trace_line(const char *job, const osv_report *report)
{
    json_t *line = json_pack("{s:s, s:i, s:o, s:o}", "job", job, "iter", report->iter, "loss",
                             number(report->loss), "norm", number(report->norm));
    bool final = report->stopped != OSV_RUNNING;
    if (!final) json_object_set_new(line, "grad_norm", number(report->grad_norm));
    json_t *losses = json_array();
    for (int c = 0; c < report->completions; c++) json_array_append_new(losses, number(report->losses[c]));
    json_object_set_new(line, "losses", losses);
    if (final) {
        json_object_set_new(line, "final", json_true());
        json_object_set_new(line, "stopped", json_string(osv_stop_name(report->stopped)));
    }
    return line;
}

int osv_run_trace(osv_run_directory *r, const char *job, const osv_report *report, osv_error *e)
{
    json_t *line = trace_line(job, report);
    char *text = json_dumps(line, JSON_REAL_PRECISION(9)); /* losses come out of fp32 */
    json_decref(line);
    if (!text) return OSV_FAIL(e, OSV_DEVICE, "%s/trace.jsonl: no memory for a line", r->path);
    /* Flushed line by line: whoever follows the file, or finds it after a crash, sees whole lines. */
    bool failed = fputs(text, r->trace) < 0 || fputc('\n', r->trace) < 0 || fflush(r->trace);
    free(text);
    if (!failed) return OSV_OK;
    char path[512];
    snprintf(path, sizeof path, "%s/trace.jsonl", r->path);
    return write_failed(path, e);
}

int osv_run_vector_path(const osv_run_directory *r, const char *job, char **path, osv_error *e)
{
    if (asprintf(path, "%s/vectors/%s.safetensors", r->path, job) < 0) {
        *path = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "no memory for the path of job %s", job);
    }
    return OSV_OK;
}

int osv_run_close(osv_run_directory *r, osv_error *e)
{
    int status = OSV_OK;
    if (r->trace && fclose(r->trace)) { /* network file systems report a full disk here */
        char path[512];
        snprintf(path, sizeof path, "%s/trace.jsonl", r->path);
        status = write_failed(path, e);
    }
    free(r->path);
    *r = (osv_run_directory){0};
    return status;
}
