#include <criterion/criterion.h>
#include <math.h>

#include "files.h"
#include "loader/file.h"
#include "optim/run_directory.h"

static char *text_of(const char *dir, const char *name)
{
    osv_error e = {0};
    char *path, *text;
    size_t bytes;
    cr_assert_eq(osv_path_join(&path, dir, name, &e), OSV_OK);
    cr_assert_eq(osv_file_read(&text, &bytes, path, 1 << 20, &e), OSV_OK, "%s", e.text);
    free(path);
    return text;
}

static bool there(const char *dir, const char *name)
{
    osv_error e = {0};
    char *path;
    cr_assert_eq(osv_path_join(&path, dir, name, &e), OSV_OK);
    bool found = osv_path_exists(path);
    free(path);
    return found;
}

/* A run with this as its run.json. */
static int create(osv_run_directory *r, const char *dir, bool replace, const char *json, osv_error *e)
{
    json_t *run = json_loads(json, 0, NULL);
    int status = osv_run_create(r, dir, replace, run, e);
    json_decref(run);
    return status;
}

static const double losses[] = {9.25, 0.0625};

static osv_report running(void)
{
    return (osv_report){.iter = 0,
                        .loss = 9.3125,
                        .norm = 1,
                        .grad_norm = 0.4,
                        .completions = 2,
                        .losses = losses,
                        .stopped = OSV_RUNNING,
                        .nan_iter = -1};
}

