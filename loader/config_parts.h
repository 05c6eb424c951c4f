/* Parts of reading a config.json that only loader/config*.c and loader/families.c know. */
#ifndef OSV_LOADER_CONFIG_PARTS_H
#define OSV_LOADER_CONFIG_PARTS_H

#include <jansson.h>

#include "engine/config.h"
#include "loader/families.h"

/* "PATH: "KEY" is VALUE; supported: EXPECTED" */
int osv_config_fail_value(const json_t *json, const char *key, const char *expected, const char *path,
                          osv_error *e);

/* A number above 0; a missing or null one leaves *out as it is. */
int osv_config_above_zero(const json_t *json, const char *key, bool required, double *out, const char *path,
                          osv_error *e);

/* Rotary embeddings: c->rot, ropes, rope. Sizes are read before. */
int osv_config_rope(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e);

#endif
