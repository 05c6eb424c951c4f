#include "engine/shard.h"

/* Share of `rank` in n things, in whole units: first and count. Shares differ by at most one unit. */
static void split(int n, int unit, int rank, int size, int *first, int *count)
{
    long units = n / unit;
    long from = units * rank / size, to = units * (rank + 1) / size;
    *first = (int)(from * unit);
    *count = (int)((to - from) * unit);
}

/* Columns and vocabulary rows go in eights where they can, so that rows of a slice stay aligned for vector
 * loads and matrix units. */
static int unit_of(int n, int size)
{
    return n % 8 == 0 && n / 8 >= size ? 8 : 1;
}

int osv_shard_make(osv_shard *s, const osv_config *config, int rank, int size, osv_error *e)
{
    if (size < 1 || rank < 0 || rank >= size)
        return OSV_FAIL(e, OSV_USAGE, "rank %d of %d ranks does not exist", rank, size);
    if (size > config->H)
        return OSV_FAIL(e, OSV_USAGE, "%d ranks cannot share %d query heads; use at most --tp %d", size,
                        config->H, config->H);
    if (size > config->F || size > config->V)
        return OSV_FAIL(e, OSV_USAGE, "%d ranks cannot share %d ffn columns and %d vocabulary rows", size,
                        config->F, config->V);
    *s = (osv_shard){.rank = rank, .size = size};
    split(config->H, 1, rank, size, &s->head0, &s->H);
    split(config->F, unit_of(config->F, size), rank, size, &s->ffn0, &s->F);
    split(config->V, unit_of(config->V, size), rank, size, &s->vocab0, &s->V);
    int group = config->H / config->K; /* query heads that read one kv head */
    s->kv0 = s->head0 / group;
    s->K = (s->head0 + s->H - 1) / group - s->kv0 + 1;
    s->kv_twice = s->head0 % group != 0;
    for (int r = 0; r < size; r++) {
        int first, count;
        split(config->V, unit_of(config->V, size), r, size, &first, &count);
        if (count > s->V_most) s->V_most = count;
    }
    return OSV_OK;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

osv_shard osv_shard_widest(const osv_config *config, int size)
{
    osv_shard widest = {.size = size}, s;
    osv_error ignored = {0};
    for (int r = 0; r < size && !osv_shard_make(&s, config, r, size, &ignored); r++)
        widest = (osv_shard){.size = size,
                             .H = larger(widest.H, s.H),
                             .K = larger(widest.K, s.K),
                             .F = larger(widest.F, s.F),
                             .V = s.V_most,
                             .V_most = s.V_most};
    return widest;
}
