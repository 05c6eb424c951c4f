/* Vector files: safetensors with the tensor `vector` F32 [D] and string metadata (format osv/1). Same run,
 * same bytes. */
#ifndef OSV_OPTIM_VECTOR_FILE_H
#define OSV_OPTIM_VECTOR_FILE_H

#include "kernels/error.h"

typedef struct {
    int layer;             /* site: block_input:<layer> */
    const char *apply;     /* "add" */
    const char *positions; /* as in the datapoints; "mixed" where they differ */
    const char *chat;      /* chat format the datapoints were rendered with; "raw" */
    const char *objective; /* e.g. "promote", "suppress one-minus", "promote + suppress one-minus" */
    const char *model, *model_sha256, *created_by;
    double coldness, norm, loss;
    int iterations;
    unsigned long long seed;
} osv_vector_info;

int osv_vector_write(const char *path, const float *vector, int D, const osv_vector_info *info, osv_error *e);

/* Only the tensor `vector`; any safetensors file that has one will do. *vector is malloc'ed [*D]. */
int osv_vector_read(const char *path, float **vector, int *D, osv_error *e);

#endif
