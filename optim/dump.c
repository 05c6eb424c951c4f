#include "optim/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/choose.h"
#include "loader/file.h"
#include "loader/safetensors.h"
#include "optim/dump_rows.h"
#include "optim/once.h"
#include "optim/output_folder.h"
#include "optim/pack.h"

static const char activations_name[] = "activations.safetensors", rows_name[] = "rows.json";
static const char *const dump_names[] = {activations_name, rows_name};
static const osv_output dump_output = {"--dump", "dump", dump_names, 2};

typedef struct {
    char name[32];
    int rank, rows, cols;
    osv_real *data; /* host; complete after a sync */
} tensor;

/* Looks on while the passes run. Copies are ordered with the ops, so each takes its buffer as it is between
 * the two ops where the watch is told. */
typedef struct {
    const osv_training *t;
    osv_once once;
    osv_chooser chooser;  /* of several ranks: whole rows of logits, of which each has a part */
    void *chooser_memory; /* device */
    tensor *tensor;       /* [tensors] */
    int tensors, room;
    size_t bytes;
} dump;

/* A tensor of rows x cols numbers, for the caller to fill; rank 1: cols is 1. NULL: nothing to fill, or a
 * failure. */
static osv_real *add(dump *d, const char *name, int number, int rank, int rows, int cols)
{
    osv_ops *o = d->t->ops;
    if (osv_ops_status(o) || rows == 0) return NULL;
    if (d->tensors == d->room) {
        int room = d->room ? 2 * d->room : 64;
        tensor *wider = realloc(d->tensor, (size_t)room * sizeof *wider);
        if (!wider) {
            OSV_FAIL(o->error, OSV_DEVICE, "out of memory for the list of a dump's tensors");
            return NULL;
        }
        d->tensor = wider;
        d->room = room;
    }
    tensor *x = &d->tensor[d->tensors];
    size_t bytes = (size_t)rows * (size_t)cols * sizeof *x->data;
    *x = (tensor){.rank = rank, .rows = rows, .cols = cols, .data = malloc(bytes)};
    if (!x->data) {
        OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %zu bytes of a dump", bytes);
        return NULL;
    }
    if (number < 0)
        snprintf(x->name, sizeof x->name, "%s", name);
    else
        snprintf(x->name, sizeof x->name, "%s.%d", name, number);
    d->tensors++;
    d->bytes += bytes;
    return x->data;
}

static void take(dump *d, const char *name, int number, const osv_real *device, int rank, int rows, int cols)
{
    osv_real *data = add(d, name, number, rank, rows, cols);
    size_t bytes = (size_t)rows * (size_t)cols * sizeof *data;
    if (data) d->t->ops->copy(d->t->ops, data, device, bytes, OSV_TO_HOST);
}

static void take_logits(dump *d, const char *name, const osv_device_pass *p)
{
    const osv_model *m = d->t->model;
    size_t V = (size_t)m->config.V, part = (size_t)m->shard.V;
    if (d->t->comm->size == 1) {
        take(d, name, -1, p->scratch.z, 2, p->host->R, m->config.V);
        return;
    }
    osv_real *data = add(d, name, -1, 2, p->host->R, m->config.V);
    for (int r = 0; data && r < p->host->R; r++)
        osv_whole_row(&d->chooser, &d->once.step->engine, p->scratch.z + (size_t)r * part,
                      data + (size_t)r * V);
}

/* What completions match. */
static void take_distributions(dump *d)
{
    size_t V = (size_t)d->t->model->config.V;
    int c = 0;
    for (int j = 0; j < d->t->jobs; j++) {
        for (int k = 0; k < d->t->job[j].completions; k++, c++) {
            const osv_sequence *s = &d->t->job[j].sequence[k];
            int tokens = s->count - s->prompt;
            osv_real *data = s->logp ? add(d, "logp", c, 2, tokens, (int)V) : NULL;
            for (int t = 0; data && t < tokens; t++)
                memcpy(data + (size_t)t * V, s->logp[t], V * sizeof *data);
        }
    }
}

static void begin(void *context, osv_ops *o, const char *name, int number)
{
    dump *d = context;
    const osv_buffers *b = &d->once.step->buffer;
    int D = d->t->model->config.D;
    (void)o;
    if (strcmp(name, "block") != 0) return;
    if (d->once.part == OSV_UNSTEERED && number == 0)
        take(d, "base.x", 0, b->below_x[0], 2, b->base.host->T, D);
    if (d->once.part == OSV_FORWARD)
        take(d, "live.x", number, b->block[number].x, 2, osv_rows(&b->live, number), D);
}

static void end_block(dump *d, int l)
{
    const osv_buffers *b = &d->once.step->buffer;
    int N = d->t->model->config.N, D = d->t->model->config.D;
    bool last = l == N - 1;
    if (d->once.part == OSV_UNSTEERED) /* the pass's two streams swap from block to block: engine/prefix.c */
        take(d, "base.x", l + 1, last ? b->base.scratch.x_out : b->below_x[(l + 1) % 2], 2,
             osv_queries(&b->base, l, N), D);
    if (d->once.part == OSV_FORWARD && last)
        take(d, "live.x", N, b->live.scratch.x_out, 2, osv_queries(&b->live, l, N), D);
    if (d->once.part == OSV_BACKWARD) take(d, "live.dx", l, b->live.scratch.dx, 2, osv_rows(&b->live, l), D);
}

