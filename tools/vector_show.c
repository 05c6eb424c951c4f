/* show: tensors, the largest components, metadata. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/safetensors.h"
#include "optim/vector_math.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/vector_verbs.h"

enum { NAME_ROOM = 512, ELEMENTS_MOST = 1 << 30 };

/* A tensor as it is shown: norm and components of F32 alone. */
typedef struct {
    const osv_tensor *t;
    float *value; /* [elements]; NULL: another type, or too many */
    int elements;
    int *largest; /* [shown] indexes by absolute value; of one dimension only */
    int shown;
} sight;

/* What is no number stands above all. */
static double size_of(float x)
{
    return isnan(x) ? INFINITY : fabs((double)x);
}

static int by_size(const void *a, const void *b, void *context)
{
    const float *value = context;
    int i = *(const int *)a, j = *(const int *)b;
    double x = size_of(value[i]), y = size_of(value[j]);
    return x > y ? -1 : x < y ? 1 : i - j;
}

static int look(sight *s, const osv_tensor *t, int top, osv_error *e)
{
    *s = (sight){.t = t};
    if (strcmp(t->dtype, "F32") != 0 || t->bytes == 0 || t->bytes / 4 > ELEMENTS_MOST) return OSV_OK;
    s->elements = (int)(t->bytes / 4);
    s->value = malloc(t->bytes); /* the file's own bytes need not be aligned */
    if (!s->value) return OSV_FAIL(e, OSV_DEVICE, "no memory for tensor %s", t->name);
    memcpy(s->value, t->data, t->bytes);
    if (t->rank != 1 || top == 0) return OSV_OK;
    s->largest = malloc((size_t)s->elements * sizeof *s->largest);
    if (!s->largest) return OSV_FAIL(e, OSV_DEVICE, "no memory for tensor %s", t->name);
    for (int i = 0; i < s->elements; i++) s->largest[i] = i;
    qsort_r(s->largest, (size_t)s->elements, sizeof *s->largest, by_size, s->value);
    s->shown = s->elements < top ? s->elements : top;
    return OSV_OK;
}

static void forget(sight *s)
{
    free(s->value);
    free(s->largest);
}

/* ---- text ---- */

static void print_tensor(FILE *out, const sight *s)
{
    char name[NAME_ROOM];
    fprintf(out, "  tensor    %s  %s [", osv_show_name(name, sizeof name, s->t->name), s->t->dtype);
    for (int i = 0; i < s->t->rank; i++) fprintf(out, "%s%lld", i ? ", " : "", (long long)s->t->shape[i]);
    fputc(']', out);
    if (s->value) fprintf(out, "  norm %.6g", osv_vector_norm(s->value, s->elements));
    for (int i = 0; i < s->shown; i++)
        fprintf(out, "%s%d: %.6g", i ? ", " : "\n    largest   ", s->largest[i],
                (double)s->value[s->largest[i]]);
    fputc('\n', out);
}

static void print_metadata(FILE *out, const osv_safetensors *s)
{
    int width = 0;
    const char *key;
    json_t *value,
        *all = (json_t *)osv_safetensors_metadata_all(s); /* jansson iterates only what it may change */
    char shown[4096], name[NAME_ROOM];
    json_object_foreach(all, key, value)
    {
        int length = (int)strlen(osv_show_name(name, sizeof name, key));
        if (length > width) width = length;
    }
    json_object_foreach(all, key, value)
        fprintf(out, "  metadata  %-*s  %s\n", width, osv_show_name(name, sizeof name, key),
                osv_show_name(shown, sizeof shown, json_string_value(value)));
}

/* ---- JSON ---- */

static json_t *tensor_json(const sight *s)
{
    json_t *shape = json_array(), *largest = json_array();
    for (int i = 0; i < s->t->rank; i++) json_array_append_new(shape, json_integer(s->t->shape[i]));
    for (int i = 0; i < s->shown; i++)
        json_array_append_new(largest, json_pack("{s:i, s:o}", "index", s->largest[i], "value",
                                                 osv_number_json((double)s->value[s->largest[i]])));
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", s->t->name, "dtype", s->t->dtype, "shape", shape,
                     "norm", s->value ? osv_number_json(osv_vector_norm(s->value, s->elements)) : json_null(),
                     "largest", largest);
}

/* ---- a file ---- */

static int show_tensors(FILE *out, json_t *tensors, const osv_safetensors *s, const vector_options *o,
                        osv_error *e)
{
    for (int i = 0; i < osv_safetensors_count(s); i++) {
        sight tensor;
        int status = look(&tensor, osv_safetensors_at(s, i), o->top, e);
        if (!status && tensors && json_array_append_new(tensors, tensor_json(&tensor)))
            status = OSV_FAIL(e, OSV_DEVICE, "out of memory for the results");
        if (!status && !tensors) print_tensor(out, &tensor);
        forget(&tensor);
        OSV_TRY(status);
    }
    return OSV_OK;
}

static int show_json(FILE *out, const osv_safetensors *s, const vector_options *o, osv_error *e)
{
    json_t *tensors = json_array();
    const json_t *metadata = osv_safetensors_metadata_all(s);
    int status = show_tensors(out, tensors, s, o, e);
    json_t *all = json_pack("{s:o, s:o, s:o}", "file", osv_text_json(osv_safetensors_path(s)), "tensors",
                            tensors, "metadata", metadata ? json_deep_copy(metadata) : json_object());
    if (!status && (!all || json_dumpf(all, out, JSON_REAL_PRECISION(9)) || fputc('\n', out) < 0))
        status = OSV_FAIL(e, OSV_DEVICE, "out of memory for the results");
    json_decref(all);
    return status;
}

static int show_file(FILE *out, const char *path, const vector_options *o, osv_error *e)
{
    osv_safetensors *s;
    char name[4096];
    OSV_TRY(osv_safetensors_open(&s, path, e));
    int status;
    if (o->json) {
        status = show_json(out, s, o, e);
    } else {
        fprintf(out, "%s\n", osv_show_name(name, sizeof name, path));
        status = show_tensors(out, NULL, s, o, e);
        if (!status) print_metadata(out, s);
    }
    osv_safetensors_close(s);
    return status;
}

int vector_show(const vector_options *o, osv_error *e)
{
    for (int i = 0; i < o->files; i++) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
        int status = show_file(out, o->file[i], o, e);
        if (fclose(out) && !status) status = OSV_FAIL(e, OSV_DEVICE, "out of memory");
        if (!status) status = osv_program_write(text, bytes, e);
        free(text);
        OSV_TRY(status);
    }
    return OSV_OK;
}
