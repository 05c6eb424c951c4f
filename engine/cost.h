/* What an iteration over a batch costs, by counting: forward and reverse pass, and the floor, the time below
 * which no implementation can go on a machine of given rates. Pure: shapes alone. */
#ifndef OSV_ENGINE_COST_H
#define OSV_ENGINE_COST_H

#include "engine/batch.h"
#include "engine/model.h"

typedef struct {
    double flops;        /* 2 a multiplication and addition */
    double weight_bytes; /* of weights that are read, in the format they have in m; twice an iteration */
    double kv_bytes;     /* of frozen keys and values that are read */
} osv_cost;

/* Weights need their shapes only (osv_model_shapes). */
osv_cost osv_iteration_cost(const osv_model *m, const osv_batch *b);

/* Seconds: sum over the iteration's products of max(2 x weight bytes / bandwidth, 4 x rows x in x out /
 * flops), rows being live tokens, in the last block scored positions (keys and values: live tokens), at the
 * head scored positions; plus attention's FLOPs, and the bytes of frozen keys and values. flops in FLOP/s of
 * a large product, bandwidth in bytes/s. */
double osv_floor(const osv_model *m, const osv_batch *b, double flops, double bandwidth);

#endif
