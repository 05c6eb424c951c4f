/* Which keys of config.json are understood. Nothing is owned here. */
#ifndef OSV_LOADER_CONFIG_KEYS_H
#define OSV_LOADER_CONFIG_KEYS_H

#include "engine/config.h"
#include "loader/json.h"

/* Fails, naming key and value, for the first key that is neither read by loader/config.c nor known to have no
 * influence on the logits. Values that switch something off (null, false, 0, empty) are fine for any key. */
int osv_config_known_keys(const json_t *config, const char *path, osv_error *e);

/* Calls f for every key of a config.json that is known to have no influence on the logits and is not read,
 * with the reason why that is safe ("about the file, not about the maths"). */
void osv_config_ignored(const json_t *config,
                        void (*f)(void *context, const char *key, const json_t *value, const char *reason),
                        void *context);

/* The same beside the "text_config" of a multimodal file. */
int osv_config_known_beside(const json_t *config, const char *path, osv_error *e);

/* The same within "rope_scaling" and "rope_parameters", for an embedding of that kind. */
int osv_config_known_rope_keys(const json_t *rope, osv_rope_kind kind, const char *path, osv_error *e);

#endif
