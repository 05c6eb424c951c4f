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

/* What a run consists of besides vectors/. */
static const char *const run_files[] = {"run.json", "trace.jsonl", "checkpoint.safetensors",
                                        "evaluation.safetensors"};
enum { RUN_FILES = sizeof run_files / sizeof *run_files };

static const osv_output run_output = {"--out", "run", run_files, RUN_FILES};

/* The same words for every file of the run, so that a full disk reads the same wherever it is met. */
static int write_failed(const char *path, osv_error *e)
{
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot write: %s", path, strerror(errno));
}

/* The name of a file of a run that is at `path`; *name is NULL where there is none. */
static int find_run(const char **name, const char *path, osv_error *e)
{
    *name = NULL;
    for (int i = 0; i <= RUN_FILES && !*name; i++) {
        char *file;
        const char *this = i < RUN_FILES ? run_files[i] : "vectors";
        OSV_TRY(osv_path_join(&file, path, this, e));
        if (osv_path_exists(file)) *name = this;
        free(file);
    }
    return OSV_OK;
}

int osv_run_check(const char *path, osv_run_mode mode, osv_error *e)
{
    const char *found;
    OSV_TRY(osv_output_check(&run_output, path, true, e));
    if (!osv_path_exists(path)) return OSV_OK;
    OSV_TRY(find_run(&found, path, e));
    if (found && mode == OSV_RUN_NEW)
        return OSV_FAIL(
            e, OSV_USAGE,
            "--out %s: holds a run already (%s); choose another folder, go on with it (--resume), "
            "or replace it (--force)",
            path, found);
    if (found && mode == OSV_RUN_RESUME && strcmp(found, "run.json") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "--resume: %s has a %s but no run.json, so it is not known which run that was; put "
                        "run.json back, or begin anew with --force",
                        path, found);
    return osv_run_lock_check(path, e);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* "run.json.1234-0.tmp", "lock.host-1234.tmp" */
static bool is_half_written(const char *name)
{
    bool ours = strncmp(name, "lock.", strlen("lock.")) == 0;
    for (int i = 0; i < RUN_FILES; i++) {
        size_t n = strlen(run_files[i]);
        ours |= strncmp(name, run_files[i], n) == 0 && name[n] == '.';
    }
    return ours && ends_with(name, ".tmp");
}

static bool is_half_vector(const char *name)
{
    return ends_with(name, ".tmp");
}

static bool is_vector(const char *name)
{
    return ends_with(name, ".safetensors") || is_half_vector(name);
}

/* Only what a run writes is removed: a user may keep notes in the folder. */
static int remove_files(const char *path, bool (*which)(const char *name), osv_error *e)
{
    DIR *dir = opendir(path);
    if (!dir) return errno == ENOENT ? OSV_OK : OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s", path, strerror(errno));
    int status = OSV_OK;
    for (struct dirent *entry; !status && (entry = readdir(dir));)
        if (which(entry->d_name)) status = osv_output_remove(path, entry->d_name, e);
    closedir(dir);
    return status;
}

/* The checkpoint first: beside the run.json of another run it would be a trap. */
static int remove_run(const char *path, const char *vectors, osv_error *e)
{
    for (int i = RUN_FILES - 1; i >= 0; i--) OSV_TRY(osv_output_remove(path, run_files[i], e));
    OSV_TRY(remove_files(path, is_half_written, e));
    OSV_TRY(remove_files(vectors, is_vector, e));
    return osv_run_remove_units(path, e);
}

/* Folders that were there before, and hold something, stay: rmdir refuses them. */
static void remove_new(const char *path, const char *vectors)
{
    osv_error ignored = {0};
    osv_output_remove(path, "trace.jsonl", &ignored);
    osv_output_remove(path, "run.json", &ignored);
    rmdir(vectors);
    rmdir(path);
}

static int write_json(const char *dir, const json_t *run, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, dir, "run.json", e));
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

/* The folder is there and its lock is held. */
static int fill(osv_run_directory *r, const char *path, const char *vectors, const char *mode, osv_error *e)
{
    char *trace;
    OSV_TRY(osv_output_make(vectors, e));
    OSV_TRY(osv_path_join(&trace, path, "trace.jsonl", e));
    int status = OSV_OK;
    if (!(r->trace = fopen(trace, mode)))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot create: %s", trace, strerror(errno));
    else if (!(r->path = strdup(path)))
        status = OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its name", path);
    free(trace);
    return status;
}

static void abandon(osv_run_directory *r)
{
    if (r->trace) fclose(r->trace);
    osv_run_lock_release(&r->lock);
    free(r->path);
    *r = (osv_run_directory){0};
}

int osv_run_create(osv_run_directory *r, const char *path, bool replace, const json_t *run, osv_error *e)
{
    osv_run_mode mode = replace ? OSV_RUN_REPLACE : OSV_RUN_NEW;
    char *vectors;
    *r = (osv_run_directory){0};
    OSV_TRY(osv_run_check(path, mode, e));
    OSV_TRY(osv_path_join(&vectors, path, "vectors", e));
    int status = osv_output_make(path, e);
    if (!status) status = osv_run_lock_take(&r->lock, path, e);
    bool held = !status;
    /* Somebody else may have been faster. */
    const char *found = NULL;
    if (!status) status = find_run(&found, path, e);
    if (!status && found && !replace)
        status = OSV_FAIL(e, OSV_USAGE, "--out %s: another run began in this folder just now", path);
    if (!status && replace) status = remove_run(path, vectors, e);
    bool ours = !status;
    if (!status) status = write_json(path, run, e);
    if (!status) status = fill(r, path, vectors, "we", e);
    if (status) {
        abandon(r);
        if (ours) remove_new(path, vectors);
        if (held) rmdir(path); /* if it is empty */
    }
    free(vectors);
    return status;
}

