/* mean and sum. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/form.h"
#include "optim/vector_math.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/vector_verbs.h"

typedef struct {
    const vector_options *options;
    int count;
    vector_input *input; /* [count] */
    char **path;         /* [count] without their weights */
    double *weight;      /* [count] as given */
    double *sum;         /* [D] */
    float *vector;       /* [D] the result */
    char *objective;
} making;

static int open_inputs(making *m, const vector_options *o, osv_error *e)
{
    size_t files = (size_t)o->files;
    *m = (making){.options = o,
                  .input = calloc(files, sizeof *m->input),
                  .path = calloc(files, sizeof *m->path),
                  .weight = calloc(files, sizeof *m->weight)};
    if (!m->input || !m->path || !m->weight) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < o->files; i++, m->count++) {
        OSV_TRY(osv_split_scale(o->file[i], "", &m->path[i], &m->weight[i], e));
        OSV_TRY(vector_input_open(&m->input[i], m->path[i], o, e));
    }
    return OSV_OK;
}

static void close_inputs(making *m)
{
    for (int i = 0; i < m->options->files; i++) {
        if (m->input) osv_vector_free(&m->input[i].file);
        if (m->path) free(m->path[i]);
    }
    free(m->input);
    free(m->path);
    free(m->weight);
    free(m->sum);
    free(m->vector);
    free(m->objective);
}

/* ---- do they go together ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static const char *or_unknown(const char *text)
{
    return text ? text : "?";
}

/* Whether vector i goes with the first one. */
static int check_pair(const making *m, int i, osv_error *e)
{
    const vector_options *o = m->options;
    const osv_vector_file *a = &m->input[0].file, *b = &m->input[i].file;
    const char *a_path = m->path[0], *b_path = m->path[i];
    if (a->D != b->D)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s has %d elements, %s has %d; only vectors of one length go together", a_path, a->D,
                        b_path, b->D);
    if (o->force) return OSV_OK;
    if (a->model_sha256 && b->model_sha256 && strcmp(a->model_sha256, b->model_sha256) != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s and %s were trained on different models, %.80s (%.12s...) and %.80s (%.12s...); "
                        "--force puts them together nevertheless",
                        a_path, b_path, or_unknown(a->model), a->model_sha256, or_unknown(b->model),
                        b->model_sha256);
    if (a->form.kind != b->form.kind || a->form.clamp != b->form.clamp) {
        char x[OSV_FORM_ROOM], y[OSV_FORM_ROOM];
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s is for apply %s, %s for %s; --force takes that of the first",
                        a_path, osv_form_show(x, a->form), b_path, osv_form_show(y, b->form));
    }
    if (o->layer >= 0 || a->layer[0] == b->layer[0]) return OSV_OK;
    if (a->layer[0] < 0 || b->layer[0] < 0)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s does not say for which block it is, %s is for block %d; give --layer",
                        a->layer[0] < 0 ? a_path : b_path, a->layer[0] < 0 ? b_path : a_path,
                        a->layer[0] < 0 ? b->layer[0] : a->layer[0]);
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s is for block %d, %s for block %d; give --layer for the block of the result, or --force "
        "to record none",
        a_path, a->layer[0], b_path, b->layer[0]);
}

/* ---- the result ---- */

static int compute(making *m, osv_error *e)
{
    const vector_options *o = m->options;
    int D = m->input[0].file.D;
    double weights = 0, square = 0;
    m->sum = calloc((size_t)D, sizeof *m->sum);
    m->vector = calloc((size_t)D, sizeof *m->vector);
    if (!m->sum || !m->vector) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < m->count; i++) {
        osv_vector_add(m->sum, m->weight[i], m->input[i].file.vector, D);
        weights += m->weight[i];
    }
    if (o->verb == VECTOR_MEAN && weights == 0)
        return OSV_FAIL(e, OSV_USAGE, "the weights add up to 0: there is no mean; sum takes any weights");
    double scale = o->verb == VECTOR_MEAN ? 1 / weights : 1;
    for (int i = 0; i < D; i++) square += m->sum[i] * scale * m->sum[i] * scale;
    if (o->norm >= 0 && square == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "the %s is zero: it cannot be rescaled to norm %g",
                        vector_verb_name(o->verb), o->norm);
    if (o->norm >= 0) scale *= o->norm / sqrt(square);
    for (int i = 0; i < D; i++) {
        m->vector[i] = (float)(m->sum[i] * scale);
        if (!isfinite(m->vector[i]))
            return OSV_FAIL(e, OSV_BAD_INPUT, "element %d of the %s is not a finite number in F32", i,
                            vector_verb_name(o->verb));
    }
    return OSV_OK;
}

