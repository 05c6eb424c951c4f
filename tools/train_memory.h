/* How much memory a run of osv-train may take, and what of it is left for bins of jobs. */
#ifndef OSV_TOOLS_TRAIN_MEMORY_H
#define OSV_TOOLS_TRAIN_MEMORY_H

#include <jansson.h>

#include "engine/model.h"
#include "kernels/backend.h"
#include "kernels/comm.h"

typedef struct {
    size_t limit;   /* bytes for everything */
    size_t weights; /* mapped or copied */
    size_t fixed;   /* scratch and workspaces, whatever the model */
    size_t runtime; /* what the libraries take for themselves, about */
    size_t teacher; /* distributions to match, in host memory: part of the limit where that is what is
                       computed in */
    size_t bin;     /* left for what jobs need; 0: no limit */
} train_memory;

/* `limit`: what --memory says; 0: what is free now of the memory that the ops compute in, shared by the ranks
 * of this host, of which there are `local`, replicas included, as far as the launcher says. `teacher`: bytes
 * of the distributions. `model` has its weights placed. Too little is OSV_DEVICE; of several ranks the one
 * that has least left decides. */
int train_memory_find(train_memory *m, size_t limit, size_t teacher, const osv_footprint *f, osv_model *model,
                      osv_ops *o, osv_comm *comm, int local);
/* The same before anything is loaded, for one of the `neighbours` ranks of a host; with cuda and no limit, as
 * if each had a card of TRAIN_MEMORY_CARD bytes. A model that is too large for the memory at hand is planned
 * all the same, with as much as it takes: bin 0. */
int train_memory_plan(train_memory *m, size_t limit, size_t teacher, const osv_footprint *f,
                      osv_model *shapes, int neighbours, osv_error *e);
static const size_t TRAIN_MEMORY_CARD = (size_t)80 << 30;

/* The format of matrices as the backend would have them, for osv_model_shapes. */
osv_format train_memory_format(const osv_footprint *f, const osv_config *c);

/* What of the limit is taken before there is a bin. */
size_t train_memory_taken(const train_memory *m, const osv_footprint *f);

json_t *train_memory_json(const train_memory *m);

#endif
