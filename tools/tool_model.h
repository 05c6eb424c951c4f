/* A model as the tools open it: backend, folder, tokenizer, and later the weights, in the order in which
 * mistakes are cheap. Owned by tool_model and released by tool_model_close, in whatever state opening has
 * left it (a struct of zeros included). */
#ifndef OSV_TOOLS_TOOL_MODEL_H
#define OSV_TOOLS_TOOL_MODEL_H

#include "kernels/backend.h"
#include "kernels/comm.h"
#include "loader/chat.h"
#include "loader/checkpoint.h"
#include "loader/tokenizer.h"

/* The options of every tool that say where it is computed, read into the field `machine` of its struct: lines
 * of its table, FIELD(name) being .offset of a field. */
#define TOOL_MACHINE_OPTIONS                                                                           \
    {"backend",                                                                                        \
     "auto|cpu|cuda|ref",                                                                              \
     "auto",                                                                                           \
     "auto: cuda where there is a GPU; ref: slow, the reference",                                      \
     OSV_OPTION_TEXT,                                                                                  \
     FIELD(machine.backend),                                                                           \
     .group = "Machine:"},                                                                             \
        {"dtype",                                                                                      \
         "f32|bf16|auto",                                                                              \
         "auto",                                                                                       \
         "weights and products; auto: bf16 with cuda, else f32",                                       \
         OSV_OPTION_CHOICE,                                                                            \
         FIELD(machine.dtype)},                                                                        \
        {"device",       "N",                                                                          \
         NULL,           "GPU of the cuda backend, counted from 0 (default: the first)",               \
         OSV_OPTION_INT, FIELD(machine.device),                                                        \
         .low = 0,       .high = 1023},                                                                \
    {                                                                                                  \
        "threads", "N", NULL, "threads of the cpu backend (default: one a processor)", OSV_OPTION_INT, \
            FIELD(machine.threads), .low = 1, .high = 1024                                             \
    }
/* And of those that several ranks can do together, with tools/ranks.h. */
#define TOOL_RANK_OPTIONS                                                                            \
    {"tp",           "N",                                                                            \
     NULL,           "ranks that share the model (default: all that were started)",                  \
     OSV_OPTION_INT, FIELD(machine.tp),                                                              \
     .low = 1,       .high = OSV_RANKS},                                                             \
        {"comm",                                                                                     \
         "auto|mpi|nccl|tcp",                                                                        \
         "auto",                                                                                     \
         "between ranks; auto: nccl with GPUs, else mpi, else tcp",                                  \
         OSV_OPTION_CHOICE,                                                                          \
         FIELD(machine.comm)},                                                                       \
    {                                                                                                \
        "comm-timeout", "SECONDS", "30", "without a word from a rank it is lost", OSV_OPTION_NUMBER, \
            FIELD(machine.timeout), .low = 1, .high = 86400                                          \
    }
/* What they are before the command line is read. */
#define TOOL_MACHINE_DEFAULT \
    (osv_machine)            \
    {                        \
        .device = -1         \
    }

typedef struct {
    const char *dir;
    osv_error *error; /* also the ops' sticky one */
    osv_ops *ops;
    osv_comm *comm;    /* of the ranks that share the model */
    osv_comm *sharers; /* of the replicas that divide completions among them; else self */
    osv_world *world;  /* of several ranks */
    int threads;
    osv_footprint footprint; /* of the backend */
    osv_config config;
    int longest;              /* sequence of the run, in tokens: tool_model_longest */
    osv_tokenizer *tokenizer; /* NULL: none that can be used; then error_of_tokenizer says why */
    osv_error error_of_tokenizer;
    osv_chat *chat; /* NULL: the model's format is not known; then error_of_chat says why */
    osv_error error_of_chat;
    osv_model model;
    osv_checkpoint *checkpoint; /* NULL until the weights are there */
    char *name; /* "meta-llama/Llama-3.1-8B" for a snapshot of the hub's cache, else the folder's name; or
                   "random:llama-3.1-8b" */
} tool_model;

/* All but the weights. Data of token ids need no tokenizer and raw text needs no chat format, so what is
 * wrong with them matters only once there is text, or messages; but a format that was asked for by name, not
 * as "auto", has to exist. */
int tool_model_open(tool_model *m, const char *dir, const char *chat, const osv_machine *machine,
                    osv_error *e);
/* The same for a plan of what would be done: the machine need not be there, and computes nothing. */
int tool_model_plan(tool_model *m, const char *dir, const char *chat, const osv_machine *machine,
                    osv_error *e);
/* The run has a sequence of so many tokens, its last one included; for all of them before tool_model_weights,
 * or a plan: by the longest one some models choose their rotary embeddings (osv_rope_fit). */
void tool_model_longest(tool_model *m, int tokens);
int tool_model_weights(tool_model *m);
void tool_model_close(tool_model *m);

#endif
