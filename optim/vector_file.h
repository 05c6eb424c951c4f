/* Vector files: safetensors with the tensor `vector` F32 [D] (several layers: one `vector.<L>` each) and
 * string metadata (format osv/1). Same run, same bytes. What is read is owned by the caller. */
#ifndef OSV_OPTIM_VECTOR_FILE_H
#define OSV_OPTIM_VECTOR_FILE_H

#include "kernels/error.h"

enum { OSV_MAX_VECTOR_LAYERS = 32 };

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

/* A vector that was not trained but made of others. What is NULL, and a layer below 0, is not recorded. */
typedef struct {
    int layer;
    const char *apply; /* "add", "clamp", "ablate" */
    double clamp;      /* of "clamp" */
    const char *positions, *chat;
    const char *objective; /* "mean of a.safetensors:0.5, b.safetensors" */
    const char *model, *model_sha256, *created_by;
} osv_vector_made;

int osv_vector_write_made(const char *path, const float *vector, int D, const osv_vector_made *made,
                          osv_error *e);

/* Only the tensor `vector`; any safetensors file that has one will do. *vector is malloc'ed [*D]. */
int osv_vector_read(const char *path, float **vector, int *D, osv_error *e);

/* What a file holds for use. Files of other makers may have the tensor alone: then there is no site, and NULL
 * stands for what is not recorded. */
typedef struct {
    int D, layers;                    /* layers >= 1 */
    int layer[OSV_MAX_VECTOR_LAYERS]; /* [layers] of `site`, rising; layer[0] = -1: the file has none */
    float *vector;                    /* [layers, D]; the same row for all layers of a shared vector */
    char *apply;                      /* "add", "clamp", "ablate"; never NULL */
    double clamp;                     /* of "clamp"; 1 where it is not recorded */
    char *positions, *chat, *model, *model_sha256;
} osv_vector_file;

/* Forms that cannot be used with a vector alone (affine) are OSV_BAD_INPUT. On failure nothing is left to
 * free. */
int osv_vector_open(osv_vector_file *f, const char *path, osv_error *e);
void osv_vector_free(osv_vector_file *f);

#endif
