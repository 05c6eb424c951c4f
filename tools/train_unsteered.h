/* What jobs need of the unsteered model's losses, measured as soon as there are weights: targets that are
 * multiples of them, and what preferences are compared with. */
#ifndef OSV_TOOLS_TRAIN_UNSTEERED_H
#define OSV_TOOLS_TRAIN_UNSTEERED_H

#include "tools/train_setup.h"

/* Measures them in the same kind of loss, coldness, eps and length norm as the losses that they are compared
 * with, and puts targets and references into the jobs. */
int train_unsteered_measure(train_setup *s);

/* {"target_loss": nats or null, "targets": [nats or null, one a completion]}, once they are resolved; NULL
 * where none of the job's targets is relative. */
json_t *train_targets_json(const train_jobs *t, int job);
/* What they came to, a line a job, on standard error; of many jobs the first ones. */
void train_targets_print(const train_jobs *t);

#endif
