#include "tools/train_resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "tools/program.h"
#include "tools/train_result.h"

/* Options that have no say in the result, and paths, whose contents are compared instead. */
static const char *const free_options[] = {
    "model",     "data",    "init",       "offset",       "orthogonal-to",  "sweep",
    "teacher",   "out",     "force",      "resume",       "plan",           "checkpoint-every",
    "device",    "threads", "tp",         "comm",         "comm-timeout",   "profile",
    "list",      "json",    "quiet",      "verbose",      "help",           "version",
    "scan-norm", "ranks",   "host-ranks", "host-network", "scan-positions", "split-data",
};

static bool is_free(const char *option)
{
    for (size_t i = 0; i < sizeof free_options / sizeof *free_options; i++)
        if (strcmp(free_options[i], option) == 0) return true;
    return false;
}

static int run_json_path(char **path, const train_options *o, osv_error *e)
{
    return osv_path_join(path, o->out, "run.json", e);
}

bool train_resume_wanted(const train_options *o)
{
    osv_error ignored = {0};
    char *path;
    if (!o->resume || run_json_path(&path, o, &ignored)) return false;
    bool there = osv_path_exists(path);
    free(path);
    return there;
}

osv_saved_shape train_resume_shape(const train_setup *s)
{
    return (osv_saved_shape){s->jobs.job, s->jobs.jobs, s->m.config.D, s->m.config.N};
}

/* ---- run.json against the command line ---- */

/* This run's, with numbers as reading them from a file gives them. */
static int run_as_read(json_t **now, const train_setup *s)
{
    json_t *run;
    OSV_TRY(train_run_json(&run, s));
    char *text = json_dumps(run, JSON_REAL_PRECISION(15));
    json_decref(run);
    *now = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return *now ? OSV_OK : OSV_FAIL(s->error, OSV_DEVICE, "out of memory for run.json");
}

static const char *show(const json_t *value, char *text, size_t room)
{
    if (!value || json_is_null(value)) return "none";
    if (!json_is_string(value) && !json_is_real(value)) return osv_json_show(value, text, room);
    if (json_is_string(value))
        snprintf(text, room, "%s", json_string_value(value));
    else
        snprintf(text, room, "%.15g", json_real_value(value));
    return text;
}

/* A run of an older version lacks the options that came later: it had what is their default now. */
static json_t *default_arguments(void)
{
    train_options o;
    osv_error ignored = {0};
    return train_options_default(&o, &ignored) ? NULL : osv_options_json(train_option_table, &o);
}

static int compare_options(const train_setup *s, const json_t *was, json_t *is)
{
    const char *name;
    json_t *value, *defaults = default_arguments();
    int status = OSV_OK;
    json_object_foreach(is, name, value)
    {
        char a[128], b[128];
        const json_t *before = json_object_get(was, name);
        if (!before) before = json_object_get(defaults, name);
        if (status || is_free(name) || (before && json_equal(before, value))) continue;
        status = OSV_FAIL(
            s->error, OSV_USAGE,
            "--resume: --%s: the run in %s has %s, the command line %s; give the same, or another --out",
            name, s->options->out, show(before, a, sizeof a), show(value, b, sizeof b));
    }
    json_decref(defaults);
    return status;
}

/* Hashes of the key, which the run of an older version may lack. */
static int compare_hash(const train_setup *s, const json_t *was, const json_t *is, const char *key,
                        const char *format, const char *path)
{
    char a[80], b[80], what[300];
    const json_t *then = json_object_get(was, key), *now = json_object_get(is, key);
    if (!then || json_equal(then, now)) return OSV_OK;
    snprintf(what, sizeof what, format, path ? path : "none");
    return OSV_FAIL(s->error, OSV_BAD_INPUT,
                    "--resume: %s changed since the run in %s began (SHA-256 then: %.16s, now: %.16s); put "
                    "back what there was, or give another --out",
                    what, s->options->out, show(then, a, sizeof a), show(now, b, sizeof b));
}

/* Which vector files there are, for a message; %s: that of --init. */
static const char *vectors_format(const train_options *o)
{
    return o->offset || o->orthogonal_to ? "--init %s, --offset or --orthogonal-to" : "--init %s";
}

