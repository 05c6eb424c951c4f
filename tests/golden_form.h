/* The cases of tests/golden/forms and melbo, which say all of a job themselves. */
#ifndef OSV_TESTS_GOLDEN_FORM_H
#define OSV_TESTS_GOLDEN_FORM_H

#include "optim/teacher.h"
#include "tests/golden_case.h"

enum {
    FORM_COMPLETIONS = 4,
    FORM_TOKENS = 16,
    FORM_MATCHED = 2,
    FORM_V = 320,
    FORM_LAYERS = 4
}; /* at most */

/* It points into itself: it must not move. */
typedef struct {
    int ids[FORM_COMPLETIONS][FORM_TOKENS], layer[FORM_LAYERS];
    signed char steer[FORM_COMPLETIONS][FORM_TOKENS];
    osv_real logp[FORM_COMPLETIONS][FORM_MATCHED][FORM_V];
    const osv_real *row[FORM_COMPLETIONS][FORM_MATCHED];
    osv_sequence sequence[FORM_COMPLETIONS];
    osv_goal goal[FORM_COMPLETIONS];
    uint32_t unsteered[FORM_TOKENS];
    osv_lesson lesson[FORM_COMPLETIONS]; /* of anchors */
    osv_teacher teacher;
    osv_job job;
} golden_form; /* too large for the stack of a thread */

/* The job with its start parameters. It takes all its steps, whatever the losses are. What anchors are held
 * to, the model says. */
void golden_form_open(golden_form *f, golden_model *g, const json_t *golden_case);
void golden_form_close(golden_form *f);

#endif
