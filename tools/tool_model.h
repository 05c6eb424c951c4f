/* A model as the tools open it: backend, folder, tokenizer, and later the weights, in the order in which
 * mistakes are cheap. Owned by tool_model and released by tool_model_close, in whatever state opening has
 * left it (a struct of zeros included). */
#ifndef OSV_TOOLS_TOOL_MODEL_H
#define OSV_TOOLS_TOOL_MODEL_H

#include "kernels/comm.h"
#include "loader/chat.h"
#include "loader/checkpoint.h"
#include "loader/tokenizer.h"

/* Where it is computed. */
typedef struct {
    const char *backend; /* "auto", "cpu", ... */
    int dtype;           /* osv_dtype */
    int threads;         /* 0: one a processor */
} tool_machine;

typedef struct {
    const char *dir;
    osv_error *error; /* also the ops' sticky one */
    osv_ops *ops;
    osv_comm *comm;
    int threads;
    osv_config config;
    osv_tokenizer *tokenizer; /* NULL: none that can be used; then error_of_tokenizer says why */
    osv_error error_of_tokenizer;
    osv_chat *chat; /* NULL: the model's format is not known; then error_of_chat says why */
    osv_error error_of_chat;
    osv_model model;
    osv_checkpoint *checkpoint; /* NULL until the weights are there */
    char *name; /* "meta-llama/Llama-3.1-8B" for a snapshot of the hub's cache, else the folder's name */
} tool_model;

/* All but the weights. Data of token ids need no tokenizer and raw text needs no chat format, so what is
 * wrong with them matters only once there is text, or messages; but a format that was asked for by name, not
 * as "auto", has to exist. */
int tool_model_open(tool_model *m, const char *dir, const char *chat, tool_machine machine, osv_error *e);
int tool_model_weights(tool_model *m);
void tool_model_close(tool_model *m);

#endif
