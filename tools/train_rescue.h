/* The checkpoint that every rank has in memory, for the case that another one is lost: the lowest rank that
 * is left writes it, from the thread that watches, without a word to the others or to the device. */
#ifndef OSV_TOOLS_TRAIN_RESCUE_H
#define OSV_TOOLS_TRAIN_RESCUE_H

#include "loader/safetensors.h"

/* Takes `checkpoint` over, the file `name` of this folder, in the place of the one before. */
int train_rescue_keep(const char *folder, const char *name, osv_packed checkpoint, osv_error *e);
/* What it was for is closed. */
void train_rescue_forget(void);

#endif
