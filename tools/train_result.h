/* What osv-train says on standard output: text for people, one JSON object for machines. And run.json. */
#ifndef OSV_TOOLS_TRAIN_RESULT_H
#define OSV_TOOLS_TRAIN_RESULT_H

#include <jansson.h>

#include "tools/train_report.h"

/* before, after [completions of all jobs]: ln P(completion), unsteered and with the vector; of jobs that have
 * not begun `after` is NaN. */
int train_result_tell(const train_report *r, const double *before, const double *after, osv_error *e);

/* How the run ends: a job whose loss stopped being a number is the error of the run, the first one; what was
 * kept is written. Else whether it was interrupted. */
int train_result_verdict(const train_report *r, osv_error *e);

/* run.json: all arguments as they were resolved, model, tokenizer and data, build, hardware, units. Before
 * the weights are there the hash of the model is null. */
int train_run_json(json_t **out, const train_setup *s);

/* All ranks have read the same jobs, and vectors to start from. */
int train_run_agree(const train_setup *s);

#endif
