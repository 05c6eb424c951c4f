/* Completions that beam search is to find: what datapoints promote by "promote_from_beam". */
#ifndef OSV_TOOLS_TRAIN_BEAMS_H
#define OSV_TOOLS_TRAIN_BEAMS_H

#include "tools/train_setup.h"

/* With the weights: searches for all that are not found yet, and says on standard error what they are. */
int train_beams_find(train_setup *s);

#endif
