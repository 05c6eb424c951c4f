#include "optim/once.h"

#include <stdlib.h>
#include <string.h>

#include "engine/bump.h"
#include "optim/bin.h"
#include "optim/objective.h"

static void lay_out(osv_once *p, const int *job, int J, osv_bump *memory)
{
    const osv_batch *b = p->batch;
    size_t D = (size_t)p->t->model->config.D;
    p->v = osv_take(memory, (size_t)b->P * D, sizeof *p->v);
    p->dv = osv_take(memory, (size_t)b->G * D, sizeof *p->dv);
    p->loss = osv_take(memory, (size_t)b->C, sizeof *p->loss);
    osv_objective_place(&p->objective, memory, b, p->t->job, job, J);
}

/* The start vectors. */
static int upload(osv_once *p, const int *job, int J)
{
    osv_ops *o = p->t->ops;
    size_t D = (size_t)p->t->model->config.D, numbers = (size_t)p->batch->P * D;
    osv_real *host = calloc(numbers + 1, sizeof *host);
    if (!host) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    for (int i = 0; i < J; i++)
        osv_job_start(host + (size_t)p->batch->job_param[i] * D, &p->t->job[job[i]], (int)D);
    o->copy(o, p->v, host, numbers * sizeof *host, OSV_TO_DEVICE);
    o->sync(o, 0);
    free(host);
    return osv_ops_status(o);
}

int osv_once_open(osv_once *p, const osv_training *t, const int *job, int J)
{
    osv_ops *o = t->ops;
    osv_bump bump = {0};
    *p = (osv_once){.t = t};
    OSV_TRY(osv_bin_batch(&p->batch, t, job, J, false));
    OSV_TRY(osv_step_open(&p->step, o, t->comm, t->model, p->batch, &t->on));
    lay_out(p, job, J, &bump);
    p->memory = o->alloc(o, bump.used);
    OSV_TRY(osv_ops_status(o));
    lay_out(p, job, J, &(osv_bump){.memory = p->memory, .o = o});
    return upload(p, job, J);
}

/* ---- who looks on ---- */

static void begin(void *context, osv_ops *o, const char *name, int number)
{
    osv_once *p = context;
    if (strcmp(name, "prefix") == 0) p->part = OSV_UNSTEERED;
    if (strcmp(name, "forward") == 0) p->part = OSV_FORWARD;
    if (strcmp(name, "backward") == 0) p->part = OSV_BACKWARD;
    if (p->part == OSV_BACKWARD && strcmp(name, "block") == 0)
        p->again = !p->again && osv_recomputed(p->batch, &p->step->on, number);
    if (!p->again && p->watch->begin) p->watch->begin(p->watch->context, o, name, number);
}

static void end(void *context, osv_ops *o, const char *name, int number)
{
    osv_once *p = context;
    if (!p->again) p->watch->end(p->watch->context, o, name, number);
    if (strcmp(name, "prefix") == 0 || strcmp(name, "forward") == 0 || strcmp(name, "backward") == 0)
        p->part = OSV_ELSEWHERE;
}

void osv_once_run(osv_once *p, const osv_watch *watch)
{
    osv_ops *o = p->t->ops;
    const osv_watch *before = o->watch;
    p->watch = watch;
    o->watch = &(osv_watch){.context = p, .begin = begin, .end = end};
    osv_prefix(p->step);
    osv_forward(p->step, p->v);
    o->objective(o, p->step->buffer.w, p->loss, p->step->buffer.loss, &p->objective,
                 osv_losses_of(&p->batch->live));
    osv_backward(p->step, p->v, p->dv);
    o->watch = before;
}

void osv_once_close(osv_once *p)
{
    osv_ops *o = p->t->ops;
    if (osv_ops_status(o)) o->sync(o, 0); /* copies of who looked on have ended */
    if (p->memory) o->free(o, p->memory);
    osv_step_close(p->step);
    osv_batch_free(p->batch);
}
