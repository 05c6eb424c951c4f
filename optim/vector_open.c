/* Vector files with their metadata, for use. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "kernels/form.h"
#include "loader/safetensors.h"
#include "optim/form.h"
#include "optim/vector_file.h"
#include "optim/vector_parts.h"

static int copy_metadata(char **out, const osv_safetensors *s, const char *key, osv_error *e)
{
    const char *value = osv_safetensors_metadata(s, key);
    if (!value) return OSV_OK;
    *out = strdup(value);
    return *out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "%s: no memory", osv_safetensors_path(s));
}

/* "block_input:12", "block_input:1,3" */
static int read_site(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    const char *path = osv_safetensors_path(s), *site = osv_safetensors_metadata(s, "site");
    static const char kind[] = "block_input:";
    f->layers = 1;
    f->layer[0] = -1;
    if (!site) return OSV_OK;
    const char *at = site + sizeof kind - 1;
    bool good = strncmp(site, kind, sizeof kind - 1) == 0;
    for (f->layers = 0; good; at++) {
        char *end = NULL;
        long layer = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : -1;
        good = layer >= 0 && layer < OSV_MAX_BLOCKS && f->layers < OSV_MAX_VECTOR_LAYERS &&
               (f->layers == 0 || layer > f->layer[f->layers - 1]);
        if (!good) break;
        f->layer[f->layers++] = (int)layer;
        at = end;
        if (*at != ',') break;
    }
    if (good && *at == '\0') return OSV_OK;
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: site \"%.80s\" is not understood; expected block_input:<L>, or up to %d rising blocks "
        "such as block_input:1,3",
        path, site, OSV_MAX_VECTOR_LAYERS);
}

/* The tensor must be F32 [D], or [rank, D]. */
static int check_tensor(const char *path, const char *name, const osv_tensor *t, int rank, int D,
                        osv_error *e)
{
    if (!t) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: has no tensor \"%s\"", path, name);
    bool good = strcmp(t->dtype, "F32") == 0 && t->rank == (rank ? 2 : 1) && (!rank || t->shape[0] == rank);
    if (!good)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"%s\" is %s with %d dimensions, expected F32 [%sD]",
                        path, name, t->dtype, t->rank, rank ? "rank, " : "");
    if (t->shape[rank ? 1 : 0] != D)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"%s\" has rows of %lld elements, expected %d", path,
                        name, (long long)t->shape[rank ? 1 : 0], D);
    return OSV_OK;
}

/* The parameters of a block; layer -1: the names have no number. rows [osv_form_params(form), D] */
static int read_block(float *rows, const osv_safetensors *s, int D, osv_form form, int layer, osv_error *e)
{
    const char *path = osv_safetensors_path(s);
    for (osv_vector_part part = OSV_PART_VECTOR; part < OSV_PARTS; part++) {
        char name[OSV_VECTOR_NAME];
        int first, height = osv_vector_part_rows(form, part, &first);
        if (height == 0) continue;
        osv_vector_part_name(name, part, layer);
        const osv_tensor *t = osv_safetensors_find(s, name);
        bool factor = part == OSV_PART_LEFT || part == OSV_PART_RIGHT;
        OSV_TRY(check_tensor(path, name, t, factor ? form.rank : 0, D, e));
        float *to = rows + (size_t)first * (size_t)D;
        memcpy(to, t->data, t->bytes);
        for (int i = 0; i < height * D; i++)
            if (!isfinite(to[i]))
                return OSV_FAIL(e, OSV_BAD_INPUT, "%s: element %d of tensor \"%s\" is not a finite number",
                                path, i, name);
    }
    return OSV_OK;
}

int osv_vector_read(const char *path, float **rows, int D, osv_form form, const int *layer, int layers,
                    osv_error *e)
{
    size_t of_block = (size_t)osv_form_params(form) * (size_t)D;
    osv_safetensors *s;
    OSV_TRY(osv_safetensors_open(&s, path, e));
    int status = OSV_OK;
    *rows = malloc((size_t)layers * of_block * sizeof **rows);
    if (!*rows) status = OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its vector", path);
    for (int i = 0; i < layers && !status; i++)
        status = read_block(*rows + (size_t)i * of_block, s, D, form, layer ? layer[i] : -1, e);
    osv_safetensors_close(s);
    if (status) {
        free(*rows);
        *rows = NULL;
    }
    return status;
}

