/* Every operator as one rank of a model calls it. */
#ifndef OSV_BENCH_OP_SHAPES_H
#define OSV_BENCH_OP_SHAPES_H

#include "engine/model.h"
#include "tests/op_cases.h"

typedef struct {
    void *context;
    /* A call to be looked at: `text` is its shape in words, `rows` what it is done for at once. */
    void (*call)(void *context, const op_kind *kind, const void *shape, const char *text, int rows);
} op_visitor;

/* Operators whose time depends on the number of rows. Operators of the head are called for a quarter of them,
 * at most 256: about so many positions have logits. A job has 64 rows. */
void op_shapes_rows(const op_visitor *v, const osv_config *c, const osv_shard *s, int rows);

/* Attention within one long segment. */
void op_shapes_long(const op_visitor *v, const osv_config *c, const osv_shard *s, int tokens);

#endif
