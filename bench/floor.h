/* The floor of an iteration: the time below which no implementation on this machine can go. Printed beside
 * every measurement. */
#ifndef OSV_BENCH_FLOOR_H
#define OSV_BENCH_FLOOR_H

#include "bench/rates.h"
#include "engine/batch.h"
#include "engine/model.h"

/* Seconds: sum over the iteration's products of max(2 x weight bytes / bandwidth, 4 x rows x in x out /
 * rate), rows being live tokens, in the last block scored positions (keys and values: live tokens), at the
 * head scored positions; plus attention's FLOPs, and the bytes of frozen keys and values. */
double osv_floor(const osv_model *m, const osv_batch *b, osv_rates rates);

/* Operations of those products, forward and reverse, and of attention. */
double osv_iteration_flops(const osv_model *m, const osv_batch *b);

#endif
