/* What a run of osv-train needs, opened in the order in which mistakes are cheap: options, backend, run
 * directory (only looked at), config, tokenizer, data, jobs, and last the weights. Everything is owned by
 * train_setup and released by train_setup_close, in whatever state opening has left it. */
#ifndef OSV_TOOLS_TRAIN_SETUP_H
#define OSV_TOOLS_TRAIN_SETUP_H

#include "kernels/comm.h"
#include "loader/checkpoint.h"
#include "tools/train_jobs.h"

typedef struct {
    const train_options *options;
    osv_error *error; /* also the ops' sticky one */
    osv_ops *ops;
    osv_comm *comm;
    int threads;
    osv_config config;
    osv_tokenizer
        *tokenizer; /* NULL: the model has none that can be used; then error_of_tokenizer says why */
    osv_error error_of_tokenizer;
    osv_dataset *data;
    float *init; /* [D] or NULL */
    train_jobs jobs;
    osv_model model;
    osv_checkpoint *checkpoint; /* NULL until the weights are there */
    char
        *model_name; /* "meta-llama/Llama-3.1-8B" for a snapshot of the hub's cache, else the folder's name */
} train_setup;

/* All but the weights. */
int train_setup_open(train_setup *s, const train_options *o, osv_error *e);
int train_setup_weights(train_setup *s);
void train_setup_close(train_setup *s);

#endif
