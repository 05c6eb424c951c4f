/* safetensors files, read-only and memory-mapped; every offset is checked before it is used.
 *
 * Tensors returned by osv_safetensors_find point into the mapping and live until osv_safetensors_close. */
#ifndef OSV_LOADER_SAFETENSORS_H
#define OSV_LOADER_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/error.h"

enum { OSV_MAX_RANK = 8 };

typedef struct {
    const char *name;
    char dtype[8]; /* "F32", "F16", "BF16", "I64" ... as the file says */
    int rank;
    int64_t shape[OSV_MAX_RANK];
    const void *data; /* not necessarily aligned beyond what the file gives */
    size_t bytes;
} osv_tensor;

typedef struct osv_safetensors osv_safetensors;

/* One file. Header length, JSON, dtypes, shapes against byte counts, offsets in bounds, no overlap, no gap:
 * all checked. A file that is cut while it is mapped cannot be caught: nobody may write to it. */
int osv_safetensors_open(osv_safetensors **out, const char *path, osv_error *e);
void osv_safetensors_close(osv_safetensors *s);

int osv_safetensors_count(const osv_safetensors *s);
const osv_tensor *osv_safetensors_at(const osv_safetensors *s, int i);              /* in order of name */
const osv_tensor *osv_safetensors_find(const osv_safetensors *s, const char *name); /* NULL: none */
const char *osv_safetensors_metadata(const osv_safetensors *s, const char *key);    /* NULL: none */
const json_t *osv_safetensors_metadata_all(const osv_safetensors *s); /* strings by key; NULL: none */
const char *osv_safetensors_path(const osv_safetensors *s);

/* Writing, all or nothing (osv_file_write). Tensors go by element size, the largest first, so that all stay
 * aligned, then by name; metadata by key. Same input, same bytes. */
typedef struct {
    const char *name;
    const char *dtype; /* "F32" */
    int rank;
    int64_t shape[OSV_MAX_RANK];
    const void *data;
} osv_tensor_out;
typedef struct {
    const char *key, *value;
} osv_metadata;
int osv_safetensors_write(const char *path, const osv_tensor_out *tensor, int tensors,
                          const osv_metadata *metadata, int entries, osv_error *e);

/* The same file in memory, malloc'ed, to be written later; `path` is for messages. */
typedef struct {
    char *data;
    size_t bytes;
} osv_packed;
int osv_safetensors_pack(osv_packed *packed, const char *path, const osv_tensor_out *tensor, int tensors,
                         const osv_metadata *metadata, int entries, osv_error *e);

#endif
