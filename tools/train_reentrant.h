/* --reentrant: an affine map at an early block is trained on what is to be promoted and suppressed; then
 * vectors at --layer, so that the model predicts what it predicts under the map. Two runs of one command, the
 * first in the folder `early` of the second. */
#ifndef OSV_TOOLS_TRAIN_REENTRANT_H
#define OSV_TOOLS_TRAIN_REENTRANT_H

#include "tools/train_options.h"

typedef struct {
    train_options early, late;
    char layer[16]; /* of the early run, and */
    char *folder;   /* its --out */
} train_reentrant;

/* The options of both runs (with --plan and --list of the late one alone), which point into *r. What is wrong
 * with the late one, options and data, is told here and not after the early one. Released by
 * train_reentrant_free, also after a failure. */
int train_reentrant_make(train_reentrant *r, const train_options *o, osv_error *e);
void train_reentrant_free(train_reentrant *r);

#endif
