#include "tests/ranks/count.h"

static void count(osv_comm *c, size_t bytes)
{
    counted_comm *k = c->state;
    k->sent.calls++;
    k->sent.bytes += bytes;
}

static void all_reduce(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction)
{
    osv_comm *of = ((counted_comm *)c->state)->of;
    count(c, n * sizeof *x);
    of->all_reduce(of, x, n, reduction);
}

static void all_gather(osv_comm *c, void *all, size_t bytes)
{
    osv_comm *of = ((counted_comm *)c->state)->of;
    count(c, (size_t)c->size * bytes);
    of->all_gather(of, all, bytes);
}

static void broadcast(osv_comm *c, void *x, size_t bytes, int root)
{
    osv_comm *of = ((counted_comm *)c->state)->of;
    count(c, bytes);
    of->broadcast(of, x, bytes, root);
}

static void exchange(osv_comm *c, void *out, const void *x, size_t bytes)
{
    osv_comm *of = ((counted_comm *)c->state)->of;
    of->exchange(of, out, x, bytes);
}

osv_comm *counted_comm_make(counted_comm *c, osv_comm *of)
{
    *c = (counted_comm){.of = of,
                        .comm = {.name = of->name,
                                 .rank = of->rank,
                                 .size = of->size,
                                 .state = c,
                                 .all_reduce = all_reduce,
                                 .all_gather = all_gather,
                                 .broadcast = broadcast,
                                 .exchange = exchange}};
    return &c->comm;
}
