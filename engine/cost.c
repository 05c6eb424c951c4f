#include "engine/cost.h"

#include <math.h>

/* Sums over the products of an iteration. Rates of 1 leave nothing that could be misread in `seconds`. */
typedef struct {
    osv_cost cost;
    double flops, bandwidth; /* of the machine */
    double seconds;
} account;

/* Forward and dX: the weight is read twice, and each row multiplied with it twice. */
static void product(account *a, const osv_weight *w, int rows)
{
    double size = (double)w->rows * w->cols;
    double bytes = 2 * size * (double)osv_format_bytes(w->format), flops = 4 * rows * size;
    if (rows == 0) return;
    a->cost.weight_bytes += bytes;
    a->cost.flops += flops;
    a->seconds += fmax(bytes / a->bandwidth, flops / a->flops);
}

/* Pairs of query and key that see each other in one head. */
static double pairs(const osv_worklist *w, int tiles, int window)
{
    double n = 0;
    for (int i = 0; i < tiles; i++) {
        const osv_query_tile *t = &w->query_tile[i];
        for (int q = t->row; q < t->row + t->count; q++)
            n += window > 0 && w->pos[q] + 1 > window ? window : w->pos[q] + 1;
    }
    return n;
}

/* forward q.k and P v; reverse q.k again, dP, dq, dk, dv: 7 products of 2 E FLOPs a pair */
static void attention(account *a, const osv_model *m, const osv_batch *b, int l)
{
    const osv_config *c = &m->config;
    bool last = l == c->N - 1;
    const osv_worklist *w = last ? &b->live.last : &b->live.work;
    int tiles = last ? w->query_tiles : b->live.query_tiles[l];
    double flops = 14 * pairs(w, tiles, c->window[l]) * m->shard.H * c->E;
    double bytes = 2.0 * 2 * b->frozen * m->shard.K * c->E * sizeof(osv_real);
    a->cost.flops += flops;
    a->cost.kv_bytes += bytes;
    a->seconds += flops / a->flops + bytes / a->bandwidth;
}

static account count(const osv_model *m, const osv_batch *b, double flops, double bandwidth)
{
    account a = {.flops = flops, .bandwidth = bandwidth};
    for (int l = b->first_block; l < b->end_block; l++) {
        const osv_block *w = &m->block[l];
        int T = b->live.active[l], Q = l == m->config.N - 1 ? b->live.R : T;
        product(&a, &w->k, T);
        product(&a, &w->v, T);
        product(&a, &w->q, Q);
        product(&a, &w->out, Q);
        product(&a, &w->gate, Q);
        product(&a, &w->up, Q);
        product(&a, &w->down, Q);
        attention(&a, m, b, l);
    }
    product(&a, &m->head, b->live.R);
    return a;
}

osv_cost osv_iteration_cost(const osv_model *m, const osv_batch *b)
{
    return count(m, b, 1, 1).cost;
}

double osv_floor(const osv_model *m, const osv_batch *b, double flops, double bandwidth)
{
    return count(m, b, flops, bandwidth).seconds;
}
