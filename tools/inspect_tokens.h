/* Completions token by token, with what the batches of a training run make of each. */
#ifndef OSV_TOOLS_INSPECT_TOKENS_H
#define OSV_TOOLS_INSPECT_TOKENS_H

#include "tools/inspect_jobs.h"

/* On standard output, bin by bin in the order of training; the jobs are those of --data. */
int inspect_tokens(const inspect_jobs *j, const inspect_options *o, osv_error *e);

#endif
