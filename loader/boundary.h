/* Prompt and completion -> the ids of both together, cut where the one ends and the other begins.
 *
 * What is in an osv_joined is owned by the caller and released by osv_joined_free. */
#ifndef OSV_LOADER_BOUNDARY_H
#define OSV_LOADER_BOUNDARY_H

#include "loader/tokenizer.h"

typedef enum { OSV_BOUNDARY_AUTO, OSV_BOUNDARY_JOINT, OSV_BOUNDARY_APART } osv_boundary;

/* Text, or ids where text is NULL. */
typedef struct {
    const char *text;
    const osv_ids *ids;
    bool complete; /* of a prompt's text: it has its special tokens, the tokenizer adds none */
} osv_source;

typedef struct {
    osv_ids ids;   /* of prompt and completion */
    int prompt;    /* how many of them are the prompt's */
    char *warning; /* NULL, or what a user should know about the boundary */
} osv_joined;

/* `prompt_ids` are the ids of the prompt in any case, `where` stands in front of the warning. */
int osv_join(osv_joined *out, const osv_tokenizer *tokenizer, osv_boundary boundary, osv_source prompt,
             const osv_ids *prompt_ids, osv_source completion, const char *where, osv_error *e);
void osv_joined_free(osv_joined *j);

#endif
