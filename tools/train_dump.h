/* osv-train --dump: optim/dump.h from the command line. */
#ifndef OSV_TOOLS_TRAIN_DUMP_H
#define OSV_TOOLS_TRAIN_DUMP_H

#include "tools/train_setup.h"

/* The weights are there. Writes the folder and says what is in it. */
int train_dump(const train_setup *s);

#endif
