#include "tools/train_setup.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"
#include "optim/dump.h"
#include "optim/run_directory.h"
#include "optim/vector_file.h"
#include "tools/train_beams.h"

static int check_layers(const train_setup *s)
{
    for (int k = 0; k < s->sweep.lines; k++) {
        const train_options *o = &s->sweep.line[k].options;
        osv_error cause = {0};
        for (int i = 0; i < o->layers; i++)
            if (o->layer[i] >= s->m.config.N)
                OSV_FAIL(&cause, OSV_USAGE, "--layer %s: %s has blocks 0 to %d, no block %d", o->layer_text,
                         o->model, s->m.config.N - 1, o->layer[i]);
        if (o->melbo >= s->m.config.N)
            OSV_FAIL(&cause, OSV_USAGE, "--melbo %d: %s has blocks 0 to %d, no block %d", o->melbo, o->model,
                     s->m.config.N - 1, o->melbo);
        if (cause.status) return train_line_fail(&s->sweep, &s->sweep.line[k], &cause, s->error);
    }
    return OSV_OK;
}

/* Does a configuration need no completions? */
static bool any_melbo(const train_sweep *s)
{
    for (int k = 0; k < s->lines; k++)
        if (s->line[k].options.melbo) return true;
    return false;
}

static int read_data(train_setup *s)
{
    const train_options *o = s->options;
    const osv_dataset_options options = {.tokenizer = s->m.tokenizer,
                                         .tokenizer_missing = s->m.error_of_tokenizer.text,
                                         .chat = s->m.chat,
                                         .chat_missing = s->m.error_of_chat.text,
                                         .V = s->m.config.V,
                                         .positions = s->m.config.positions,
                                         .default_positions = o->positions,
                                         .boundary = (osv_boundary)o->boundary,
                                         .match_tokens = o->match_tokens,
                                         .beam_tokens = o->beam_tokens,
                                         .beam = o->beam,
                                         .prompt_alone = any_melbo(&s->sweep),
                                         .stage = o->stage};
    return osv_dataset_read(&s->data, o->data, &options, s->error);
}

/* The start parameters from a file: only those that training needs, whatever else is in it. The offset of a
 * clamp is not among them. */