static int compare(const train_setup *s, const json_t *was, const json_t *is)
{
    const train_options *o = s->options;
    OSV_TRY(compare_options(s, json_object_get(was, "arguments"), json_object_get(is, "arguments")));
    OSV_TRY(compare_hash(s, was, is, "data_sha256", "--data %s", o->data));
    OSV_TRY(compare_hash(s, was, is, "sweep_sha256", "--sweep %s", o->sweep));
    OSV_TRY(compare_hash(s, was, is, "init_sha256", vectors_format(o), o->init));
    OSV_TRY(compare_hash(s, was, is, "tokenizer_sha256", "--model %s: its tokenizer", o->model));
    OSV_TRY(compare_hash(s, was, is, "teacher_sha256", "--teacher %s",
                         o->teacher.vector.count ? o->teacher.vector.item[0] : NULL));
    if (train_unwritten(s->data)) return OSV_OK; /* the rest once more, with the weights */
    OSV_TRY(compare_hash(s, was, is, "jobs_sha256", "tokens or names of the jobs (the chat template of %s?)",
                         o->model));
    if (!s->m.checkpoint) return OSV_OK;
    return compare_hash(s, json_object_get(was, "model"), json_object_get(is, "model"), "sha256",
                        "--model %s", o->model);
}

/* Both runs. The caller frees them, whatever came of it. */
static int read_both(json_t **was, json_t **is, const train_setup *s)
{
    char *path;
    *was = *is = NULL;
    OSV_TRY(run_json_path(&path, s->options, s->error));
    int status = osv_json_read(was, path, s->error);
    const char *format = json_string_value(json_object_get(*was, "format"));
    if (!status && (!format || strcmp(format, "osv-run/1") != 0))
        status = OSV_FAIL(s->error, OSV_BAD_INPUT, "%s: format \"%.40s\" is not known; expected osv-run/1",
                          path, format ? format : "");
    free(path);
    return status ? status : run_as_read(is, s);
}

/* What the run has and the command line need not say: the name of the model, and the memory that its bins are
 * packed with, which may have been what was free then. */
static int adopt(train_setup *s, const json_t *was)
{
    const char *name = json_string_value(json_object_get(json_object_get(was, "model"), "name"));
    json_int_t bin = json_integer_value(json_object_get(json_object_get(was, "memory"), "bin_bytes"));
    if (bin > 0) s->memory.bin = (size_t)bin;
    if (!name) return OSV_OK;
    char *copy = strdup(name);
    if (!copy) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    free(s->m.name);
    s->m.name = copy;
    return OSV_OK;
}

int train_resume_check(train_setup *s)
{
    json_t *was, *is;
    int status = read_both(&was, &is, s);
    if (!status) status = compare(s, was, is);
    if (!status) status = adopt(s, was);
    json_decref(was);
    json_decref(is);
    return status;
}

/* ---- its units ---- */

/* "unit_jobs": names, unit by unit -> unit [jobs]: of each job, -1 where it has none. False: there is a name
 * that no job has, or one twice. */
static bool find_units(int *unit, const json_t *lists, const train_jobs *jobs)
{
    json_t *index = json_object(), *list, *name;
    size_t k, i;
    bool good = index && json_is_array(lists);
    for (int j = 0; j < jobs->jobs; j++) {
        json_object_set_new(index, jobs->name[j], json_integer(j));
        unit[j] = -1;
    }
    json_array_foreach(lists, k, list) json_array_foreach(list, i, name)
    {
        const json_t *job = json_is_string(name) ? json_object_get(index, json_string_value(name)) : NULL;
        if (!job || unit[json_integer_value(job)] >= 0)
            good = false;
        else
            unit[json_integer_value(job)] = (int)k;
    }
    json_decref(index);
    return good;
}

