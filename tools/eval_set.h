/* A set of prompts with what their answers are judged by. Owned by eval_set and released by eval_set_close.
 */
#ifndef OSV_TOOLS_EVAL_SET_H
#define OSV_TOOLS_EVAL_SET_H

#include "tools/eval_options.h"
#include "tools/tool_prompts.h"

/* A choice: ids of prompt and choice together. */
typedef struct {
    int prompt; /* tokens of the prompt */
    osv_ids ids;
} eval_choice;

typedef struct {
    json_t *before, *after; /* lists of strings, or of indexes; NULL: not given; borrowed from the line */
    json_t *made[2];        /* lists made of what was given without brackets */
    int choices;
    eval_choice *choice;
} eval_line;

typedef struct {
    bool control; /* answers should stay; else they should change */
    const char *file;
    osv_prompts *prompts;
    eval_line *line; /* [prompts->count] */
    int warnings;
    char **warning; /* of choices whose first token would cross into the prompt */
} eval_set;

int eval_set_open(eval_set *s, const tool_model *m, const char *file, bool control, const eval_options *o,
                  osv_error *e);
void eval_set_close(eval_set *s);

/* An answer: a text, or the index of a choice. */
typedef struct {
    char *text; /* malloc'ed; NULL: a choice */
    size_t bytes;
    int choice;
} eval_answer;

/* Could the unsteered answer flip or be kept? And has the steered one? */
bool eval_unsteered_counts(const eval_set *s, int line, const eval_answer *unsteered, eval_match how);
bool eval_steered_counts(const eval_set *s, int line, const eval_answer *steered, eval_match how);

#endif
