/* What a run of osv-train needs, opened in the order in which mistakes are cheap: options, run directory
 * (only looked at), configurations, backend, config, tokenizer, data, jobs, and last the weights. Everything
 * is owned by train_setup and released by train_setup_close, in whatever state opening has left it. */
#ifndef OSV_TOOLS_TRAIN_SETUP_H
#define OSV_TOOLS_TRAIN_SETUP_H

#include "optim/units.h"
#include "tools/tool_model.h"
#include "tools/train_jobs.h"
#include "tools/train_lessons.h"
#include "tools/train_memory.h"

typedef struct {
    const train_options *options;
    osv_error *error; /* also the ops' sticky one */
    tool_model m;
    osv_dataset *data;
    train_sweep sweep;
    train_start *start; /* [lines of the sweep] */
    train_teachers teachers;
    train_jobs jobs;
    train_lessons lessons;
    train_memory memory; /* found when the weights are there */
    osv_units units;     /* of a run of several replicas; else none */
} train_setup;

/* All but the weights (tool_model_weights). With --scan the jobs are what is scanned: one for each "job" of
 * the data. */
int train_setup_open(train_setup *s, const train_options *o, osv_error *e);
/* After a scan: layer [jobs], what stands for --layer in each of them. Then the jobs are those that the
 * options make there. */
int train_setup_layers(train_setup *s, const char *const *layer);
/* With the weights: teachers write what is to be matched, and beam search finds what is to be promoted. */
int train_setup_write(train_setup *s);
void train_setup_close(train_setup *s);

/* Of all ranks that train together: does this one write, and what has that one to say? */
bool train_setup_writes(const train_setup *s);
long long train_setup_told(const train_setup *s, long long x);

/* What the library is given of it. */
osv_training train_setup_training(const train_setup *s);

#endif
