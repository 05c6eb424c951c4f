/* osv-train --scan: what every block offers, which layers to train at, and with --out their jobs. */
#ifndef OSV_TOOLS_TRAIN_SCAN_H
#define OSV_TOOLS_TRAIN_SCAN_H

#include "tools/train_setup.h"

/* With weights. Prints; then, with --out, the jobs are those of the suggested layers. */
int train_scan(train_setup *s);

#endif
