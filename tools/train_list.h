/* The jobs of a run, as osv-train --list prints them and run.json keeps them. */
#ifndef OSV_TOOLS_TRAIN_LIST_H
#define OSV_TOOLS_TRAIN_LIST_H

#include "tools/train_jobs.h"

/* Name, "job" in the data, layer, what it trains on, and "options": those that differ between the jobs of the
 * run, or all that may. */
json_t *train_job_json(const train_jobs *t, int job, bool all);

/* A table, or one object a line, with all options and "varies", those that have more than one value. */
int train_list_print(const train_jobs *t, bool json, osv_error *e);

#endif