Test(run_directory, trace_lines, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_run_directory r;
    const char *dir = temp_path("deep/er/run");
    cr_assert_eq(create(&r, dir, false, "{}", &e), OSV_OK, "%s", e.text);
    osv_report report = running();
    cr_assert_eq(osv_run_trace(&r, "all", &report, &e), OSV_OK, "%s", e.text);
    char *text = text_of(dir, "trace.jsonl"); /* before closing: lines are there as they happen */
    cr_expect_str_eq(text,
                     "{\"job\": \"all\", \"iter\": 0, \"loss\": 9.3125, \"norm\": 1.0, \"grad_norm\": 0.4, "
                     "\"losses\": [9.25, 0.0625]}\n");
    free(text);
    report.iter = 3;
    report.loss = NAN;
    report.grad_norm = NAN;
    report.stopped = OSV_STOP_NAN;
    cr_assert_eq(osv_run_trace(&r, "a \"b\"", &report, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
    text = text_of(dir, "trace.jsonl");
    cr_expect_str_eq(
        strchr(text, '\n') + 1,
        "{\"job\": \"a \\\"b\\\"\", \"iter\": 3, \"loss\": null, \"norm\": 1.0, \"losses\": [9.25, "
        "0.0625], \"final\": true, \"stopped\": \"nan\"}\n");
    free(text);
}

Test(run_directory, run_json_and_vector_path, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_run_directory r;
    const char *dir = temp_path("run");
    cr_assert_eq(create(&r, dir, false, "{\"lr\": 0.1, \"seed\": 7}", &e), OSV_OK, "%s", e.text);
    char *text = text_of(dir, "run.json"), *path;
    cr_expect_str_eq(text, "{\n  \"lr\": 0.1,\n  \"seed\": 7\n}\n");
    free(text);
    cr_assert_eq(osv_run_vector_path(&r, "a.3", &path, &e), OSV_OK, "%s", e.text);
    char expected[600];
    snprintf(expected, sizeof expected, "%s/vectors/a.3.safetensors", dir);
    cr_expect_str_eq(path, expected);
    cr_expect(there(dir, "vectors"));
    free(path);
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
}

static void make_run(const char *dir)
{
    osv_error e = {0};
    osv_run_directory r;
    cr_assert_eq(create(&r, dir, false, "{}", &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
    temp_text("run/vectors/old.safetensors", "x");
    temp_text("run/notes.txt", "mine");
}

Test(run_directory, a_run_is_kept_unless_forced, .init = temp_open, .fini = temp_close)
{
    const char *dir = temp_path("run");
    osv_run_directory r;
    make_run(dir);
    osv_error e = {0};
    check_failure("again", create(&r, dir, false, "{}", &e), &e, OSV_USAGE, "holds a run already");
    cr_expect(there(dir, "run.json") && there(dir, "vectors/old.safetensors"));
    e = (osv_error){0};
    check_failure("check", osv_run_check(dir, OSV_RUN_NEW, &e), &e, OSV_USAGE, "--force");

    e = (osv_error){0};
    cr_assert_eq(osv_run_check(dir, OSV_RUN_REPLACE, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(create(&r, dir, true, "{}", &e), OSV_OK, "%s", e.text);
    cr_expect(!there(dir, "vectors/old.safetensors"), "an old file is left");
    cr_expect(there(dir, "notes.txt"), "a file that is not the run's was removed");
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
}

Test(run_directory, places_that_cannot_be, .init = temp_open, .fini = temp_close)
{
    osv_run_directory r;
    osv_error e = {0};
    check_failure("file", create(&r, temp_text("file", "x"), true, "{}", &e), &e, OSV_USAGE, "is a file");
    e = (osv_error){0};
    check_failure("below a file", create(&r, temp_path("file/run"), false, "{}", &e), &e, OSV_BAD_INPUT,
                  "cannot make the folder");
    e = (osv_error){0};
    check_failure("no name", create(&r, "", false, "{}", &e), &e, OSV_USAGE, "--out");
    cr_assert_eq(mkdir(temp_path("empty"), 0777), 0);
    e = (osv_error){0};
    cr_assert_eq(create(&r, temp_path("empty"), false, "{}", &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
}

Test(run_directory, a_run_that_cannot_begin_leaves_nothing, .init = temp_open, .fini = temp_close)
{
    osv_run_directory r;
    osv_error e = {0};
    const char *dir = temp_path("run");
    cr_assert_neq(osv_run_create(&r, dir, false, NULL, &e), OSV_OK); /* no text for run.json */
    cr_expect(!osv_path_exists(dir));
    cr_assert_eq(mkdir(temp_path("kept"), 0777), 0);
    temp_text("kept/notes.txt", "mine");
    e = (osv_error){0};
    cr_assert_neq(osv_run_create(&r, temp_path("kept"), false, NULL, &e), OSV_OK);
    cr_expect(there(temp_path("kept"), "notes.txt") && !there(temp_path("kept"), "trace.jsonl"));
    cr_expect(!there(temp_path("kept"), "lock") && !there(temp_path("kept"), "vectors"));
}

/* What a process leaves that is killed while it writes, and a trace that is ahead of the checkpoint. */
Test(run_directory, reopened, .init = temp_open, .fini = temp_close)
{
    osv_run_directory r;
    osv_error e = {0};
    const char *dir = temp_path("run");
    osv_report report = running();
    long long bytes, more;
    cr_assert_eq(create(&r, dir, false, "{}", &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_trace(&r, "all", &report, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_sync(&r, &bytes, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_trace(&r, "all", &report, &e), OSV_OK, "%s", e.text);
    check_failure("held", osv_run_reopen(&r, dir, &e), &e, OSV_BAD_INPUT, "works in this folder");
    e = (osv_error){0};
    cr_expect(r.path == NULL);
    cr_assert_eq(unlink(temp_path("run/lock")), 0);
    temp_text("run/checkpoint.safetensors.12-0.tmp", "x");
    temp_text("run/vectors/a.safetensors.12-0.tmp", "x");
    temp_text("run/lock.host-12.tmp", "x");
    temp_text("run/notes.tmp", "mine");

    cr_assert_eq(osv_run_reopen(&r, dir, &e), OSV_OK, "%s", e.text);
    cr_expect(there(dir, "lock") && there(dir, "notes.tmp"));
    cr_expect(!there(dir, "checkpoint.safetensors.12-0.tmp") &&
              !there(dir, "vectors/a.safetensors.12-0.tmp") && !there(dir, "lock.host-12.tmp"));
    cr_assert_eq(osv_run_cut(&r, bytes, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_trace(&r, "other", &report, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_sync(&r, &more, &e), OSV_OK, "%s", e.text);
    char *text = text_of(dir, "trace.jsonl");
    cr_expect(more > bytes && strlen(text) == (size_t)more && strstr(text, "\"other\"") == text + bytes + 8);
    free(text);
    check_failure("cut", osv_run_cut(&r, more + 1, &e), &e, OSV_BAD_INPUT, "it was changed since");
    osv_error ignored = {0};
    cr_assert_eq(osv_run_close(&r, &ignored), OSV_OK);
    cr_expect(!there(dir, "lock"));

    cr_assert_eq(unlink(temp_path("run/run.json")), 0);
    e = (osv_error){0};
    check_failure("no run.json", osv_run_reopen(&r, dir, &e), &e, OSV_BAD_INPUT,
                  "has a trace.jsonl but no run.json");
}

Test(run_directory, full_disk, .init = temp_open, .fini = temp_close)
{
    osv_run_directory r;
    osv_error e = {0};
    const char *dir = temp_path("run");
    cr_assert_eq(create(&r, dir, false, "{}", &e), OSV_OK, "%s", e.text);
    fclose(r.trace);
    r.trace = fopen("/dev/full", "w");
    if (!r.trace) cr_skip_test("no /dev/full here");
    osv_report report = running();
    check_failure("full", osv_run_trace(&r, "all", &report, &e), &e, OSV_BAD_INPUT, "No space left");
    check_failure("full", e.status, &e, OSV_BAD_INPUT, "run/trace.jsonl");
    osv_error ignored = {0};
    osv_run_close(&r, &ignored);
}

static void make_unit(int unit, const char *job)
{
    osv_run_directory r;
    osv_error e = {0};
    osv_report report = running();
    char *path, vector[64];
    cr_assert_eq(osv_run_unit_path(temp_path("run"), unit, &path, &e), OSV_OK);
    cr_assert_eq(create(&r, path, false, "{}", &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_trace(&r, job, &report, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
    snprintf(vector, sizeof vector, "run/units/%d/vectors/%s.safetensors", unit, job);
    temp_text(vector, job);
    free(path);
}

Test(run_directory, units, .init = temp_open, .fini = temp_close)
{
    osv_run_directory r;
    osv_error e = {0};
    char dir[512];
    snprintf(dir, sizeof dir, "%s", temp_path("run")); /* longer than temp_path keeps it */
    cr_assert_eq(create(&r, dir, false, "{}", &e), OSV_OK, "%s", e.text);
    make_unit(0, "a");
    make_unit(12, "b");
    temp_text("run/units/12/evaluation.safetensors", "x");
    temp_text("run/units/12/lock", "x");
    temp_text("run/units/0/lock.host-12.tmp", "x");
    cr_assert_eq(osv_run_append(&r, temp_path("run/units/12"), &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_run_append(&r, temp_path("run/units/0"), &e), OSV_OK, "%s", e.text);
    cr_assert_eq(fflush(r.trace), 0);
    char *text = text_of(dir, "trace.jsonl"), *second = strchr(text, '\n') + 1;
    cr_expect(strstr(text, "{\"job\": \"b\"") == text && strstr(second, "{\"job\": \"a\"") == second);
    free(text);
    for (int i = 0; i < 2; i++) { /* once more does no harm */
        cr_assert_eq(osv_run_move_vector(&r, temp_path("run/units/12"), "b", &e), OSV_OK, "%s", e.text);
        cr_expect(there(dir, "vectors/b.safetensors") && !there(dir, "units/12/vectors/b.safetensors"));
    }
    check_failure("no vector", osv_run_move_vector(&r, temp_path("run/units/0"), "c", &e), &e, OSV_BAD_INPUT,
                  "run/units/0/vectors/c.safetensors");
    e = (osv_error){0};
    check_failure("no trace", osv_run_append(&r, temp_path("run/units/7"), &e), &e, OSV_BAD_INPUT,
                  "run/units/7/trace.jsonl");
    e = (osv_error){0};
    temp_text("run/units/notes.txt", "mine");
    cr_assert_eq(osv_run_remove_units(dir, &e), OSV_OK, "%s", e.text);
    cr_expect(there(dir, "units/notes.txt") && !there(dir, "units/0") && !there(dir, "units/12"));
    cr_expect(there(dir, "vectors/b.safetensors") && there(dir, "trace.jsonl"));
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
    make_unit(3, "c"); /* of a run that is replaced */
    cr_assert_eq(create(&r, dir, true, "{}", &e), OSV_OK, "%s", e.text);
    cr_expect(!there(dir, "units/3") && there(dir, "units/notes.txt"));
    cr_assert_eq(osv_run_close(&r, &e), OSV_OK, "%s", e.text);
}
