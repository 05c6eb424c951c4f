/* A training of one job, recorded: what it told line by line, and where it ended. */
#ifndef OSV_TESTS_GOLDEN_TRACE_H
#define OSV_TESTS_GOLDEN_TRACE_H

#include "tests/golden_case.h"

enum { GOLDEN_LINES = 64, GOLDEN_ROWS = 16 }; /* at most */

typedef struct {
    int lines, kept; /* steps before what is kept: in the first phase all */
    bool finished;
    osv_stop stopped;
    double loss[GOLDEN_LINES], norm[GOLDEN_LINES], grad_norm[GOLDEN_LINES],
        losses[GOLDEN_LINES][GOLDEN_COMPLETIONS];
    double final[GOLDEN_ROWS * GOLDEN_D];
} golden_trace; /* too large for the stack of a thread */

/* Fails where a report is missing or comes twice. */
void golden_train(golden_model *g, const osv_job *job, golden_trace *t);

#endif
