/* When an answer counts, and how sure a share is. */
#ifndef OSV_TOOLS_EVAL_MATCH_H
#define OSV_TOOLS_EVAL_MATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum { EVAL_BY_TEXT, EVAL_BY_CHOICE } eval_by;
typedef enum { EVAL_EXACT, EVAL_PREFIX, EVAL_CONTAINS } eval_match; /* how an answer meets an expected text */

/* White space (ASCII) at both ends of answer and expected text does not count; otherwise bytes are compared.
 * Exact: they are equal. Prefix: the answer begins with it. Contains: it occurs in the answer. */
bool eval_matches(eval_match how, const char *answer, size_t bytes, const char *expected);

/* One of a list of strings. */
bool eval_matches_any(eval_match how, const char *answer, size_t bytes, const json_t *expected);

/* A share with its 95 % interval, each in percent. */
typedef struct {
    double percent, low, high;
} eval_share;
eval_share eval_wilson(int counted, int n);

#endif