/* What "apply" and "clamp" say, and what tensors the parameters have, those of block `layer`. */
static int read_form(osv_vector_file *f, const osv_safetensors *s, int layer, osv_error *e)
{
    const char *path = osv_safetensors_path(s), *apply = osv_safetensors_metadata(s, "apply");
    const char *clamp = osv_safetensors_metadata(s, "clamp");
    char name[OSV_VECTOR_NAME];
    osv_vector_part_name(name, OSV_PART_LEFT, layer);
    const osv_tensor *left = osv_safetensors_find(s, name);
    if (!apply) apply = left ? "affine" : "add";
    if (!osv_form_parse(&f->form, apply))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: apply \"%.80s\" is not known; expected add, add-norm, clamp, ablate or affine",
                        path, apply);
    if (f->form.kind == OSV_FORM_AFFINE) {
        if (!left || left->rank != 2 || left->shape[0] < 1 || left->shape[0] > 1 << 16)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: an affine map needs a tensor \"%s\" F32 [rank, D]", path,
                            name);
        f->form.rank = (int)left->shape[0];
    } else if (left) {
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: has a tensor \"%s\" of an affine map, but apply \"%s\"", path,
                        name, apply);
    }
    osv_vector_part_name(name, OSV_PART_OFFSET, layer);
    f->form.offset = f->form.kind == OSV_FORM_CLAMP && osv_safetensors_find(s, name);
    if (!clamp || strcmp(apply, "clamp") != 0) return OSV_OK;
    char *end;
    f->form.clamp = strtod(clamp, &end);
    if (end == clamp || *end || !isfinite(f->form.clamp))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: clamp \"%.80s\" is not a number", path, clamp);
    return OSV_OK;
}

static int read_rows(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    const char *path = osv_safetensors_path(s);
    bool shared = osv_safetensors_find(s, "vector") != NULL || f->layer[0] < 0;
    char name[OSV_VECTOR_NAME];
    OSV_TRY(read_form(f, s, shared ? -1 : f->layer[0], e));
    osv_vector_part_name(name, OSV_PART_VECTOR, shared ? -1 : f->layer[0]);
    const osv_tensor *first = osv_safetensors_find(s, name);
    if (!first) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: has no tensor \"%s\"", path, name);
    if (first->rank != 1 || first->shape[0] < 1 || first->shape[0] > 1 << 24)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"%s\" is %s with %d dimensions, expected F32 [D]",
                        path, name, first->dtype, first->rank);
    f->D = (int)first->shape[0];
    f->rows = osv_form_params(f->form);
    size_t of_block = (size_t)f->rows * (size_t)f->D;
    f->vector = calloc((size_t)f->layers * of_block, sizeof *f->vector);
    if (!f->vector) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its vectors", path);
    for (int i = 0; i < f->layers; i++)
        OSV_TRY(read_block(f->vector + (size_t)i * of_block, s, f->D, f->form, shared ? -1 : f->layer[i], e));
    return OSV_OK;
}

static int read_file(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    const char *format = osv_safetensors_metadata(s, "format");
    if (format && strncmp(format, "osv/", 4) == 0 && strcmp(format, "osv/1") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: format \"%.80s\" is not known; expected osv/1",
                        osv_safetensors_path(s), format);
    OSV_TRY(read_site(f, s, e));
    OSV_TRY(copy_metadata(&f->positions, s, "positions", e));
    OSV_TRY(copy_metadata(&f->chat, s, "chat", e));
    OSV_TRY(copy_metadata(&f->model, s, "model", e));
    OSV_TRY(copy_metadata(&f->model_sha256, s, "model_sha256", e));
    return read_rows(f, s, e);
}

int osv_vector_open(osv_vector_file *f, const char *path, osv_error *e)
{
    *f = (osv_vector_file){0};
    osv_safetensors *s;
    OSV_TRY(osv_safetensors_open(&s, path, e));
    int status = read_file(f, s, e);
    osv_safetensors_close(s);
    if (status) osv_vector_free(f);
    return status;
}

void osv_vector_free(osv_vector_file *f)
{
    free(f->vector);
    free(f->positions);
    free(f->chat);
    free(f->model);
    free(f->model_sha256);
    *f = (osv_vector_file){0};
}
