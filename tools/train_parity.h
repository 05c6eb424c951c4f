/* --parity: what the published reference implementation does otherwise, by name. docs/parity.md has the whole
 * list, with what is not reproduced and why. */
#ifndef OSV_TOOLS_TRAIN_PARITY_H
#define OSV_TOOLS_TRAIN_PARITY_H

#include "tools/train_options.h"

/* "reference" for all of them, or names with commas between; the options are resolved but for this. */
int train_parity_resolve(train_options *o, osv_error *e);

#endif
