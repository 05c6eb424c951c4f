/* Which keys of config.json are understood. Nothing is owned here. */
#ifndef OSV_LOADER_CONFIG_KEYS_H
#define OSV_LOADER_CONFIG_KEYS_H

#include "kernels/error.h"
#include "loader/json.h"

/* Fails, naming key and value, for the first key that is neither read by loader/config.c nor known to have no
 * influence on the logits. Values that switch something off (null, false, 0, empty) are fine for any key. */
int osv_config_known_keys(const json_t *config, const char *path, osv_error *e);

/* Calls f for every key of a config.json that is known to have no influence on the logits and is not read,
 * with the reason why that is safe ("about the file, not about the maths"). */
void osv_config_ignored(const json_t *config,
                        void (*f)(void *context, const char *key, const json_t *value, const char *reason),
                        void *context);

/* osv_config_known_keys within "rope_scaling" and "rope_parameters". */
int osv_config_known_rope_keys(const json_t *rope, const char *path, osv_error *e);

#endif
