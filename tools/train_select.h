/* Some of a run's jobs, as if they were all. */
#ifndef OSV_TOOLS_TRAIN_SELECT_H
#define OSV_TOOLS_TRAIN_SELECT_H

#include "tools/train_jobs.h"

/* job [jobs]: indexes, rising; what one of them comes after (osv_job.before) is among them. They point into
 * `all`, which must outlive them; released by train_jobs_free. */
int train_jobs_select(train_jobs *some, const train_jobs *all, const int *job, int jobs, osv_error *e);

#endif