int osv_run_reopen(osv_run_directory *r, const char *path, osv_error *e)
{
    char *vectors;
    *r = (osv_run_directory){0};
    OSV_TRY(osv_run_check(path, OSV_RUN_RESUME, e));
    OSV_TRY(osv_path_join(&vectors, path, "vectors", e));
    int status = osv_run_lock_take(&r->lock, path, e);
    if (!status) status = remove_files(path, is_half_written, e);
    if (!status) status = remove_files(vectors, is_half_vector, e);
    if (!status) status = fill(r, path, vectors, "ae", e);
    if (status) abandon(r);
    free(vectors);
    return status;
}

static int trace_failed(const osv_run_directory *r, osv_error *e)
{
    char path[512];
    snprintf(path, sizeof path, "%s/trace.jsonl", r->path);
    return write_failed(path, e);
}

int osv_run_cut(osv_run_directory *r, long long bytes, osv_error *e)
{
    struct stat info;
    if (fstat(fileno(r->trace), &info)) return trace_failed(r, e);
    if (info.st_size < bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s/trace.jsonl: has %lld bytes, but had %lld when the checkpoint was saved: it was "
                        "changed since; put it back, or begin anew with --force",
                        r->path, (long long)info.st_size, bytes);
    return ftruncate(fileno(r->trace), bytes) ? trace_failed(r, e) : OSV_OK;
}

int osv_run_sync(osv_run_directory *r, long long *bytes, osv_error *e)
{
    struct stat info;
    int file = fileno(r->trace);
    if (fflush(r->trace) || (fsync(file) && errno != EINVAL) || fstat(file, &info)) return trace_failed(r, e);
    *bytes = (long long)info.st_size;
    return OSV_OK;
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
    if (report->phase == 2) json_object_set_new(line, "phase", json_integer(2));
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
    OSV_TRY(osv_run_lock_renew(&r->lock, e));
    json_t *line = trace_line(job, report);
    char *text = json_dumps(line, JSON_REAL_PRECISION(9)); /* losses come out of fp32 */
    json_decref(line);
    if (!text) return OSV_FAIL(e, OSV_DEVICE, "%s/trace.jsonl: no memory for a line", r->path);
    /* Flushed line by line: whoever follows the file, or finds it after a crash, sees whole lines. */
    bool failed = fputs(text, r->trace) < 0 || fputc('\n', r->trace) < 0 || fflush(r->trace);
    free(text);
    return failed ? trace_failed(r, e) : OSV_OK;
}

static int vector_path(const char *folder, const char *job, char **path, osv_error *e)
{
    if (asprintf(path, "%s/vectors/%s.safetensors", folder, job) >= 0) return OSV_OK;
    *path = NULL;
    return OSV_FAIL(e, OSV_DEVICE, "no memory for the path of job %s", job);
}

int osv_run_vector_path(const osv_run_directory *r, const char *job, char **path, osv_error *e)
{
    return vector_path(r->path, job, path, e);
}

int osv_run_close(osv_run_directory *r, osv_error *e)
{
    int status = OSV_OK;
    if (r->trace && fclose(r->trace)) status = trace_failed(r, e); /* network file systems say it here */
    osv_run_lock_release(&r->lock);
    free(r->path);
    *r = (osv_run_directory){0};
    return status;
}

/* ---- parts ---- */

int osv_run_unit_path(const char *path, int unit, char **unit_path, osv_error *e)
{
    if (asprintf(unit_path, "%s/units/%d", path, unit) >= 0) return OSV_OK;
    *unit_path = NULL;
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the name of a unit", path);
}

static int append(osv_run_directory *r, FILE *from, const char *path, osv_error *e)
{
    char piece[1 << 14];
    for (size_t bytes; (bytes = fread(piece, 1, sizeof piece, from)) > 0;)
        if (fwrite(piece, 1, bytes, r->trace) != bytes) return trace_failed(r, e);
    return ferror(from) ? OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno)) : OSV_OK;
}

int osv_run_append(osv_run_directory *r, const char *part, osv_error *e)
{
    char *path;
    OSV_TRY(osv_path_join(&path, part, "trace.jsonl", e));
    FILE *from = fopen(path, "re");
    int status = from ? append(r, from, path, e)
                      : OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    if (from) fclose(from);
    free(path);
    return status;
}

int osv_run_move_vector(osv_run_directory *r, const char *part, const char *job, osv_error *e)
{
    char *from, *to = NULL;
    OSV_TRY(vector_path(part, job, &from, e));
    int status = vector_path(r->path, job, &to, e);
    if (!status && rename(from, to) && !(errno == ENOENT && osv_path_exists(to)))
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: cannot move it to %s: %s", from, to, strerror(errno));
    free(from);
    free(to);
    return status;
}

/* A folder that is a run and nothing else. */
static int remove_unit(const char *path, osv_error *e)
{
    char *vectors;
    OSV_TRY(osv_path_join(&vectors, path, "vectors", e));
    int status = remove_run(path, vectors, e);
    if (!status) status = osv_output_remove(path, "lock", e);
    rmdir(vectors);
    free(vectors);
    rmdir(path);
    return status;
}

int osv_run_remove_units(const char *path, osv_error *e)
{
    char *units, *unit;
    OSV_TRY(osv_path_join(&units, path, "units", e));
    DIR *dir = opendir(units);
    int status = OSV_OK;
    for (struct dirent *entry; !status && dir && (entry = readdir(dir));) {
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name)) continue;
        status = osv_path_join(&unit, units, entry->d_name, e);
        if (status) break;
        status = remove_unit(unit, e);
        free(unit);
    }
    if (dir) closedir(dir);
    rmdir(units);
    free(units);
    return status;
}
