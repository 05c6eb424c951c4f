/* Vector files with their metadata, for use. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "loader/safetensors.h"
#include "optim/vector_file.h"

static int copy_metadata(char **out, const osv_safetensors *s, const char *key, const char *none,
                         osv_error *e)
{
    const char *value = osv_safetensors_metadata(s, key);
    if (!value) value = none;
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

static int read_apply(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    const char *path = osv_safetensors_path(s), *clamp = osv_safetensors_metadata(s, "clamp");
    OSV_TRY(copy_metadata(&f->apply, s, "apply", "add", e));
    if (strcmp(f->apply, "affine") == 0 || osv_safetensors_find(s, "left") ||
        osv_safetensors_find(s, "right"))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: holds an affine map; only vectors can be used here", path);
    if (strcmp(f->apply, "add") != 0 && strcmp(f->apply, "clamp") != 0 && strcmp(f->apply, "ablate") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: apply \"%.80s\" is not known; expected add, clamp or ablate",
                        path, f->apply);
    f->clamp = 1;
    if (!clamp) return OSV_OK;
    char *end;
    f->clamp = strtod(clamp, &end);
    if (end == clamp || *end || !isfinite(f->clamp))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: clamp \"%.80s\" is not a number", path, clamp);
    return OSV_OK;
}

/* Row `layer` of f->vector; the first one decides the width. */
static int read_row(osv_vector_file *f, const osv_safetensors *s, int row, const char *name, osv_error *e)
{
    const char *path = osv_safetensors_path(s);
    const osv_tensor *t = osv_safetensors_find(s, name);
    if (!t) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: has no tensor \"%s\"", path, name);
    if (strcmp(t->dtype, "F32") != 0 || t->rank != 1 || t->shape[0] < 1 || t->shape[0] > 1 << 24)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"%s\" is %s with %d dimensions, expected F32 [D]",
                        path, name, t->dtype, t->rank);
    if (row > 0 && t->shape[0] != f->D)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"%s\" has %lld elements, those before it have %d",
                        path, name, (long long)t->shape[0], f->D);
    f->D = (int)t->shape[0];
    if (!f->vector) f->vector = calloc((size_t)f->layers * (size_t)f->D, sizeof *f->vector);
    if (!f->vector) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its vectors", path);
    float *to = f->vector + (size_t)row * (size_t)f->D;
    memcpy(to, t->data, t->bytes);
    for (int i = 0; i < f->D; i++)
        if (!isfinite(to[i]))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: element %d of tensor \"%s\" is not a finite number", path,
                            i, name);
    return OSV_OK;
}

static int read_rows(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    bool shared = osv_safetensors_find(s, "vector") != NULL || f->layer[0] < 0;
    for (int i = 0; i < f->layers; i++) {
        char name[32] = "vector";
        if (!shared) snprintf(name, sizeof name, "vector.%d", f->layer[i]);
        OSV_TRY(read_row(f, s, i, name, e));
    }
    return OSV_OK;
}

static int read_file(osv_vector_file *f, const osv_safetensors *s, osv_error *e)
{
    const char *format = osv_safetensors_metadata(s, "format");
    if (format && strncmp(format, "osv/", 4) == 0 && strcmp(format, "osv/1") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: format \"%.80s\" is not known; expected osv/1",
                        osv_safetensors_path(s), format);
    OSV_TRY(read_site(f, s, e));
    OSV_TRY(read_apply(f, s, e));
    OSV_TRY(copy_metadata(&f->positions, s, "positions", NULL, e));
    OSV_TRY(copy_metadata(&f->chat, s, "chat", NULL, e));
    OSV_TRY(copy_metadata(&f->model, s, "model", NULL, e));
    OSV_TRY(copy_metadata(&f->model_sha256, s, "model_sha256", NULL, e));
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
    free(f->apply);
    free(f->positions);
    free(f->chat);
    free(f->model);
    free(f->model_sha256);
    *f = (osv_vector_file){0};
}
