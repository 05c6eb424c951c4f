#include "tools/train_setup.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "loader/file.h"
#include "optim/run_directory.h"
#include "optim/vector_file.h"

/* Processors that this process may run on, which a container or taskset can make fewer than there are. */
static int processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* The hub's cache keeps a model in models--<owner>--<name>/snapshots/<hash>. */
static int name_model(train_setup *s)
{
    char *path = realpath(s->options->model, NULL);
    if (!path) return OSV_FAIL(s->error, OSV_BAD_INPUT, "%s: no such folder", s->options->model);
    char *snapshots = strstr(path, "/snapshots/");
    if (snapshots) *snapshots = '\0';
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (snapshots && strncmp(name, "models--", 8) == 0) name += 8;
    s->model_name = strdup(name);
    free(path);
    if (!s->model_name) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    char *dashes = snapshots ? strstr(s->model_name, "--") : NULL;
    if (dashes) {
        *dashes = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    }
    return OSV_OK;
}

static int check_layers(const train_setup *s)
{
    const train_options *o = s->options;
    for (int i = 0; i < o->layers; i++)
        if (o->layer[i] >= s->config.N)
            return OSV_FAIL(s->error, OSV_USAGE, "--layer %s: %s has blocks 0 to %d, no block %d",
                            o->layer_text, o->model, s->config.N - 1, o->layer[i]);
    return OSV_OK;
}

static int read_data(train_setup *s)
{
    const train_options *o = s->options;
    /* Data of token ids need no tokenizer, so what is wrong with it matters only once text is met. */
    osv_tokenizer_open(&s->tokenizer, o->model, &s->error_of_tokenizer);
    const osv_dataset_options options = {.tokenizer = s->tokenizer,
                                         .tokenizer_missing = s->error_of_tokenizer.text,
                                         .V = s->config.V,
                                         .positions = s->config.positions,
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
    if (D != s->config.D)
        return OSV_FAIL(s->error, OSV_BAD_INPUT, "%s: its vector has %d elements, but the width of %s is %d",
                        path, D, s->options->model, s->config.D);
    return OSV_OK;
}

int train_setup_open(train_setup *s, const train_options *o, osv_error *e)
{
    *s = (train_setup){.options = o, .error = e, .threads = o->threads > 0 ? o->threads : processors()};
    OSV_TRY(osv_backend_open(&s->ops, o->backend, (osv_dtype)o->dtype, s->threads, e));
    OSV_TRY(osv_comm_self_open(&s->comm, e));
    if (!o->plan) OSV_TRY(osv_run_check(o->out, o->force, e));
    OSV_TRY(name_model(s));
    OSV_TRY(osv_config_read(&s->config, o->model, e));
    OSV_TRY(check_layers(s));
    OSV_TRY(read_init(s));
    OSV_TRY(read_data(s));
    return train_jobs_make(&s->jobs, s->data, o, s->init, e);
}

int train_setup_weights(train_setup *s)
{
    OSV_TRY(osv_checkpoint_open(&s->checkpoint, &s->model, s->options->model, s->comm->rank, s->comm->size,
                                s->error));
    return osv_model_place(&s->model, s->ops);
}

void train_setup_close(train_setup *s)
{
    train_jobs_free(&s->jobs);
    if (s->checkpoint) osv_model_free(&s->model);
    if (s->ops) s->ops->close(s->ops);
    if (s->checkpoint) osv_checkpoint_close(s->checkpoint);
    if (s->comm) s->comm->close(s->comm);
    if (s->data) osv_dataset_free(s->data);
    if (s->tokenizer) osv_tokenizer_close(s->tokenizer);
    free(s->init);
    free(s->model_name);
}
