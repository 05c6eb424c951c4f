/* What a loss is to come down to: a number of nats, or a multiple of a loss of the unsteered model, which is
 * known when there are weights. */
#ifndef OSV_LOADER_TARGET_H
#define OSV_LOADER_TARGET_H

#include "loader/prompts.h"

typedef enum { OSV_TARGET_NONE, OSV_TARGET_NATS, OSV_TARGET_UNSTEERED } osv_target_kind;

typedef struct {
    osv_target_kind kind;
    double x; /* nats, or what the unsteered loss is multiplied by: above 0 */
} osv_target;

/* "unsteered", or a multiple such as "0.75x"; false where the text is neither. */
bool osv_target_parse(osv_target *t, const char *text);

/* A number, one of these texts, or {"prompt": .. or "messages": .., "times": 0.75}: a multiple of the loss
 * under another prompt, whose tokens go into *under, which the caller frees, also after a failure. */
int osv_target_read(osv_target *t, osv_ids *under, const json_t *value, const osv_prompt_options *options,
                    const char *where, osv_error *e);

/* "times" of an object: that multiple, or the unsteered loss itself where there is none. */
int osv_target_times(osv_target *t, const json_t *object, const char *where, osv_error *e);

#endif
