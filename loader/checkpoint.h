/* A model directory as downloaded: config.json + model*.safetensors -> the engine's config and weights,
 * memory-mapped. "random:SHAPE" in the place of a directory is a model without one, loader/random_model.h.
 *
 * The osv_checkpoint owns the mappings; the model's weights point into them, so it must outlive the model.
 * Only this rank's slices are touched, and what the hash samples once it is asked for. */
#ifndef OSV_LOADER_CHECKPOINT_H
#define OSV_LOADER_CHECKPOINT_H

#include "engine/model.h"

typedef struct osv_checkpoint osv_checkpoint;

/* Reads config.json alone (shapes, no weights). Fields that change the maths and are not understood are
 * errors naming them. */
int osv_config_read(osv_config *config, const char *dir, osv_error *e);

/* The same for the text of a config.json; `where` stands in front of messages. */
int osv_config_parse(osv_config *config, const char *text, size_t bytes, const char *where, osv_error *e);

/* Maps the weights of `dir` and fills `model` (allocated here; osv_model_free it) with the slices of `rank`
 * of `size`; every tensor's dtype, shape and offsets are checked, and no tensor may be left over.
 * model->config.tied becomes false where the file holds a head that differs from the embedding. On failure
 * nothing is left to free. */
int osv_checkpoint_open(osv_checkpoint **out, osv_model *model, const char *dir, int rank, int size,
                        osv_error *e);
void osv_checkpoint_close(osv_checkpoint *c);

/* SHA-256 (hex) that identifies the model: osv_store_sha256 says what goes into it. Computed when it is asked
 * for first, so that opening reads no weights. Empty where libcrypto cannot compute it. */
const char *osv_checkpoint_sha256(osv_checkpoint *c);

#endif
