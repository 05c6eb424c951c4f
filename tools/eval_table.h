/* What osv-eval flips found, as a table, CSV or JSON. */
#ifndef OSV_TOOLS_EVAL_TABLE_H
#define OSV_TOOLS_EVAL_TABLE_H

#include "tools/eval_set.h"

/* A set and its answers [prompts][1 + scales]; borrowed. */
typedef struct {
    const eval_set *set;
    const eval_answer *answer;
} eval_result;

typedef struct {
    bool control;
    double scale;
    int n, unsteered, steered;
    eval_share share; /* steered of n */
} eval_row;

/* One row for each scale. */
void eval_count(eval_row *row, const eval_result *result, const eval_options *o);

void eval_table_print(const eval_row *row, int rows, const eval_options *o);
int eval_table_csv(const eval_row *row, int rows, const char *path, osv_error *e);
int eval_table_json(const eval_row *row, int rows, const eval_result *result, int results,
                    const eval_options *o, const char *model, osv_error *e);

#endif
