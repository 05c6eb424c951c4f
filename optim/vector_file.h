/* Vector files: safetensors with the tensor `vector` F32 [D], what else its form has (an affine map `left`
 * and `right` [R, D], a clamp with one `offset` [D]), and string metadata (format osv/1). Where blocks have
 * parameters of their own, block L's are `vector.<L>` and so on. Same run, same bytes. What is read is owned
 * by the caller. */
#ifndef OSV_OPTIM_VECTOR_FILE_H
#define OSV_OPTIM_VECTOR_FILE_H

#include "kernels/ops.h"

enum { OSV_MAX_VECTOR_LAYERS = 32 };

typedef struct {
    int layers;       /* site: block_input:<layer>,<layer> */
    const int *layer; /* [layers] rising */
    bool apart;       /* each with parameters of its own */
    osv_form form;
    const char *positions; /* as in the datapoints; "mixed" where they differ */
    const char *chat;      /* chat format the datapoints were rendered with; "raw" */
    const char *objective; /* e.g. "promote", "suppress one-minus", "promote + suppress one-minus" */
    const char *model, *model_sha256, *created_by;
    double coldness, norm, loss;
    int iterations;
    unsigned long long seed;
} osv_vector_info;

/* rows: [osv_form_params(form), D] of each block, or of all. */
int osv_vector_write(const char *path, const float *rows, int D, const osv_vector_info *info, osv_error *e);

/* A vector that was not trained but made of others. What is NULL, and a layer below 0, is not recorded. */
typedef struct {
    int layer;
    osv_form form; /* of a vector alone */
    const char *positions, *chat;
    const char *objective; /* "mean of a.safetensors:0.5, b.safetensors" */
    const char *model, *model_sha256, *created_by;
} osv_vector_made;

int osv_vector_write_made(const char *path, const float *vector, int D, const osv_vector_made *made,
                          osv_error *e);

/* Only the tensors that these blocks and this form have; any safetensors file that has them will do. layer
 * [layers]: blocks with parameters of their own, or NULL, 1: the names are without a number. *rows is
 * malloc'ed [layers, osv_form_params(form), D]. What is missing or is of another size is OSV_BAD_INPUT. */
int osv_vector_read(const char *path, float **rows, int D, osv_form form, const int *layer, int layers,
                    osv_error *e);

/* What a file holds for use. Files of other makers may have the tensor alone: then there is no site, and NULL
 * stands for what is not recorded. */
typedef struct {
    int D, layers;                    /* layers >= 1 */
    int layer[OSV_MAX_VECTOR_LAYERS]; /* [layers] of `site`, rising; layer[0] = -1: the file has none */
    osv_form form;
    int rows;      /* osv_form_params(form) */
    float *vector; /* [layers, rows, D]; the same for all layers of shared ones */
    char *positions, *chat, *model, *model_sha256;
} osv_vector_file;

/* On failure nothing is left to free. */
int osv_vector_open(osv_vector_file *f, const char *path, osv_error *e);
void osv_vector_free(osv_vector_file *f);

#endif
