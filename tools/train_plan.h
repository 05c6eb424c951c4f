/* osv-train --plan: what would be done, from shapes alone. */
#ifndef OSV_TOOLS_TRAIN_PLAN_H
#define OSV_TOOLS_TRAIN_PLAN_H

#include "tools/train_setup.h"

/* Tokens, work and memory of every bin, on standard output. */
int train_plan_print(train_setup *s);

#endif
