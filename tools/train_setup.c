#include "tools/train_setup.h"

#include <stdlib.h>

#include "optim/run_directory.h"
#include "optim/vector_file.h"

static int check_layers(const train_setup *s)
{
    const train_options *o = s->options;
    for (int i = 0; i < o->layers; i++)
        if (o->layer[i] >= s->m.config.N)
            return OSV_FAIL(s->error, OSV_USAGE, "--layer %s: %s has blocks 0 to %d, no block %d",
                            o->layer_text, o->model, s->m.config.N - 1, o->layer[i]);
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

static int read_init(train_setup *s)
{
    const char *path = s->options->init;
    int D;
    if (!path) return OSV_OK;
    OSV_TRY(osv_vector_read(path, &s->init, &D, s->error));
    if (D != s->m.config.D)
        return OSV_FAIL(s->error, OSV_BAD_INPUT, "%s: its vector has %d elements, but the width of %s is %d",
                        path, D, s->options->model, s->m.config.D);
    return OSV_OK;
}

int train_setup_open(train_setup *s, const train_options *o, osv_error *e)
{
    *s = (train_setup){.options = o, .error = e};
    osv_run_mode mode = o->force ? OSV_RUN_REPLACE : o->resume ? OSV_RUN_RESUME : OSV_RUN_NEW;
    if (!o->plan) OSV_TRY(osv_run_check(o->out, mode, e));
    OSV_TRY(tool_model_open(&s->m, o->model, o->chat, &o->machine, e));
    OSV_TRY(check_layers(s));
    OSV_TRY(read_init(s));
    OSV_TRY(read_data(s));
    return train_jobs_make(&s->jobs, s->data, o, s->init, e);
}

void train_setup_close(train_setup *s)
{
    train_jobs_free(&s->jobs);
    tool_model_close(&s->m);
    if (s->data) osv_dataset_free(s->data);
    free(s->init);
}
