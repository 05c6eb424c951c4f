#include "bench/floor.h"

#include <math.h>

/* What a product and its reverse take: reading the weight twice, and computing. */
typedef struct {
    double bytes, flops;
} cost;

static cost product(const osv_weight *w, int rows)
{
    double size = (double)w->rows * w->cols;
    if (rows == 0) return (cost){0};
    return (cost){2 * size * (double)osv_format_bytes(w->format), 4 * rows * size};
}

/* Pairs of query and key that see each other in one head. */
static double pairs(const osv_worklist *w, int window)
{
    double n = 0;
    for (int i = 0; i < w->query_tiles; i++) {
        const osv_query_tile *t = &w->query_tile[i];
        for (int q = t->row; q < t->row + t->count; q++)
            n += window > 0 && w->pos[q] + 1 > window ? window : w->pos[q] + 1;
    }
    return n;
}

/* Forward q.k and P v; reverse q.k again, dP, dq, dk, dv: 7 products of 2 E FLOPs a pair. */
static double attention_flops(const osv_model *m, const osv_batch *b, int l)
{
    const osv_config *c = &m->config;
    return 14 * pairs(l == c->N - 1 ? &b->live.last : &b->live.work, c->window[l]) * m->shard.H * c->E;
}

enum { PRODUCTS = 7 };

static void products(cost p[PRODUCTS], const osv_model *m, const osv_batch *b, int l)
{
    const osv_block *w = &m->block[l];
    int T = b->live.active[l], Q = l == m->config.N - 1 ? b->live.R : T;
    const cost all[PRODUCTS] = {product(&w->k, T),   product(&w->v, T),    product(&w->q, Q),
                                product(&w->out, Q), product(&w->gate, Q), product(&w->up, Q),
                                product(&w->down, Q)};
    for (int i = 0; i < PRODUCTS; i++) p[i] = all[i];
}

static double at_least(cost c, osv_rates r)
{
    return fmax(c.bytes / r.bandwidth, c.flops / r.flops);
}

double osv_floor(const osv_model *m, const osv_batch *b, osv_rates r)
{
    double seconds = at_least(product(&m->head, b->live.R), r);
    for (int l = b->first_block; l < m->config.N; l++) {
        cost p[PRODUCTS];
        products(p, m, b, l);
        for (int i = 0; i < PRODUCTS; i++) seconds += at_least(p[i], r);
        seconds += attention_flops(m, b, l) / r.flops;
        seconds += 2.0 * 2 * b->frozen * m->shard.K * m->config.E * sizeof(osv_real) / r.bandwidth;
    }
    return seconds;
}

double osv_iteration_flops(const osv_model *m, const osv_batch *b)
{
    double flops = product(&m->head, b->live.R).flops;
    for (int l = b->first_block; l < m->config.N; l++) {
        cost p[PRODUCTS];
        products(p, m, b, l);
        for (int i = 0; i < PRODUCTS; i++) flops += p[i].flops;
        flops += attention_flops(m, b, l);
    }
    return flops;
}
