/* What one rank of a tensor-parallel group holds: heads, ffn columns and vocabulary rows are split as evenly
 * as they go; the residual stream is whole on every rank. One rank holds everything. */
#ifndef OSV_ENGINE_SHARD_H
#define OSV_ENGINE_SHARD_H

#include "engine/config.h"

typedef struct {
    int rank, size;
    int H, K, F, V;               /* local sizes */
    int head0, kv0, ffn0, vocab0; /* global index of the first of each */
    int V_most;                   /* of the rank that has the most */
    int kv_twice;                 /* kv heads, the first ones, that the rank before holds too: 0 or 1 */
} osv_shard;

/* Fails where there are more ranks than query heads. A kv head is held by every rank whose query heads read
 * it. */
int osv_shard_make(osv_shard *s, const osv_config *config, int rank, int size, osv_error *e);

/* As much of everything as any of the ranks holds: what all of them plan with, so that they plan alike. */
osv_shard osv_shard_widest(const osv_config *config, int size);

#endif