static int make_units(train_setup *s, const json_t *lists)
{
    int jobs = s->jobs.jobs, *unit = malloc((size_t)jobs * sizeof *unit + 1);
    osv_error why = {0};
    if (!unit) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory for %d jobs", jobs);
    bool good = find_units(unit, lists, &s->jobs) && json_array_size(lists) <= (size_t)jobs;
    for (int j = 0; j < jobs; j++) good &= unit[j] >= 0;
    if (good) good = !osv_units_make(&s->units, s->jobs.job, jobs, unit, (int)json_array_size(lists), &why);
    free(unit);
    if (good) return OSV_OK;
    return OSV_FAIL(
        s->error, OSV_BAD_INPUT,
        "%s/run.json: \"unit_jobs\" does not divide the jobs of the run%s%s; put it back, or begin "
        "anew with --force",
        s->options->out, *why.text ? ": " : "", why.text);
}

int train_resume_units(train_setup *s)
{
    json_t *was;
    char *path;
    OSV_TRY(run_json_path(&path, s->options, s->error));
    int status = osv_json_read(&was, path, s->error);
    const json_t *lists = status ? NULL : json_object_get(was, "unit_jobs");
    if (lists && !json_is_null(lists)) status = make_units(s, lists);
    if (!status) json_decref(was);
    free(path);
    return status;
}

/* ---- where it goes on ---- */

static const char *text_at(const json_t *run, const char *part, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(run, part), key));
    return text ? text : "unknown";
}

/* Another build or processor computes the same, but for the last bits. */
static void print_notes(const json_t *was, const json_t *is)
{
    static const char but[] = "what follows may differ in the last bits from a run without interruption";
    if (!json_equal(json_object_get(was, "build"), json_object_get(is, "build")))
        fprintf(stderr,
                "osv-train: note: begun by another build (%s, commit %s; this one is %s, commit %s): %s\n",
                text_at(was, "build", "version"), text_at(was, "build", "commit"),
                text_at(is, "build", "version"), text_at(is, "build", "commit"), but);
    const char *before = text_at(was, "hardware", "device"), *now = text_at(is, "hardware", "device");
    if (strcmp(before, now) != 0)
        fprintf(stderr, "osv-train: note: begun on other hardware (%s; here: %s): %s\n", before, now, but);
}

static void print_place(const train_setup *s, const osv_saved_run *saved, bool from_start)
{
    int ended = 0, jobs = s->jobs.jobs;
    for (int j = 0; j < jobs && !from_start; j++) ended += saved->state.stage[j] == OSV_JOB_ENDED;
    if (s->units.units > 0)
        fprintf(stderr, "osv-train: going on with a run of %d units\n", s->units.units);
    else if (from_start)
        fprintf(stderr, "osv-train: no checkpoint was saved yet: the run begins anew\n");
    else if (ended == jobs)
        fprintf(stderr, "osv-train: this run is complete: nothing is left to train\n");
    else
        fprintf(stderr, "osv-train: going on after iteration %d of the run; %d of %d job%s done\n",
                saved->state.iterations, ended, jobs, jobs == 1 ? "" : "s");
    if (s->units.units == 0 && ended < jobs && s->options->machine.launch.size > s->m.comm->size)
        fprintf(stderr, "osv-train: note: one replica has begun this run, and one goes on with it\n");
}

int train_resume_read(osv_saved_run *saved, bool *from_start, const train_setup *s)
{
    const osv_saved_shape shape = train_resume_shape(s);
    char *path;
    OSV_TRY(osv_path_join(&path, s->options->out, "checkpoint.safetensors", s->error));
    *from_start = !osv_path_exists(path);
    int status = *from_start ? OSV_OK : osv_saved_run_read(saved, path, &shape, s->error);
    free(path);
    return status;
}

int train_resume_open(osv_run_directory *run, osv_saved_run *saved, bool *from_start, const train_setup *s)
{
    json_t *was = NULL, *is = NULL;
    OSV_TRY(osv_run_reopen(run, s->options->out, s->error));
    int status = read_both(&was, &is, s); /* once more: now nobody else can change it */
    if (!status) status = compare(s, was, is);
    if (!status) status = train_resume_read(saved, from_start, s);
    if (!status) status = osv_run_cut(run, saved->trace_bytes, s->error);
    if (!status && !*from_start)
        status = osv_run_remove_units(run->path, s->error); /* they have been joined */
    if (!status && !s->options->quiet) {
        print_notes(was, is);
        print_place(s, saved, *from_start);
    }
    json_decref(was);
    json_decref(is);
    return status;
}
