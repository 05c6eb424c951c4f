/* Models of random weights, made in memory in the shape of published ones: "random:llama-3.1-8b" in the place
 * of a model's folder. What a step costs does not depend on what the weights are, so benchmarks and trials of
 * a machine need no download.
 *
 * Weights are bf16, uniform with the standard deviation 0.02 that transformers initializes with; norms are
 * neutral and biases 0. They are a function of shape and seed alone. There is no tokenizer and no chat
 * format: data are token ids.
 *
 * All matrices lie in one pool, each where the one before ends. The pool holds at most about OSV_RANDOM_POOL
 * bytes, or the largest matrix: behind its end it starts anew, so that an 8B model starts within seconds and
 * runs on a laptop. Two matrices of one block share nothing, and as the pool is larger than any cache, every
 * weight is still read from memory in each pass. */
#ifndef OSV_LOADER_RANDOM_MODEL_H
#define OSV_LOADER_RANDOM_MODEL_H

#include "engine/model.h"

static const size_t OSV_RANDOM_POOL = (size_t)1 << 30;

/* "random:SHAPE"? */
bool osv_random_is(const char *dir);

/* The shapes: names of 0, 1, ...; NULL behind the last one. */
const char *osv_random_shape(int i);

/* The config of "random:SHAPE" (or of SHAPE alone). OSV_USAGE with the names where there is no such shape. */
int osv_random_config(osv_config *config, const char *dir, osv_error *e);

/* Gives the model, whose config and shard say what it is, the weights of this rank: slices of the same whole
 * on any number of ranks. They lie in *memory ([*bytes], free it after the model); what is needed of columns
 * only lies behind the pool as a copy. `most`: OSV_RANDOM_POOL, less in tests. */
int osv_random_fill(osv_model *m, void **memory, size_t *bytes, size_t most, unsigned long long seed,
                    osv_error *e);

/* SHA-256, in hex, of "osv-random/1\n", the shape's name, "\n", the seed as a decimal, "\n". */
int osv_random_sha256(char hex[65], const char *dir, unsigned long long seed, osv_error *e);

#endif
