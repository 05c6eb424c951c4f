#include "tools/steering.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"
#include "loader/datapoints.h"
#include "optim/form.h"

/* ---- command line ---- */

static const char *vector_option(const steering_options *o)
{
    return o->teacher ? "--teacher" : "--vector";
}

static const char *apply_option(const steering_options *o)
{
    return o->teacher ? "--teacher-apply" : "--apply";
}

/* "all:-3:" and "completion:-1" count from an end that is not there yet. */
static bool counts_from_the_end(const char *positions)
{
    return strncmp(positions, "prompt", 6) != 0 && strchr(positions, '-');
}

int steering_options_check(const steering_options *o, osv_error *e)
{
    osv_form form;
    if (o->layer >= 0 && o->vector.count == 0)
        return OSV_FAIL(e, OSV_USAGE, "--layer %d: there is no vector to enter there; give --vector",
                        o->layer);
    if (o->apply && !osv_form_parse(&form, o->apply))
        return OSV_FAIL(e, OSV_USAGE,
                        "%s %s: must be add, add-norm, clamp, clamp:C with a number C, ablate or affine",
                        apply_option(o), o->apply);
    if (!o->positions) return OSV_OK;
    OSV_TRY(osv_positions_check(o->positions, "--positions", e));
    if (counts_from_the_end(o->positions))
        return OSV_FAIL(e, OSV_USAGE,
                        "--positions %s: counts from the end of a text that is still being written; only "
                        "prompt may have negative numbers here",
                        o->positions);
    return OSV_OK;
}

/* ---- notes ---- */

static int add_note(tool_steering *s, osv_error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int add_note(tool_steering *s, osv_error *e, const char *format, ...)
{
    char **wider = realloc(s->note, ((size_t)s->notes + 1) * sizeof *wider);
    if (!wider) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    s->note = wider;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&s->note[s->notes], format, args);
    va_end(args);
    if (length < 0) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    s->notes++;
    return OSV_OK;
}

/* ---- a vector ---- */

static int choose_positions(tool_steering *s, steering_vector *v, const steering_options *o, osv_error *e)
{
    const char *trained = v->file.positions;
    osv_error ignored = {0};
    v->positions = o->positions ? o->positions : trained;
    if (o->positions) return OSV_OK;
    if (trained && !osv_positions_check(trained, "", &ignored) && !counts_from_the_end(trained))
        return OSV_OK;
    v->positions = "all";
    if (!trained) return add_note(s, e, "%s records no positions: steering at all", v->path);
    return add_note(
        s, e, "%s was trained at positions %.80s, which text being written does not have: steering at all",
        v->path, trained);
}

/* The form to use: as trained, or another one that makes do with the parameters that are there. */
static int choose_form(tool_steering *s, steering_vector *v, const steering_options *o, osv_error *e)
{
    const osv_form trained = v->file.form;
    char before[OSV_FORM_ROOM], now[OSV_FORM_ROOM];
    v->form = trained;
    if (!o->apply) return OSV_OK;
    osv_form_parse(&v->form, o->apply); /* steering_options_check has read it */
    if ((v->form.kind == OSV_FORM_AFFINE) != (trained.kind == OSV_FORM_AFFINE))
        return OSV_FAIL(e, OSV_USAGE, "%s %s: %s holds %s", apply_option(o), o->apply, v->path,
                        trained.kind == OSV_FORM_AFFINE
                            ? "an affine map, of which the vector is only a part; leave the option out"
                            : "a vector, and no affine map");
    v->form.rank = trained.rank;
    if (trained.kind == OSV_FORM_CLAMP && v->form.kind == OSV_FORM_CLAMP) {
        v->form.offset = trained.offset;
        if (strcmp(o->apply, "clamp") == 0 && trained.clamp != 0) v->form.clamp = trained.clamp;
    }
    if (strcmp(osv_form_show(before, trained), osv_form_show(now, v->form)) == 0) return OSV_OK;
    return add_note(s, e, "%s was trained with --apply %s, used with %s", v->path,
                    osv_form_show(before, trained), osv_form_show(now, v->form));
}

static int check_layers(const steering_vector *v, const steering_options *o, const osv_config *config,
                        const char *dir, osv_error *e)
{
    const osv_vector_file *f = &v->file;
    if (o->layer >= 0 && f->layers > 1)
        return OSV_FAIL(e, OSV_USAGE, "--layer %d: %s is for %d layers at once", o->layer, v->path,
                        f->layers);
    if (o->layer >= config->N)
        return OSV_FAIL(e, OSV_USAGE, "--layer %d: %s has blocks 0 to %d", o->layer, dir, config->N - 1);
    if (o->layer < 0 && f->layer[0] < 0)
        return OSV_FAIL(e, OSV_USAGE, "%s does not say at which block it was trained%s", v->path,
                        o->teacher ? "" : "; give --layer");
    for (int i = 0; o->layer < 0 && i < f->layers; i++)
        if (f->layer[i] >= config->N)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: enters block %d, but %s has blocks 0 to %d", v->path,
                            f->layer[i], dir, config->N - 1);
    return OSV_OK;
}

