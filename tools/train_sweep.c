#include "tools/train_sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapoints.h"
#include "loader/json.h"
#include "loader/json_lines.h"

const train_job_option train_job_options[] = {
    {"layer", ""},
    {"seed", "s"},
    {"max-norm", "n"},
    {"lr", "lr"},
    {"init-norm", "i"},
    {"init", "init-"},
    {"apply", ""},
    {"clamp", "clamp"},
    {"offset", "offset-"},
    {"rank", "rank"},
    {"joint", "joint-"},
    {"init-affine-norm", "init-affine-norm"},
    {"max-affine-norm", "max-affine-norm"},
    {"lr-schedule", ""},
    {"warmup", "warmup"},
    {"max-iters", "max-iters"},
    {"betas", "betas"},
    {"adam-eps", "adam-eps"},
    {"coldness", "coldness"},
    {"eps", "eps"},
    {"suppress-loss", ""},
    {"beta", "beta"},
    {"preference-signs", "signs-"},
    {"melbo", "melbo"},
    {"melbo-power", "power"},
    {"length-norm", "length-norm"},
    {"kl", ""},
    {"anchor-weight", "anchor"},
    {"anchor-bound", "anchor-bound"},
    {"bound-lr", "bound-lr"},
    {"satisfice", "satisfice"},
    {"l1", "l1-"},
    {"group-sparsity", "group-"},
    {"target-loss", "target-loss"},
    {"target-rule", ""},
    {"target-iters", "target-iters"},
    {"min-norm", "min-norm"},
    {"min-norm-lr", "min-norm-lr"},
    {"plateau-eps", "plateau-eps"},
    {"plateau-iters", "plateau-iters"},
    {"noise", "noise"},
    {"noise-draws", "noise-draws"},
    {"noise-kind", ""},
    {"orthogonal", "orthogonal"},
    {"orthogonal-to", "orthogonal-"},
    {NULL, NULL},
};
_Static_assert(sizeof train_job_options / sizeof *train_job_options == TRAIN_JOB_OPTIONS + 1,
               "the number of options");

int train_line_fail(const train_sweep *s, const train_line *line, const osv_error *cause, osv_error *e)
{
    if (line->line == 0 || cause->status == OSV_DEVICE)
        return osv_error_set(e, cause->status, cause->file, cause->line, "%s", cause->text);
    return osv_error_set(e, OSV_BAD_INPUT, cause->file, cause->line, "%s:%d: %s", s->path, line->line,
                         cause->text);
}

/* ---- lines ---- */

/* Another configuration, with the command line's options. */
static int add_line(train_line **line, train_sweep *s, const train_options *o, osv_error *e)
{
    if (s->lines == s->line_room) {
        int room = 2 * s->line_room + 16;
        train_line *wider = realloc(s->line, (size_t)room * sizeof *wider);
        if (!wider) return OSV_FAIL(e, OSV_DEVICE, "out of memory for configurations");
        s->line = wider;
        s->line_room = room;
    }
    *line = &s->line[s->lines++];
    **line = (train_line){.options = *o};
    return OSV_OK;
}

static int keep_text(train_sweep *s, char *text, osv_error *e)
{
    if (s->texts == s->text_room) {
        int room = 2 * s->text_room + 64;
        char **wider = realloc(s->text, (size_t)room * sizeof *wider);
        if (!wider) {
            free(text);
            return OSV_FAIL(e, OSV_DEVICE, "out of memory for configurations");
        }
        s->text = wider;
        s->text_room = room;
    }
    s->text[s->texts++] = text;
    return OSV_OK;
}

int train_sweep_add(train_sweep *s, const train_options *o, const char *job, const char *layer, osv_error *e)
{
    train_line *line;
    char *text = strdup(layer);
    if (!text) return OSV_FAIL(e, OSV_DEVICE, "out of memory for configurations");
    OSV_TRY(keep_text(s, text, e));
    OSV_TRY(add_line(&line, s, o, e));
    line->job = job;
    line->options.layer_text = text;
    return train_options_resolve(&line->options, e);
}

/* ---- the file ---- */

static bool is_job_option(const char *key)
{
    if (strcmp(key, "seeds") == 0) return true; /* the same field as seed */
    for (const train_job_option *k = train_job_options; k->option; k++)
        if (strcmp(k->option, key) == 0) return true;
    return false;
}

static int fail_key(const char *key, osv_error *e)
{
    char known[512] = "job, name, seeds";
    if (osv_options_find(train_option_table, key))
        return OSV_FAIL(e, OSV_USAGE, "\"%s\" is the same for the whole run; give it on the command line%s",
                        key, strcmp(key, "positions") == 0 ? ", or in the datapoints" : "");
    for (const train_job_option *k = train_job_options; k->option; k++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", k->option);
    }
    return OSV_FAIL(e, OSV_USAGE, "unknown key \"%.80s\"; known are %s", key, known);
}

