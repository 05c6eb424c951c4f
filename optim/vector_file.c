#include "optim/vector_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"
#include "loader/safetensors.h"
#include "optim/form.h"
#include "optim/vector_math.h"
#include "optim/vector_parts.h"

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

/* Without the entries that have no value. */
static int keep_known(osv_metadata *known, const osv_metadata *all, size_t count)
{
    int entries = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].value) known[entries++] = all[i];
    return entries;
}

/* "block_input:1,3" */
static int print_site(char **site, const int *layer, int layers, osv_error *e)
{
    size_t bytes;
    FILE *out = open_memstream(site, &bytes);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a vector file");
    for (int i = 0; i < layers; i++) fprintf(out, "%s%d", i ? "," : "block_input:", layer[i]);
    return fclose(out) ? OSV_FAIL(e, OSV_DEVICE, "out of memory for a vector file") : OSV_OK;
}

/* The tensors of one block's parameters, in the order of their rows; -1: without its number. */
static int add_tensors(osv_tensor_out *tensor, char (*name)[OSV_VECTOR_NAME], const float *rows, int D,
                       osv_form form, int layer)
{
    int count = 0;
    for (osv_vector_part part = OSV_PART_VECTOR; part <= OSV_PART_RIGHT; part++) {
        int first, height = osv_vector_part_rows(form, part, &first);
        if (height == 0) continue;
        osv_vector_part_name(name[count], part, layer);
        tensor[count] = (osv_tensor_out){.name = name[count],
                                         .dtype = "F32",
                                         .rank = 1,
                                         .shape = {D},
                                         .data = rows + (size_t)first * (size_t)D};
        if (part == OSV_PART_LEFT || part == OSV_PART_RIGHT) {
            tensor[count].rank = 2;
            tensor[count].shape[0] = height;
            tensor[count].shape[1] = D;
        }
        count++;
    }
    return count;
}

int osv_vector_write(const char *path, const float *rows, int D, const osv_vector_info *info, osv_error *e)
{
    char *site = NULL, coldness[NUMBER_ROOM], clamp[NUMBER_ROOM], norm[NUMBER_ROOM], loss[NUMBER_ROOM],
         iterations[NUMBER_ROOM], seed[NUMBER_ROOM];
    int blocks = info->apart ? info->layers : 1, tensors = 0, params = osv_form_params(info->form);
    osv_tensor_out *tensor = calloc((size_t)blocks * OSV_PARTS, sizeof *tensor);
    char(*name)[OSV_VECTOR_NAME] = calloc((size_t)blocks * OSV_PARTS, sizeof *name);
    int status = tensor && name ? print_site(&site, info->layer, info->layers, e)
                                : OSV_FAIL(e, OSV_DEVICE, "out of memory for a vector file");
    if (status) goto done;
    for (int i = 0; i < blocks; i++)
        tensors += add_tensors(tensor + tensors, name + tensors,
                               rows + (size_t)i * (size_t)params * (size_t)D, D, info->form,
                               info->apart ? info->layer[i] : -1);
    snprintf(iterations, sizeof iterations, "%d", info->iterations);
    snprintf(seed, sizeof seed, "%llu", info->seed);
    const char *apply = osv_form_name(info->form);
    const osv_metadata all[] = {
        {"format", "osv/1"},
        {"site", site},
        {"apply", apply},
        {"clamp", strcmp(apply, "clamp") == 0 ? shortest(clamp, info->form.clamp) : NULL},
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
    osv_metadata known[sizeof all / sizeof *all];
    int entries = keep_known(known, all, sizeof all / sizeof *all);
    status = osv_safetensors_write(path, tensor, tensors, known, entries, e);
done:
    free(site);
    free(tensor);
    free(name);
    return status;
}

int osv_vector_write_made(const char *path, const float *vector, int D, const osv_vector_made *made,
                          osv_error *e)
{
    char site[SITE_ROOM], clamp[NUMBER_ROOM], norm[NUMBER_ROOM];
    snprintf(site, sizeof site, "block_input:%d", made->layer);
    const char *apply = osv_form_name(made->form);
    const osv_metadata all[] = {
        {"format", "osv/1"},
        {"site", made->layer >= 0 ? site : NULL},
        {"apply", apply},
        {"clamp", strcmp(apply, "clamp") == 0 ? shortest(clamp, made->form.clamp) : NULL},
        {"positions", made->positions},
        {"chat", made->chat},
        {"norm", measured(norm, osv_vector_norm(vector, D))},
        {"model", made->model},
        {"model_sha256", made->model_sha256},
        {"objective", made->objective},
        {"created_by", made->created_by},
    };
    osv_metadata known[sizeof all / sizeof *all];
    int entries = keep_known(known, all, sizeof all / sizeof *all);
    const osv_tensor_out tensor = {.name = "vector", .dtype = "F32", .rank = 1, .shape = {D}, .data = vector};
    return osv_safetensors_write(path, &tensor, 1, known, entries, e);
}
