/* All tensors of a model directory, whatever files they lie in: model.safetensors, or the shards that
 * model.safetensors.index.json names.
 *
 * An osv_store owns the mappings; tensors live until osv_store_close. */
#ifndef OSV_LOADER_STORE_H
#define OSV_LOADER_STORE_H

#include <stdbool.h>

#include "loader/safetensors.h"

typedef struct {
    const osv_tensor *tensor;
    const char *path; /* of its file */
    bool used;        /* for the caller: to find what nobody asked for */
} osv_stored;

typedef struct {
    osv_safetensors **file;
    int files;
    osv_stored *stored; /* [count], in order of name */
    int count;
} osv_store;

/* Fails where a shard is missing or lies outside the folder, where two files hold the same tensor, and where
 * a file lacks what the index promises. */
int osv_store_open(osv_store *s, const char *dir, osv_error *e);
void osv_store_close(osv_store *s);

osv_stored *osv_store_find(const osv_store *s, const char *name); /* NULL: none */

/* SHA-256, in hex, of a model. It identifies the config and the weights without reading all of a large model.
 * Hashed is, in this order: "osv-model/1\n"; the bytes of config.json behind their number (64 bits, little
 * endian); then for each tensor, by name: name, dtype, and its extents as decimals joined by commas, each
 * with a NUL behind; and its bytes, where it has at most 1 MiB of them, or else 16 windows of 64 KiB, window
 * i starting at byte i (bytes - 65536) / 15, rounded down. So it does not depend on how tensors are spread
 * over files. */
int osv_store_sha256(const osv_store *s, const char *config, size_t config_bytes, char hex[65], osv_error *e);

#endif