static int set_option(train_sweep *s, train_line *line, const char *key, const json_t *value, osv_error *e)
{
    char *text = NULL;
    if (!is_job_option(key)) return fail_key(key, e);
    int status =
        osv_option_set_json(osv_options_find(train_option_table, key), value, &text, &line->options, e);
    if (text && keep_text(s, text, e)) return e->status;
    return status;
}

static int read_name(const char **name, const char *key, const json_t *value, osv_error *e)
{
    char shown[64];
    *name = json_string_value(value);
    if (!*name)
        return OSV_FAIL(e, OSV_USAGE, "\"%s\" must be a string, not %s", key,
                        osv_json_show(value, shown, sizeof shown));
    return osv_job_name_check(*name, key, e);
}

static int read_keys(train_sweep *s, train_line *line, json_t *object, osv_error *e)
{
    const char *key;
    json_t *value;
    if (json_object_get(object, "seed") && json_object_get(object, "seeds"))
        return OSV_FAIL(e, OSV_USAGE, "both \"seed\" and \"seeds\"");
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "job") == 0)
            OSV_TRY(read_name(&line->job, key, value, e));
        else if (strcmp(key, "name") == 0)
            OSV_TRY(read_name(&line->name, key, value, e));
        else
            OSV_TRY(set_option(s, line, key, value, e));
    }
    if (!line->options.layer_text)
        return OSV_FAIL(e, OSV_USAGE,
                        "\"layer\" is missing: the block that the vector enters; give it here "
                        "or on the command line");
    return train_options_resolve(&line->options, e);
}

typedef struct {
    train_sweep *sweep;
    const train_options *options;
} reading;

static int read_line(void *context, json_t *object, int number, const char *where, osv_error *e)
{
    reading *r = context;
    train_line *line;
    (void)where;
    OSV_TRY(add_line(&line, r->sweep, r->options, e));
    line->line = number;
    osv_error cause = {0};
    if (json_array_append(r->sweep->objects, object))
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for --sweep");
    return read_keys(r->sweep, line, object, &cause) ? train_line_fail(r->sweep, line, &cause, e) : OSV_OK;
}

int train_sweep_open(train_sweep *s, const train_options *o, osv_error *e)
{
    train_line *line;
    *s = (train_sweep){.path = o->sweep};
    if (!o->sweep) return add_line(&line, s, o, e);
    reading r = {.sweep = s, .options = o};
    int count;
    s->objects = json_array();
    if (!s->objects) return OSV_FAIL(e, OSV_DEVICE, "out of memory for --sweep");
    OSV_TRY(osv_json_lines(o->sweep, read_line, &r, &count, e));
    if (count == 0) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: no configurations, nothing to train", o->sweep);
    return OSV_OK;
}

void train_sweep_close(train_sweep *s)
{
    for (int i = 0; i < s->texts; i++) free(s->text[i]);
    free(s->text);
    free(s->line);
    json_decref(s->objects);
    *s = (train_sweep){0};
}

/* ---- several values ---- */

static int at_least_one(int count)
{
    return count ? count : 1;
}

int train_line_jobs(const train_options *o)
{
    const int values[] = {o->joint ? 1 : o->layers, o->seeds.count, o->max_norm.count, o->lr.count,
                          o->init_norm.count};
    long jobs = 1;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        jobs *= at_least_one(values[i]);
        if (jobs > TRAIN_MOST_JOBS) return -1;
    }
    return (int)jobs;
}

/* The place of the innermost loop, whose length is `count`. */
static int innermost(int *i, int count)
{
    int at = *i % at_least_one(count);
    *i /= at_least_one(count);
    return at;
}

void train_line_seed(const train_options *o, int i, int *seed, int *other)
{
    int within = at_least_one(o->max_norm.count) * at_least_one(o->lr.count) *
                 at_least_one(o->init_norm.count);
    int seeds = at_least_one(o->seeds.count);
    *seed = i / within % seeds;
    *other = i / (within * seeds) * within + i % within;
}

void train_line_job(train_options *job, const train_options *o, int i)
{
    *job = *o;
    osv_option_one_number(&job->init_norm, innermost(&i, o->init_norm.count));
    osv_option_one_number(&job->lr, innermost(&i, o->lr.count));
    osv_option_one_number(&job->max_norm, innermost(&i, o->max_norm.count));
    osv_option_one_seed(&job->seeds, innermost(&i, o->seeds.count));
    if (!o->joint) {
        job->layer[0] = o->layer[i];
        job->layers = 1;
    }
    job->job.lr = job->lr.value[0];
    job->job.init_norm = job->init_norm.value[0];
    if (job->max_norm.count) job->job.max_norm = job->max_norm.value[0];
    job->job.seed = osv_option_seed(&job->seeds, 0);
}
