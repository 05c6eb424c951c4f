/* The communicator on memory of the ops: what it computes, in which order, and in a recorded graph. Usage:
 * ranks-comm BACKEND [TP [RANKS]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ranks/ranks.h"

/* Of a number whose sums are exact: whole, and small. */
static float whole(int rank, size_t i)
{
    return (float)((i * 7 + (size_t)rank * 13) % 1001) - 500;
}

static float *numbers(size_t n)
{
    float *x = malloc(n * sizeof *x + 1);
    if (!x) exit(1);
    return x;
}

static void *upload(const ranks *r, const void *host, size_t bytes)
{
    void *x = r->ops->alloc(r->ops, bytes);
    r->ops->copy(r->ops, x, host, bytes, OSV_TO_DEVICE);
    return x;
}

static void read_back(const ranks *r, void *host, const void *x, size_t bytes)
{
    r->ops->copy(r->ops, host, x, bytes, OSV_TO_HOST);
    r->ops->sync(r->ops, 0);
}

static bool reduces(ranks *r, size_t n, osv_reduction reduction)
{
    float *host = numbers(n);
    bool good = true;
    for (size_t i = 0; i < n; i++) host[i] = whole(r->comm->rank, i);
    float *x = upload(r, host, n * sizeof *host);
    r->comm->all_reduce(r->comm, x, n, reduction);
    read_back(r, host, x, n * sizeof *host);
    for (size_t i = 0; good && i < n; i++) {
        float want = whole(0, i);
        for (int k = 1; k < r->comm->size; k++)
            want = reduction == OSV_SUM ? want + whole(k, i) : fmaxf(want, whole(k, i));
        if (host[i] != want) good = ranks_say(r, "[%zu] of %zu is %g, not %g", i, n, host[i], want);
    }
    r->ops->free(r->ops, x);
    free(host);
    return good;
}

/* Numbers whose sum depends on the order, to the last bit: added up rank by rank. */
static bool in_order(ranks *r, size_t n)
{
    float *host = numbers(n);
    bool good = true;
    for (size_t i = 0; i < n; i++) host[i] = expf((float)(whole(r->comm->rank, i) / 40));
    float *x = upload(r, host, n * sizeof *host);
    r->comm->all_reduce(r->comm, x, n, OSV_SUM);
    read_back(r, host, x, n * sizeof *host);
    for (size_t i = 0; good && i < n; i++) {
        double want = 0;
        for (int k = 0; k < r->comm->size; k++) want += (double)expf(whole(k, i) / 40);
        if (host[i] != (float)want) good = ranks_say(r, "[%zu] of %zu is %a, not %a", i, n, host[i], want);
    }
    if (!ranks_same(r, host, n * sizeof *host)) good = ranks_say(r, "ranks differ in %zu numbers", n);
    r->ops->free(r->ops, x);
    free(host);
    return good;
}

/* A number that is none on one rank is none on all. */
static bool spreads_nan(ranks *r, osv_reduction reduction)
{
    float host[3] = {1, r->comm->rank == r->comm->size - 1 ? NAN : 2, 3};
    float *x = upload(r, host, sizeof host);
    r->comm->all_reduce(r->comm, x, 3, reduction);
    read_back(r, host, x, sizeof host);
    r->ops->free(r->ops, x);
    return !isnan(host[0]) && isnan(host[1]) && !isnan(host[2]);
}

static bool gathers(ranks *r, size_t bytes)
{
    size_t size = (size_t)r->comm->size, own = (size_t)r->comm->rank;
    unsigned char *host = calloc(size, bytes + 1);
    bool good = true;
    for (size_t i = 0; i < bytes; i++) host[own * bytes + i] = (unsigned char)(i + 31 * own);
    void *x = upload(r, host, size * bytes);
    r->comm->all_gather(r->comm, x, bytes);
    read_back(r, host, x, size * bytes);
    for (size_t i = 0; i < size * bytes; i++)
        if (host[i] != (unsigned char)(i % bytes + 31 * (i / bytes))) good = false;
    r->ops->free(r->ops, x);
    free(host);
    return good;
}

