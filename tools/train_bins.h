/* Which jobs are trained together if none ends before the others of its bin: for plans and for run.json. */
#ifndef OSV_TOOLS_TRAIN_BINS_H
#define OSV_TOOLS_TRAIN_BINS_H

#include <jansson.h>

#include "optim/pack.h"

/* Calls f for every bin, in order: its jobs are job[0 .. size->jobs), indexes of t->job. */
int train_bins_each(const osv_training *t, int (*f)(void *context, const int *job, const osv_bin_size *size),
                    void *context);

/* [["a", "b"], ["c"]]: the names; NULL after a failure. */
json_t *train_bins_json(const osv_training *t);

#endif