static int open_vector(tool_steering *s, steering_vector *v, const char *text, const steering_options *o,
                       const osv_config *config, const char *dir, osv_error *e)
{
    char what[16];
    snprintf(what, sizeof what, "%s ", vector_option(o));
    OSV_TRY(osv_split_scale(text, what, &v->path, &v->scale, e));
    OSV_TRY(osv_vector_open(&v->file, v->path, e));
    if (v->file.D != config->D)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: its vector has %d elements, but the width of %s is %d",
                        v->path, v->file.D, dir, config->D);
    OSV_TRY(check_layers(v, o, config, dir, e));
    OSV_TRY(choose_positions(s, v, o, e));
    OSV_TRY(choose_form(s, v, o, e));
    v->first = s->steerings;
    v->count = v->file.layers;
    s->steerings += v->count;
    if (s->steerings > OSV_MAX_STEERINGS)
        return OSV_FAIL(e, OSV_USAGE, "%s %s: more than %d vectors at once, layers counted", vector_option(o),
                        text, OSV_MAX_STEERINGS);
    return OSV_OK;
}

/* Files -> entries, scaled. */
static int lay_out(tool_steering *s, const steering_options *o, osv_error *e)
{
    size_t D = (size_t)s->D, rows = 0, row = 0;
    for (int k = 0; k < s->vectors; k++)
        rows += (size_t)(s->vector[k].count * osv_form_params(s->vector[k].form));
    s->steering = calloc((size_t)s->steerings + 1, sizeof *s->steering);
    s->p = calloc(rows * D + 1, sizeof *s->p);
    if (!s->steering || !s->p) return OSV_FAIL(e, OSV_DEVICE, "out of memory for vectors");
    for (int k = 0; k < s->vectors; k++) {
        const steering_vector *v = &s->vector[k];
        for (int i = 0; i < v->count; i++) {
            osv_real *p = s->p + row * D;
            osv_form_scale(v->form, p, v->file.vector + (size_t)i * (size_t)v->file.rows * D, v->scale, s->D);
            s->steering[v->first + i] =
                (osv_steering){.layer = o->layer >= 0 ? o->layer : v->file.layer[i], .form = v->form, .p = p};
            row += (size_t)osv_form_params(v->form);
        }
    }
    return OSV_OK;
}

int tool_steering_open(tool_steering *s, const steering_options *o, const osv_config *config, const char *dir,
                       osv_error *e)
{
    *s = (tool_steering){.D = config->D};
    s->vector = calloc((size_t)o->vector.count + 1, sizeof *s->vector);
    if (!s->vector) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < o->vector.count; i++)
        OSV_TRY(open_vector(s, &s->vector[s->vectors++], o->vector.item[i], o, config, dir, e));
    return lay_out(s, o, e);
}

void tool_steering_close(tool_steering *s)
{
    for (int i = 0; i < s->vectors; i++) {
        free(s->vector[i].path);
        osv_vector_free(&s->vector[i].file);
    }
    for (int i = 0; i < s->notes; i++) free(s->note[i]);
    free(s->vector);
    free(s->steering);
    free(s->p);
    free(s->note);
    *s = (tool_steering){0};
}

int tool_steering_check_model(tool_steering *s, const char *sha256, const char *dir, osv_error *e)
{
    for (int i = 0; i < s->vectors; i++) {
        const char *trained = s->vector[i].file.model_sha256;
        if (!trained || strcmp(trained, sha256) == 0) continue;
        OSV_TRY(add_note(s, e, "warning: %s was trained on another model than %s (other weights)",
                         s->vector[i].path, dir));
    }
    return OSV_OK;
}

int tool_steering_mask(const tool_steering *s, int prompt, int more, uint32_t *steer, const char *where,
                       osv_error *e)
{
    int count = prompt + more;
    signed char *mask = malloc((size_t)count + 1);
    if (!mask) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    memset(steer, 0, (size_t)count * sizeof *steer);
    int status = OSV_OK;
    for (int k = 0; k < s->vectors && !status; k++) {
        const steering_vector *v = &s->vector[k];
        status = osv_positions_mask(v->positions, prompt, count, mask, where, e);
        for (int i = v->first; i < v->first + v->count && !status; i++)
            for (int t = 0; t < count; t++)
                if (mask[t]) steer[t] |= (uint32_t)1 << i;
    }
    free(mask);
    return status;
}