static int read_init(float **init, const train_setup *s, const train_options *o, osv_error *e)
{
    osv_form form = o->form;
    bool offset = form.offset;
    int D = s->m.config.D, blocks = o->apart ? o->layers : 1;
    float *read;
    form.offset = false;
    OSV_TRY(osv_vector_read(o->init, &read, D, form, o->apart ? o->layer : NULL, blocks, e));
    *init = read;
    if (!offset) return OSV_OK;
    *init = calloc(2 * (size_t)blocks * (size_t)D, sizeof **init); /* room for the offsets */
    for (int i = 0; *init && i < blocks; i++)
        memcpy(*init + 2 * (size_t)i * (size_t)D, read + (size_t)i * (size_t)D, (size_t)D * sizeof **init);
    free(read);
    return *init ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

/* --orthogonal-to: a file's vector, or those of its blocks, behind those of the files before. */
static int append_orthogonal(train_start *start, const char *path, const train_setup *s,
                             const train_options *o, osv_error *e)
{
    static const osv_form add = {.kind = OSV_FORM_ADD};
    size_t numbers = (o->apart ? (size_t)o->layers : 1) * (size_t)s->m.config.D, all;
    float *read, *wider;
    OSV_TRY(osv_vector_read(path, &read, s->m.config.D, add, o->apart ? o->layer : NULL,
                            o->apart ? o->layers : 1, e));
    all = start->orthogonal_numbers + numbers;
    wider = realloc(start->orthogonal, all * sizeof *wider);
    if (wider) {
        memcpy(wider + start->orthogonal_numbers, read, numbers * sizeof *read);
        start->orthogonal = wider;
        start->orthogonal_numbers = all;
        start->given++;
    }
    free(read);
    return wider ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

static int read_orthogonal(train_start *start, const train_setup *s, const train_options *o, osv_error *e)
{
    int status = OSV_OK;
    for (const char *at = o->orthogonal_to; at && !status;) {
        size_t length = strcspn(at, ",");
        char *path = strndup(at, length);
        if (!path) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
        status = append_orthogonal(start, path, s, o, e);
        free(path);
        at = at[length] ? at + length + 1 : NULL;
    }
    return status;
}

static int read_start(train_start *start, const train_setup *s, const train_options *o, osv_error *e)
{
    static const osv_form add = {.kind = OSV_FORM_ADD};
    size_t blocks = o->apart ? (size_t)o->layers : 1, D = (size_t)s->m.config.D;
    if (o->init) OSV_TRY(read_init(&start->init, s, o, e));
    if (o->init) start->numbers = blocks * (size_t)osv_form_params(o->form) * D;
    if (o->offset) OSV_TRY(osv_vector_read(o->offset, &start->offset, s->m.config.D, add, NULL, 1, e));
    return o->orthogonal_to ? read_orthogonal(start, s, o, e) : OSV_OK;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_start(const train_options *a, const train_options *b)
{
    return same_text(a->init, b->init) && same_text(a->offset, b->offset) &&
           same_text(a->orthogonal_to, b->orthogonal_to) && a->apart == b->apart &&
           same_text(a->apply, b->apply) && a->rank == b->rank &&
           (!a->apart || a->layer_text == b->layer_text);
}

/* Configurations that follow each other with the same files share what is in them. */
static int read_starts(train_setup *s)
{
    const train_line *line = s->sweep.line;
    s->start = calloc((size_t)s->sweep.lines + 1, sizeof *s->start);
    if (!s->start) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    for (int k = 0; k < s->sweep.lines; k++) {
        osv_error cause = {0};
        if (k > 0 && same_start(&line[k - 1].options, &line[k].options))
            s->start[k] = s->start[k - 1];
        else if (read_start(&s->start[k], s, &line[k].options, &cause))
            return train_line_fail(&s->sweep, &line[k], &cause, s->error);
    }
    return OSV_OK;
}

/* Of all that is run, the longest text. */
static void find_longest(train_setup *s)
{
    for (int i = 0; i < s->jobs.completions; i++) {
        const osv_completion *k = s->jobs.source[i].completion;
        tool_model_longest(&s->m, k->count);
        tool_model_longest(&s->m, k->under.count + k->count - k->prompt);
        if (!k->beam) continue;
        tool_model_longest(&s->m, k->beam->prompt.count + k->count - k->prompt);
        tool_model_longest(&s->m, k->beam->minus.count + k->count - k->prompt);
    }
}

static void free_jobs(train_setup *s)
{
    train_lessons_close(&s->lessons);
    train_jobs_free(&s->jobs);
    for (int k = 0; s->start && k < s->sweep.lines; k++) {
        if (k == 0 || s->start[k].init != s->start[k - 1].init) free(s->start[k].init);
        if (k == 0 || s->start[k].offset != s->start[k - 1].offset) free(s->start[k].offset);
        if (k == 0 || s->start[k].orthogonal != s->start[k - 1].orthogonal) free(s->start[k].orthogonal);
    }
    free(s->start);
    s->start = NULL;
    train_sweep_close(&s->sweep);
}

/* In a scan all configurations are alike that differ in where a vector enters, how, and where it starts. */
static void keep_one(train_options *line)
{
    train_options o = *line;
    o.joint = o.apart = false;
    o.init = o.offset = o.orthogonal_to = NULL;
    o.orthogonal = false;
    train_line_job(line, &o, 0);
}

static int make_jobs(train_setup *s)
{
    OSV_TRY(train_jobs_make(&s->jobs, s->data, &s->sweep, s->start, s->error));
    return train_lessons_open(&s->lessons, &s->jobs, &s->teachers, s->m.config.V, s->error);
}

int train_setup_write(train_setup *s)
{
    if (!train_unwritten(s->data)) return OSV_OK;
    OSV_TRY(train_teachers_write(&s->teachers, s->data, &s->m, s->options->match_tokens));
    OSV_TRY(train_beams_find(s));
    train_lessons_close(&s->lessons);
    train_jobs_free(&s->jobs);
    return make_jobs(s);
}

int train_setup_open(train_setup *s, const train_options *o, osv_error *e)
{
    *s = (train_setup){.options = o, .error = e};
    osv_run_mode mode = o->force ? OSV_RUN_REPLACE : o->resume ? OSV_RUN_RESUME : OSV_RUN_NEW;
    bool computes = !o->plan && !o->list;
    if (o->dump)
        OSV_TRY(osv_dump_check(o->dump, o->force, e));
    else if (computes && o->out)
        OSV_TRY(osv_run_check(o->out, mode, e));
    OSV_TRY(train_sweep_open(&s->sweep, o, e));
    OSV_TRY((computes ? tool_model_open : tool_model_plan)(&s->m, o->model, o->chat, &o->machine, e));
    OSV_TRY(check_layers(s));
    if (o->scan) keep_one(&s->sweep.line[0].options);
    OSV_TRY(read_starts(s));
    OSV_TRY(read_data(s));
    OSV_TRY(train_teachers_open(&s->teachers, o, s->data, &s->m, e));
    OSV_TRY(make_jobs(s));
    find_longest(s);
    return OSV_OK;
}

int train_setup_layers(train_setup *s, const char *const *layer)
{
    train_sweep sweep = {0};
    int status = OSV_OK;
    for (int j = 0; j < s->jobs.jobs && !status; j++)
        status = train_sweep_add(&sweep, s->options, s->jobs.origin[j].group, layer[j], s->error);
    free_jobs(s);
    s->sweep = sweep;
    if (!status) status = read_starts(s);
    return status ? status : make_jobs(s);
}

void train_setup_close(train_setup *s)
{
    osv_units_free(&s->units);
    free_jobs(s);
    train_teachers_close(&s->teachers);
    tool_model_close(&s->m);
    if (s->data) osv_dataset_free(s->data);
}

bool train_setup_writes(const train_setup *s)
{
    return s->m.comm->rank == 0 && s->m.sharers->rank == 0;
}

long long train_setup_told(const train_setup *s, long long x)
{
    return osv_comm_told(s->m.sharers, osv_comm_told(s->m.comm, x));
}

osv_training train_setup_training(const train_setup *s)
{
    return (osv_training){.ops = s->m.ops,
                          .comm = s->m.comm,
                          .data = s->m.sharers,
                          .model = &s->m.model,
                          .on = osv_all_on,
                          .job = s->jobs.job,
                          .jobs = s->jobs.jobs,
                          .memory = s->memory.bin};
}
