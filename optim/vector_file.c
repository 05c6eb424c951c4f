#include "optim/vector_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/safetensors.h"
#include "optim/vector_math.h"

enum { NUMBER_ROOM = 32, SITE_ROOM = 32 };

/* The shortest decimal that reads back as `x`, so that 0.7 is "0.7" and nothing is lost. */
static const char *shortest(char text[NUMBER_ROOM], double x)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, NUMBER_ROOM, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return text;
}

/* Norms and losses come out of fp32 arithmetic: nine digits hold all that it knows. */
static const char *measured(char text[NUMBER_ROOM], double x)
{
    if (!isfinite(x)) return "nan";
    snprintf(text, NUMBER_ROOM, "%.9g", x);
    return text;
}

int osv_vector_write(const char *path, const float *vector, int D, const osv_vector_info *info, osv_error *e)
{
    char site[SITE_ROOM], coldness[NUMBER_ROOM], norm[NUMBER_ROOM], loss[NUMBER_ROOM],
        iterations[NUMBER_ROOM], seed[NUMBER_ROOM];
    snprintf(site, sizeof site, "block_input:%d", info->layer);
    snprintf(iterations, sizeof iterations, "%d", info->iterations);
    snprintf(seed, sizeof seed, "%llu", info->seed);
    const osv_metadata metadata[] = {
        {"format", "osv/1"},
        {"site", site},
        {"apply", info->apply},
        {"positions", info->positions},
        {"chat", info->chat},
        {"coldness", shortest(coldness, info->coldness)},
        {"norm", measured(norm, info->norm)},
        {"loss", measured(loss, info->loss)},
        {"iterations", iterations},
        {"model", info->model},
        {"model_sha256", info->model_sha256},
        {"seed", seed},
        {"objective", info->objective},
        {"created_by", info->created_by},
    };
    const osv_tensor_out tensor = {.name = "vector", .dtype = "F32", .rank = 1, .shape = {D}, .data = vector};
    return osv_safetensors_write(path, &tensor, 1, metadata, sizeof metadata / sizeof *metadata, e);
}

int osv_vector_write_made(const char *path, const float *vector, int D, const osv_vector_made *made,
                          osv_error *e)
{
    char site[SITE_ROOM], clamp[NUMBER_ROOM], norm[NUMBER_ROOM];
    snprintf(site, sizeof site, "block_input:%d", made->layer);
    shortest(clamp, made->clamp);
    const osv_metadata all[] = {
        {"format", "osv/1"},
        {"site", made->layer >= 0 ? site : NULL},
        {"apply", made->apply},
        {"clamp", strcmp(made->apply, "clamp") == 0 ? clamp : NULL},
        {"positions", made->positions},
        {"chat", made->chat},
        {"norm", measured(norm, osv_vector_norm(vector, D))},
        {"model", made->model},
        {"model_sha256", made->model_sha256},
        {"objective", made->objective},
        {"created_by", made->created_by},
    };
    osv_metadata known[sizeof all / sizeof *all];
    int entries = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].value) known[entries++] = all[i];
    const osv_tensor_out tensor = {.name = "vector", .dtype = "F32", .rank = 1, .shape = {D}, .data = vector};
    return osv_safetensors_write(path, &tensor, 1, known, entries, e);
}

static int copy_vector(const char *path, const osv_tensor *t, float **vector, int *D, osv_error *e)
{
    if (!t) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: has no tensor \"vector\"", path);
    if (strcmp(t->dtype, "F32") != 0 || t->rank != 1)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"vector\" is %s with %d dimensions, expected F32 [D]",
                        path, t->dtype, t->rank);
    if (t->shape[0] < 1 || t->shape[0] > 1 << 24)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: tensor \"vector\" has %lld elements, expected a model's width",
                        path, (long long)t->shape[0]);
    float *copy = malloc(t->bytes);
    if (!copy) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its vector", path);
    memcpy(copy, t->data, t->bytes);
    for (int64_t i = 0; i < t->shape[0]; i++) {
        if (isfinite(copy[i])) continue;
        free(copy);
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: element %lld of tensor \"vector\" is not a finite number",
                        path, (long long)i);
    }
    *vector = copy;
    *D = (int)t->shape[0];
    return OSV_OK;
}

int osv_vector_read(const char *path, float **vector, int *D, osv_error *e)
{
    *vector = NULL;
    *D = 0;
    osv_safetensors *file;
    OSV_TRY(osv_safetensors_open(&file, path, e));
    int status = copy_vector(path, osv_safetensors_find(file, "vector"), vector, D, e);
    osv_safetensors_close(file);
    return status;
}
