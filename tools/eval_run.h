/* Every prompt of a set under every condition: unsteered, then each scale. */
#ifndef OSV_TOOLS_EVAL_RUN_H
#define OSV_TOOLS_EVAL_RUN_H

#include "tools/eval_set.h"
#include "tools/progress.h"

typedef struct {
    const eval_options *options;
    tool_model *m; /* with its weights */
    const tool_steering *steering;
    osv_ids stop;
    osv_progress progress;
    long done, all; /* answers */
} eval_run;

/* answer [prompts of the set][1 + scales], filled and owned by the caller (eval_answers_free). A model whose
 * logits are no numbers is OSV_BAD_INPUT. */
int eval_run_set(eval_run *r, const eval_set *s, eval_answer **answer, osv_error *e);
void eval_answers_free(eval_answer *answer, const eval_set *s, int scales);

#endif
