/* The end of units: what each leaves in its folder besides what every run does, and how they become one run,
 * with the files of one that was never divided. */
#ifndef OSV_TOOLS_TRAIN_JOIN_H
#define OSV_TOOLS_TRAIN_JOIN_H

#include "tools/train_work.h"

/* The last file of a unit that has ended: how likely the completions are, before and after. */
int train_join_prepare(const train_work *unit);
/* Has the unit ended? */
int train_join_ready(bool *ready, const train_setup *s, int unit);

/* All units have ended. Puts their vectors, traces and checkpoints together in the run of r, which is new,
 * fills it and before, after [completions of all jobs], and removes the units. Whenever this is cut off it
 * can be done once more: the checkpoint of the whole comes last. */
int train_join(train_report *r, double *before, double *after);

#endif
