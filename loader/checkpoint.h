/* A model directory as downloaded: config.json + model*.safetensors -> the engine's config and weights,
 * memory-mapped.
 *
 * The osv_checkpoint owns the mappings; the model's weights point into them, so it must outlive the model.
 * Only this rank's slices are touched. */
#ifndef OSV_LOADER_CHECKPOINT_H
#define OSV_LOADER_CHECKPOINT_H

#include "engine/model.h"

typedef struct osv_checkpoint osv_checkpoint;

/* Reads config.json alone (shapes, no weights). Fields that change the maths and are not understood are
 * errors naming them. */
int osv_config_read(osv_config *config, const char *dir, osv_error *e);

/* Maps the weights of `dir` and fills `model` (osv_model_alloc'ed here) with the slices of `shard`; every
 * tensor's dtype, shape and offsets are checked. */
int osv_checkpoint_open(osv_checkpoint **out, osv_model *model, const char *dir, int rank, int size,
                        osv_error *e);
void osv_checkpoint_close(osv_checkpoint *c);

/* SHA-256 (hex) that identifies the model: see the .c for what goes into it. */
const char *osv_checkpoint_sha256(const osv_checkpoint *c);

#endif
