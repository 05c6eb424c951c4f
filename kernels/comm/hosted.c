#include "kernels/comm/hosted.h"

#include <stdlib.h>

enum {
    PIECE = 1 << 22, /* numbers that are reduced at once */
    FEW = 1 << 13,   /* numbers up to which sending all of them to everybody takes less time */
};

typedef struct hosted hosted;

/* What on_host is told. */
typedef struct {
    hosted *h;
    enum { REDUCE, BROADCAST } what;
    osv_reduction reduction;
    int root;
} order;

struct hosted {
    osv_comm comm;
    osv_ops *ops;
    osv_world *world;
    osv_transport transport;
    order *order;   /* [2 + size] the reductions, then broadcasts by root */
    osv_real *part; /* [PIECE, or size x FEW] what all ranks have of some numbers */
    int *share;     /* [2, size] places and bytes */
};

/* x [n] = part [size, n] reduced */
static void reduce(osv_real *x, const osv_real *part, int size, size_t n, osv_reduction reduction)
{
    for (size_t i = 0; i < n; i++) {
        double sum = (double)part[i];
        for (int r = 1; r < size; r++) {
            double other = (double)part[(size_t)r * n + i];
            if (reduction == OSV_SUM)
                sum += other;
            else if (!(other <= sum)) /* NaN too */
                sum = other;
        }
        x[i] = (osv_real)sum;
    }
}

static void reduce_few(const hosted *h, osv_real *x, size_t n, osv_reduction reduction)
{
    const osv_transport *t = &h->transport;
    if (t->gather(t->state, h->part, x, n * sizeof *x)) reduce(x, h->part, h->comm.size, n, reduction);
}

/* Each rank reduces a share of the numbers, and gives it to all. */
static void reduce_piece(const hosted *h, osv_real *x, size_t n, osv_reduction reduction)
{
    const osv_transport *t = &h->transport;
    size_t size = (size_t)h->comm.size, own = (size_t)h->comm.rank;
    int *at = h->share, *bytes = at + size;
    for (size_t r = 0; r < size; r++) {
        at[r] = (int)(n * r / size * sizeof *x);
        bytes[r] = (int)(n * (r + 1) / size * sizeof *x) - at[r];
    }
    if (!t->trade(t->state, h->part, x, at, bytes)) return;
    reduce(x + n * own / size, h->part, h->comm.size, (size_t)bytes[own] / sizeof *x, reduction);
    t->join(t->state, x, at, bytes);
}

static void run(void *context, void *memory, size_t bytes)
{
    const order *o = context;
    hosted *h = o->h;
    size_t size = o->what == REDUCE ? sizeof(osv_real) : 1, n = bytes / size;
    osv_world_waits(h->world, true);
    for (size_t at = 0; at < n; at += PIECE) {
        char *x = (char *)memory + at * size;
        size_t part = n - at < PIECE ? n - at : PIECE;
        if (o->what == BROADCAST)
            h->transport.broadcast(h->transport.state, x, part, o->root);
        else
            (part <= FEW ? reduce_few : reduce_piece)(h, (osv_real *)(void *)x, part, o->reduction);
    }
    osv_world_waits(h->world, false);
}

static void all_reduce(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction)
{
    hosted *h = c->state;
    h->ops->on_host(h->ops, x, n * sizeof *x, run, &h->order[reduction]);
}

static void broadcast(osv_comm *c, void *x, size_t bytes, int root)
{
    hosted *h = c->state;
    h->ops->on_host(h->ops, x, bytes, run, &h->order[2 + root]);
}

static void all_gather(osv_comm *c, void *all, size_t bytes)
{
    for (int r = 0; r < c->size; r++) broadcast(c, (char *)all + (size_t)r * bytes, bytes, r);
}

static void exchange(osv_comm *c, void *out, const void *x, size_t bytes)
{
    const hosted *h = c->state;
    h->ops->sync(h->ops, 0);
    h->transport.gather(h->transport.state, out, x, bytes);
}

static void release(hosted *h)
{
    free(h->order);
    free(h->part);
    free(h->share);
    free(h);
}

static void close_hosted(osv_comm *c)
{
    hosted *h = c->state;
    h->ops->sync(h->ops, 0);
    h->transport.close(h->transport.state);
    release(h);
}

static hosted *allocate(osv_ops *o, osv_world *w, osv_group g, const osv_transport *t)
{
    size_t n = (size_t)g.size, numbers = n * FEW > PIECE + n ? n * FEW : PIECE + n;
    hosted *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    *h = (hosted){.ops = o,
                  .world = w,
                  .transport = *t,
                  .comm = {.name = t->name,
                           .rank = osv_group_place(g, w->rank),
                           .size = g.size,
                           .state = h,
                           .close = close_hosted,
                           .all_reduce = all_reduce,
                           .all_gather = all_gather,
                           .broadcast = broadcast,
                           .exchange = exchange},
                  .order = calloc(2 + n, sizeof *h->order),
                  .part = malloc(numbers * sizeof *h->part),
                  .share = calloc(2 * n, sizeof *h->share)};
    if (!h->order || !h->part || !h->share) {
        release(h);
        return NULL;
    }
    h->order[OSV_SUM] = (order){h, REDUCE, OSV_SUM, 0};
    h->order[OSV_MAX] = (order){h, REDUCE, OSV_MAX, 0};
    for (int r = 0; r < g.size; r++) h->order[2 + r] = (order){h, BROADCAST, OSV_SUM, r};
    return h;
}

int osv_hosted_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g, const osv_transport *t)
{
    hosted *h = allocate(o, w, g, t);
    *c = h ? &h->comm : NULL;
    if (h) return OSV_OK;
    t->close(t->state);
    return OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d ranks", g.size);
}