/* "mean of a.safetensors:0.5, b.safetensors, norm 2" */
static int describe(making *m, osv_error *e)
{
    const vector_options *o = m->options;
    char number[OSV_NUMBER_ROOM];
    size_t bytes;
    FILE *out = open_memstream(&m->objective, &bytes);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    fprintf(out, "%s of ", vector_verb_name(o->verb));
    for (int i = 0; i < m->count; i++) {
        char name[4096];
        fprintf(out, "%s%s", i ? ", " : "", osv_show_name(name, sizeof name, m->path[i]));
        if (m->weight[i] != 1) fprintf(out, ":%s", osv_show_number(number, m->weight[i]));
    }
    if (o->norm >= 0) fprintf(out, ", norm %s", osv_show_number(number, o->norm));
    return fclose(out) ? OSV_FAIL(e, OSV_DEVICE, "out of memory") : OSV_OK;
}

/* What all of the files record alike, else `other`; NULL where one records nothing. */
static const char *common(const making *m, size_t member, const char *other)
{
#define MEMBER(i) (*(char *const *)((const char *)&m->input[i].file + member))
    const char *first = MEMBER(0), *result = first;
    for (int i = 1; i < m->count; i++) {
        if (!MEMBER(i)) return NULL;
        if (!same_text(first, MEMBER(i))) result = other;
    }
#undef MEMBER
    return first ? result : NULL;
}
#define COMMON(m, name, other) common(m, offsetof(osv_vector_file, name), other)

static int common_layer(const making *m)
{
    if (m->options->layer >= 0) return m->options->layer;
    for (int i = 1; i < m->count; i++)
        if (m->input[i].file.layer[0] != m->input[0].file.layer[0]) return -1;
    return m->input[0].file.layer[0];
}

static int print_result(const making *m, int layer, osv_error *e)
{
    const vector_options *o = m->options;
    int D = m->input[0].file.D;
    double norm = osv_vector_norm(m->vector, D);
    char *text;
    if (o->json) {
        json_t *all = json_pack("{s:o, s:s, s:i, s:o, s:f}", "file", osv_text_json(o->out), "objective",
                                m->objective, "elements", D, "layer",
                                layer < 0 ? json_null() : json_integer(layer), "norm", norm);
        text = all ? json_dumps(all, JSON_REAL_PRECISION(9)) : NULL;
        json_decref(all);
    } else {
        char site[48] = "no layer", name[4096];
        if (layer >= 0) snprintf(site, sizeof site, "layer %d", layer);
        if (asprintf(&text, "%s: %s of %d vector%s, %d elements, %s, norm %.6g",
                     osv_show_name(name, sizeof name, o->out), vector_verb_name(o->verb), m->count,
                     m->count == 1 ? "" : "s", D, site, norm) < 0)
            text = NULL;
    }
    if (!text) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    int status = osv_program_write(text, strlen(text), e);
    if (!status) status = osv_program_write("\n", 1, e);
    free(text);
    return status;
}

static int make(making *m, osv_error *e)
{
    const osv_vector_file *first = &m->input[0].file;
    char created_by[64];
    for (int i = 1; i < m->count; i++) OSV_TRY(check_pair(m, i, e));
    OSV_TRY(compute(m, e));
    OSV_TRY(describe(m, e));
    snprintf(created_by, sizeof created_by, "osv-vector %s", osv_program_version());
    const osv_vector_made made = {.layer = common_layer(m),
                                  .form = first->form,
                                  .positions = COMMON(m, positions, "mixed"),
                                  .chat = COMMON(m, chat, "mixed"),
                                  .objective = m->objective,
                                  .model = COMMON(m, model, NULL),
                                  .model_sha256 = COMMON(m, model_sha256, NULL),
                                  .created_by = created_by};
    OSV_TRY(osv_vector_write_made(m->options->out, m->vector, first->D, &made, e));
    return print_result(m, made.layer, e);
}

int vector_make(const vector_options *o, osv_error *e)
{
    making m;
    int status = open_inputs(&m, o, e);
    if (!status) status = make(&m, e);
    close_inputs(&m);
    return status;
}
