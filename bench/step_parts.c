#include "bench/step_parts.h"
#include "bench/timing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bump.h"
#include "engine/maths.h"
#include "optim/adam.h"
#include "optim/bin.h"
#include "optim/objective.h"
#include "optim/random.h"

/* ---- who looks on ---- */

enum { DEEPEST = 8, EMPTY = 32, REPEATS = 5 };

/* What is begun and ends with nothing begun inside is an op. A stamp follows each op: op k lies between the
 * stamps k and k + 1. */
typedef struct {
    const char *open[DEEPEST];
    int depth, ops;
    bool leaf;
    const char *part[OSV_STAMPS], *op[OSV_STAMPS];
} recorder;

static const char *innermost(const recorder *r, const char *name)
{
    for (int i = 0; i < r->depth; i++)
        if (strcmp(r->open[i], name) == 0) return r->open[i];
    return NULL;
}

static const char *part_of(const recorder *r)
{
    if (innermost(r, "block")) return innermost(r, "backward") ? "block backward" : "block forward";
    if (innermost(r, "logits") || innermost(r, "losses") || innermost(r, "head")) return "head";
    return r->depth ? "steer" : "optimizer";
}

static void begin(void *context, osv_ops *o, const char *name, int number)
{
    recorder *r = context;
    (void)o, (void)number;
    if (r->depth < DEEPEST) r->open[r->depth++] = name;
    r->leaf = true;
}

static void end(void *context, osv_ops *o, const char *name, int number)
{
    recorder *r = context;
    (void)number;
    r->depth--;
    if (r->leaf && r->ops + 1 < OSV_STAMPS) {
        r->part[r->ops] = part_of(r);
        r->op[r->ops] = name;
        o->stamp(o, ++r->ops);
    }
    r->leaf = false;
}

/* ---- an iteration, as optim/bin.c has it ---- */

typedef struct {
    const osv_training *t;
    int J, D;
    osv_batch *batch;
    osv_step *step;
    void *memory;
    osv_real *v, *m, *s, *dv, *completion, *norm;
    osv_adam_params *params;
    osv_objective objective;
    void *idle; /* memory that is zeroed while ops are submitted; NULL: not needed */
    size_t idle_bytes;
    int idle_calls;
} iteration;

static void lay_out(iteration *i, osv_bump *b)
{
    const osv_batch *batch = i->batch;
    size_t J = (size_t)i->J, vectors = J * (size_t)i->D, C = (size_t)batch->C;
    i->v = osv_take(b, OSV_HISTORY * vectors, sizeof *i->v);
    i->m = osv_take(b, vectors, sizeof *i->m);
    i->s = osv_take(b, vectors, sizeof *i->s);
    i->dv = osv_take(b, vectors, sizeof *i->dv);
    i->completion = osv_take(b, C, sizeof *i->completion);
    i->norm = osv_take(b, J, sizeof *i->norm);
    i->params = osv_take(b, J, sizeof *i->params);
    osv_objective_place(&i->objective, b, batch, i->t->job, NULL, i->J);
}

static void put(osv_ops *o, void *to, const void *from, size_t bytes)
{
    o->copy(o, to, from, bytes, OSV_TO_DEVICE);
    o->sync(o, 0);
}

static void upload(iteration *i)
{
    osv_ops *o = i->t->ops;
    size_t D = (size_t)i->D, vectors = (size_t)i->J * D * sizeof *i->m;
    osv_real *v = calloc(D, sizeof *v);
    if (!v) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    o->zero(o, i->m, vectors);
    o->zero(o, i->s, vectors);
    for (int j = 0; v && j < i->J; j++) {
        const osv_job *job = &i->t->job[j];
        osv_adam_params params = osv_adam_step(job, 0, 1, false);
        osv_random_direction(v, i->D, job->options.init_norm, (unsigned long long)j, job->name, 0);
        put(o, i->v + (size_t)j * D, v, D * sizeof *v);
        put(o, i->params + j, &params, sizeof params);
    }
    free(v);
}