static void end(void *context, osv_ops *o, const char *name, int number)
{
    dump *d = context;
    const osv_buffers *b = &d->once.step->buffer;
    const osv_config *c = &d->t->model->config;
    bool unsteered = d->once.part == OSV_UNSTEERED;
    (void)o;
    if (strcmp(name, "block") == 0) end_block(d, number);
    if (strcmp(name, "logits") == 0)
        take_logits(d, unsteered ? "base.z" : "live.z", unsteered ? &b->base : &b->live);
    if (strcmp(name, "head") == 0) {
        const osv_scratch *s = &b->live.scratch;
        take(d, "live.dx", c->N, b->live.narrow ? s->dxq : s->dx, 2, osv_queries(&b->live, c->N - 1, c->N),
             c->D);
    }
    if (unsteered && strcmp(name, "prefix") == 0 && d->tensors == 0) /* no block had to run */
        take(d, "base.x", 0, b->below_x[0], 2, b->base.host->T, c->D);
}

static int run(dump *d)
{
    const osv_once *p = &d->once;
    osv_ops *o = d->t->ops;
    int P = p->batch->P, D = d->t->model->config.D;
    osv_once_run(&d->once, &(osv_watch){.context = d, .begin = begin, .end = end});
    take(d, "w", -1, p->step->buffer.w, 1, osv_losses_of(&p->batch->live), 1);
    take(d, "loss", -1, p->loss, 1, p->batch->C, 1);
    take(d, "v", -1, p->v, 2, P, D);
    take(d, "dv", -1, p->dv, 2, P, D);
    take_distributions(d);
    o->sync(o, 0);
    return osv_ops_status(o);
}

/* ---- the files ---- */

static int write_activations(const dump *d, const char *path)
{
    osv_error *e = d->t->ops->error;
    osv_tensor_out *out = calloc((size_t)d->tensors + 1, sizeof *out);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < d->tensors; i++) {
        const tensor *x = &d->tensor[i];
        out[i] = (osv_tensor_out){
            .name = x->name, .dtype = "F32", .rank = x->rank, .shape = {x->rows, x->cols}, .data = x->data};
    }
    const osv_metadata metadata[] = {{"format", "osv-dump/1"}};
    int status = osv_safetensors_write(path, out, d->tensors, metadata, 1, e);
    free(out);
    return status;
}

static int write_rows(const json_t *rows, const char *path, osv_error *e)
{
    /* 17 digits: the script computes with what was computed with here. */
    char *text = json_dumps(rows, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for its text", path);
    const osv_piece piece[] = {{text, strlen(text)}, {"\n", 1}};
    int status = osv_file_write(path, piece, 2, e);
    free(text);
    return status;
}

/* rows.json goes first and comes last: a folder that has it holds a whole dump. */
static int write_files(const dump *d, const json_t *rows, const char *path)
{
    osv_error *e = d->t->ops->error;
    char *activations_path = NULL, *rows_path = NULL;
    OSV_TRY(osv_output_make(path, e));
    OSV_TRY(osv_output_remove(path, rows_name, e));
    int status = osv_path_join(&activations_path, path, activations_name, e);
    if (!status) status = osv_path_join(&rows_path, path, rows_name, e);
    if (!status) status = write_activations(d, activations_path);
    if (!status) status = write_rows(rows, rows_path, e);
    if (status) rmdir(path); /* refused where something is in it */
    free(activations_path);
    free(rows_path);
    return status;
}

/* ---- */

int osv_dump_check(const char *path, bool force, osv_error *e)
{
    return osv_output_check(&dump_output, path, force, e);
}

static int open_chooser(dump *d)
{
    osv_ops *o = d->t->ops;
    osv_bump bytes = {0};
    OSV_TRY(osv_chooser_open(&d->chooser, d->t->model, 1, o->error));
    osv_chooser_lay_out(&d->chooser, &bytes, 1);
    d->chooser_memory = o->alloc(o, bytes.used);
    osv_chooser_lay_out(&d->chooser, &(osv_bump){.memory = d->chooser_memory}, 1);
    return osv_ops_status(o);
}

static void close_chooser(dump *d)
{
    if (d->chooser_memory) d->t->ops->free(d->t->ops, d->chooser_memory);
    osv_chooser_close(&d->chooser);
}

/* The jobs job[0 .. J), which are one bin and all of t's. */
static int dump_bin(const osv_training *t, const int *job, const char *path, const char *model,
                    osv_dump_size *size)
{
    dump d = {.t = t};
    json_t *rows = NULL;
    int status = osv_once_open(&d.once, t, job, t->jobs);
    if (!status && t->comm->size > 1) status = open_chooser(&d);
    if (!status) status = osv_dump_rows(&rows, t, d.once.batch, model);
    if (!status) status = run(&d);
    if (!status && t->comm->rank == 0) status = write_files(&d, rows, path);
    if (!status)
        *size = (osv_dump_size){t->jobs, d.once.batch->base.T, d.once.batch->live.T, d.tensors, d.bytes};
    close_chooser(&d);
    osv_once_close(&d.once);
    for (int i = 0; i < d.tensors; i++) free(d.tensor[i].data);
    free(d.tensor);
    json_decref(rows);
    return status;
}

int osv_dump(const osv_training *t, const char *path, bool force, const char *model, osv_dump_size *size)
{
    osv_error *e = t->ops->error;
    osv_bin_size bin;
    OSV_TRY(osv_dump_check(path, force, e));
    int *all = malloc(2 * (size_t)t->jobs * sizeof *all + 1), *job = all + t->jobs, J = 0;
    if (!all) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int j = 0; j < t->jobs; j++) all[j] = j;
    int status = osv_pack_fill(&bin, t, job, &J, all, t->jobs);
    osv_training first = *t;
    first.jobs = J;
    first.on.recompute = bin.recompute;
    if (!status) status = dump_bin(&first, job, path, model, size);
    free(all);
    return status;
}
