/* What a call of an operator cannot avoid: bytes that have to be read and written, floating-point operations.
 */
#ifndef OSV_BENCH_OP_COST_H
#define OSV_BENCH_OP_COST_H

#include "tests/op_cases.h"

/* By the roles of its buffers: inputs are read once, outputs written once, what is updated both; weights are
 * read once. What a call holds but does not look at is left out. */
double op_bytes_moved(const op_call *c);
/* All that it holds in the filling's memory. */
double op_bytes_held(const op_call *c);

/* Multiplications and additions of products; of the rest about as many as a number takes, transcendental
 * functions counted as 10. */
double op_flops(const op_call *c);

#endif