static void iterate(iteration *i)
{
    osv_ops *o = i->t->ops;
    size_t vectors = (size_t)i->J * (size_t)i->D;
    osv_forward(i->step, i->v);
    OP(objective, i->step->buffer.w, i->completion, i->step->buffer.loss, &i->objective,
       i->batch->live.scores.S);
    osv_backward(i->step, i->v, i->dv);
    OP(norm, i->norm, i->v, i->D, i->J);
    OP(norm, i->norm, i->dv, i->D, i->J);
    for (int h = OSV_HISTORY - 1; h > 0; h--)
        OP(copy, i->v + (size_t)h * vectors, i->v + (size_t)(h - 1) * vectors, vectors * sizeof(osv_real),
           OSV_ON_DEVICE);
    OP(adam, i->v, i->m, i->s, i->dv, NULL, i->params, i->D, i->J);
}

/* ---- the sums ---- */

/* Seconds that a stamp itself takes. */
static double empty(osv_ops *o)
{
    double least = INFINITY;
    for (int k = 0; k <= EMPTY; k++) o->stamp(o, k);
    for (int k = 0; k < EMPTY; k++) least = fmin(least, o->between(o, k, k + 1));
    return least;
}

static void run_watched(iteration *i, recorder *r, double *least)
{
    osv_ops *o = i->t->ops;
    const osv_watch watch = {r, begin, end}, *before = o->watch;
    *r = (recorder){0};
    for (int k = 0; k < i->idle_calls; k++) o->zero(o, i->idle, i->idle_bytes);
    o->stamp(o, 0);
    o->watch = &watch;
    iterate(i);
    o->watch = before;
    for (int k = 0; k < r->ops && !osv_ops_status(o); k++) least[k] = fmin(least[k], o->between(o, k, k + 1));
}

static void add(step_parts *p, const char *part, const char *op, double seconds)
{
    int i = 0;
    while (i < p->count && (strcmp(p->part[i].part, part) != 0 || strcmp(p->part[i].op, op) != 0)) i++;
    if (i == STEP_PARTS) return;
    if (i == p->count) p->part[p->count++] = (step_part){.part = part, .op = op};
    p->part[i].calls++;
    p->part[i].seconds += seconds;
    p->seconds += seconds;
}

static void measure(step_parts *p, iteration *i, recorder *r, double *least)
{
    osv_ops *o = i->t->ops;
    double of_stamp = empty(o);
    for (int k = 0; k < OSV_STAMPS; k++) least[k] = INFINITY;
    iterate(i); /* what a first call makes */
    for (int n = 0; n < REPEATS && !osv_ops_status(o); n++) run_watched(i, r, least);
    if (r->ops + 1 == OSV_STAMPS)
        OSV_FAIL(o->error, OSV_USAGE, "more than %d operators in an iteration; use a higher --layer",
                 OSV_STAMPS - 1);
    for (int k = 0; k < r->ops; k++) add(p, r->part[k], r->op[k], fmax(0, least[k] - of_stamp));
}

/* About 50 ms of work for the device. */
static void keep_busy(iteration *i, osv_rates rates)
{
    osv_ops *o = i->t->ops;
    if (!osv_on_device(o)) return;
    i->idle_bytes = (size_t)fmin(5e8, fmax(1e6, rates.bandwidth * 2e-4));
    i->idle_calls = (int)fmin(500, 1 + 0.05 * rates.bandwidth / (double)i->idle_bytes);
    i->idle = o->alloc(o, i->idle_bytes);
}

int step_parts_measure(step_parts *p, const osv_training *t, const int *index, osv_rates rates)
{
    osv_ops *o = t->ops;
    iteration i = {.t = t, .J = t->jobs, .D = t->model->config.D};
    recorder *r = malloc(sizeof *r);
    double *least = malloc(OSV_STAMPS * sizeof *least);
    osv_bump bump = {0};
    *p = (step_parts){0};
    int status = r && least ? OSV_OK : OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if (!status) status = osv_bin_batch(&i.batch, t, index, t->jobs, false);
    if (!status) status = osv_step_open(&i.step, o, t->comm, t->model, i.batch, &t->on);
    if (!status) {
        lay_out(&i, &bump);
        i.memory = o->alloc(o, bump.used);
        keep_busy(&i, rates);
        if (!osv_ops_status(o)) {
            lay_out(&i, &(osv_bump){.memory = i.memory, .o = o});
            upload(&i);
            osv_prefix(i.step);
            measure(p, &i, r, least);
        }
        status = osv_ops_status(o);
    }
    if (i.idle) o->free(o, i.idle);
    if (i.memory) o->free(o, i.memory);
    osv_step_close(i.step);
    osv_batch_free(i.batch);
    free(r);
    free(least);
    return status;
}
