/* Names of jobs: the data's name, followed by what has more than one value in the run, such as all.8.s3.n20.
 */
#ifndef OSV_TOOLS_TRAIN_NAMES_H
#define OSV_TOOLS_TRAIN_NAMES_H

#include "tools/train_jobs.h"

/* Fills t->varies, t->name and the names of the jobs; two that come out the same, and one too long for a file
 * name, are errors. */
int train_names_make(train_jobs *t, osv_error *e);

#endif
