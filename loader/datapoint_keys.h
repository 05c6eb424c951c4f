/* The keys of a datapoint, with their spellings in the reference library, and the lists of completions among
 * them: one for each thing that may be wanted of a completion. */
#ifndef OSV_LOADER_DATAPOINT_KEYS_H
#define OSV_LOADER_DATAPOINT_KEYS_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/ops.h"

/* What is wanted of a completion. */
typedef enum {
    OSV_COMPLETION_PROMOTE,
    OSV_COMPLETION_SUPPRESS,
    OSV_COMPLETION_MATCH,  /* the next token's distribution becomes a teacher's, token by token */
    OSV_COMPLETION_ANCHOR, /* it stays the model's own */
    OSV_COMPLETION_CHOSEN, /* is preferred to the next one, which is */
    OSV_COMPLETION_REJECTED,
    OSV_COMPLETION_KINDS,
} osv_completion_kind;

/* The key of the list, which is also what people call the kind, and those of the lists beside it. */
typedef struct {
    const char *name, *targets, *weights; /* NULL: there is no such list */
    bool whole;  /* whole distributions over the next token are wanted, not that of one token */
    bool itself; /* `true` may stand in place of the list */
    bool paired; /* there is no such list either: pairs stand in "prefer" */
} osv_completion_list;
extern const osv_completion_list osv_completion_lists[OSV_COMPLETION_KINDS];

/* Is this a key of a datapoint, under its name or its alias? */
bool osv_datapoint_key_known(const char *key);

/* Unknown keys, and a key under both of its spellings, are OSV_BAD_INPUT. */
int osv_datapoint_keys_check(const json_t *json, const char *where, osv_error *e);

/* The value of a key under its name or its alias, with the spelling that the line has; NULL: missing,
 * null, or no key. */
const json_t *osv_datapoint_value(const json_t *json, const char *name, const char **spelling);

#endif
