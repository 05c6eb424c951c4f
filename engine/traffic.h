/* What an iteration sends between ranks, by counting: the same for every rank. docs/ranks.md has it as a
 * table. Pure: shapes alone. */
#ifndef OSV_ENGINE_TRAFFIC_H
#define OSV_ENGINE_TRAFFIC_H

#include "engine/batch.h"
#include "engine/model.h"

/* Collective operators, and the bytes of what they are called with: the buffer of an all_reduce or a
 * broadcast. What of it crosses a wire is the network's affair: 2 (n - 1) / n of an all_reduce on n ranks at
 * best. */
typedef struct {
    long calls;
    size_t bytes;
} osv_traffic;

/* Of osv_forward and osv_backward. */
osv_traffic osv_iteration_traffic(const osv_model *m, const osv_batch *b, const osv_switches *on);

#endif