static bool broadcasts(ranks *r, size_t bytes, int root)
{
    unsigned char *host = malloc(bytes);
    bool good = true;
    for (size_t i = 0; i < bytes; i++) host[i] = (unsigned char)(i * 3 + (size_t)r->comm->rank * 5);
    void *x = upload(r, host, bytes);
    r->comm->broadcast(r->comm, x, bytes, root);
    read_back(r, host, x, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (host[i] != (unsigned char)(i * 3 + (size_t)root * 5)) good = false;
    r->ops->free(r->ops, x);
    free(host);
    return good;
}

/* Between ops, in a graph where the filling has them, run after run: x = size x + size. */
static bool recorded(ranks *r)
{
    enum { N = 20000, RUNS = 3 };
    osv_ops *o = r->ops;
    osv_graph *graph = NULL;
    float *host = numbers(N), want = 1;
    bool good = true;
    for (size_t i = 0; i < N; i++) host[i] = 1;
    float *x = upload(r, host, N * sizeof *x), *one = upload(r, host, N * sizeof *x);
    for (int run = 0; run < RUNS; run++) {
        bool records = graph || o->graph_begin(o);
        if (!graph) {
            o->residual_add(o, x, x, one, NULL, N, 1);
            r->comm->all_reduce(r->comm, x, N, OSV_SUM);
            r->comm->broadcast(r->comm, x, N * sizeof *x, run % r->comm->size);
        }
        if (records && !graph) graph = o->graph_end(o);
        if (records) o->graph_run(o, graph);
        want = (float)r->comm->size * (want + 1);
    }
    if (strcmp(o->name, "cuda") == 0 && !graph) good = ranks_say(r, "no graph was recorded");
    read_back(r, host, x, N * sizeof *x);
    for (size_t i = 0; good && i < N; i++)
        if (host[i] != want) good = ranks_say(r, "[%zu] is %g after %d runs, not %g", i, host[i], RUNS, want);
    o->graph_free(o, graph);
    o->free(o, x);
    o->free(o, one);
    free(host);
    return good;
}

static bool agrees(ranks *r)
{
    osv_comm *c = r->comm;
    const size_t large = (size_t)1 << 40;
    bool good = osv_comm_least(c, large - (size_t)c->rank) == large - (size_t)(c->size - 1);
    good = good && osv_comm_most(c, 3 + c->rank) == 3 + c->size - 1;
    return good && osv_comm_told(c, 10 + c->rank) == 10 && osv_comm_neighbours(c) == c->size;
}

int main(int argc, char **argv)
{
    /* a piece of the emulation's on_host has 8192 numbers, one of MPI's 2^22 */
    static const size_t many[] = {1, 2, 1023, 8192, 8193, 30011}, huge = ((size_t)1 << 22) + 17;
    ranks r;
    ranks_open(&r, argc, argv);
    bool sum = true, max = true, order = true, all = true, cast = true;
    bool ours = strcmp(r.comm->name, "nccl") != 0; /* NCCL has an order of its own, and no word on NaN */
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        sum &= reduces(&r, many[i], OSV_SUM);
        max &= reduces(&r, many[i], OSV_MAX);
        order &= !ours || in_order(&r, many[i]);
        all &= gathers(&r, many[i]);
        cast &= broadcasts(&r, many[i], (int)i % r.comm->size);
    }
    ranks_test(&r, sum, "sums are exact");
    ranks_test(&r, max, "maxima");
    ranks_test(&r, order, "sums in the order of the ranks, the same on all");
    ranks_test(&r, spreads_nan(&r, OSV_SUM) && (!ours || spreads_nan(&r, OSV_MAX)), "a NaN goes to all");
    if (strcmp(r.ops->name, "cuda") != 0)
        ranks_test(&r, reduces(&r, huge, OSV_SUM) && in_order(&r, huge), "more than one piece");
    ranks_test(&r, all, "parts come together");
    ranks_test(&r, cast, "one rank's bytes go to all");
    ranks_test(&r, recorded(&r), "between ops, recorded");
    ranks_test(&r, agrees(&r), "decisions");
    return ranks_close(&r);
}
