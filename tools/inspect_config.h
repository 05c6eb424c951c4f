/* The fields of a config as osv-inspect shows them: the one place that knows them. */
#ifndef OSV_TOOLS_INSPECT_CONFIG_H
#define OSV_TOOLS_INSPECT_CONFIG_H

#include <jansson.h>

#include "engine/config.h"

/* In the order in which they are shown; NULL: no memory. */
json_t *inspect_config_json(const osv_config *c);

/* Parameters by part, from the config's sizes: {"embedding": .., "attention": .., .., "total": ..}. */
int inspect_parameters_json(json_t **out, const osv_config *c, osv_error *e);

#endif
