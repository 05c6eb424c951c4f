#include "tools/train_setup.h"

#include <stdlib.h>
#include <string.h>

#include "optim/dump.h"
#include "optim/run_directory.h"
#include "optim/vector_file.h"

static int check_layers(const train_setup *s)
{
    for (int k = 0; k < s->sweep.lines; k++) {
        const train_options *o = &s->sweep.line[k].options;
        osv_error cause = {0};
        for (int i = 0; i < o->layers; i++)
            if (o->layer[i] >= s->m.config.N)
                OSV_FAIL(&cause, OSV_USAGE, "--layer %s: %s has blocks 0 to %d, no block %d", o->layer_text,
                         o->model, s->m.config.N - 1, o->layer[i]);
        if (cause.status) return train_line_fail(&s->sweep, &s->sweep.line[k], &cause, s->error);
    }
    return OSV_OK;
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
                                         .boundary = (osv_boundary)o->boundary};
    return osv_dataset_read(&s->data, o->data, &options, s->error);
}

static int read_init(float **init, const train_setup *s, const char *path, osv_error *e)
{
    int D;
    OSV_TRY(osv_vector_read(path, init, &D, e));
    if (D != s->m.config.D)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: its vector has %d elements, but the width of %s is %d", path,
                        D, s->options->model, s->m.config.D);
    return OSV_OK;
}

/* Configurations that follow each other with the same file share its vector. */
static int read_inits(train_setup *s)
{
    const train_line *line = s->sweep.line;
    s->init = calloc((size_t)s->sweep.lines + 1, sizeof *s->init);
    if (!s->init) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    for (int k = 0; k < s->sweep.lines; k++) {
        const char *path = line[k].options.init;
        osv_error cause = {0};
        if (!path) continue;
        if (k > 0 && line[k - 1].options.init && strcmp(line[k - 1].options.init, path) == 0)
            s->init[k] = s->init[k - 1];
        else if (read_init(&s->init[k], s, path, &cause))
            return train_line_fail(&s->sweep, &line[k], &cause, s->error);
    }
    return OSV_OK;
}

int train_setup_open(train_setup *s, const train_options *o, osv_error *e)
{
    *s = (train_setup){.options = o, .error = e};
    osv_run_mode mode = o->force ? OSV_RUN_REPLACE : o->resume ? OSV_RUN_RESUME : OSV_RUN_NEW;
    bool computes = !o->plan && !o->list;
    if (o->dump)
        OSV_TRY(osv_dump_check(o->dump, o->force, e));
    else if (computes)
        OSV_TRY(osv_run_check(o->out, mode, e));
    OSV_TRY(train_sweep_open(&s->sweep, o, e));
    OSV_TRY((computes ? tool_model_open : tool_model_plan)(&s->m, o->model, o->chat, &o->machine, e));
    OSV_TRY(check_layers(s));
    OSV_TRY(read_inits(s));
    OSV_TRY(read_data(s));
    OSV_TRY(train_jobs_make(&s->jobs, s->data, &s->sweep, s->init, e));
    for (int i = 0; i < s->jobs.completions; i++) tool_model_longest(&s->m, s->jobs.sequence[i].count);
    return OSV_OK;
}

void train_setup_close(train_setup *s)
{
    train_jobs_free(&s->jobs);
    tool_model_close(&s->m);
    if (s->data) osv_dataset_free(s->data);
    for (int k = 0; s->init && k < s->sweep.lines; k++)
        if (k == 0 || s->init[k] != s->init[k - 1]) free(s->init[k]);
    free(s->init);
    train_sweep_close(&s->sweep);
}
