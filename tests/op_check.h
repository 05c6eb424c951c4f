/* One call of an operator on one filling, with everything that has to be watched around it.
 *
 * op_call_make opens nothing: the filling belongs to the caller. A call owns its buffers, on the host and in
 * the filling's memory, and its weights; op_call_free releases them. Each buffer lies between guard words and
 * is
 *
 *     input    random or given; must come back as it was
 *     output   full of NaN before the call, compared after it
 *     updated  random or given before the call, compared after it
 *     scratch  full of NaN; only its guards count
 *
 * Guards are NaN too, so that reading beyond a buffer shows as well as writing there. Inputs depend only on
 * the operator's name and the order in which buffers are made: all fillings get the same. Those of more than
 * OP_FRESH numbers, which only benchmarks have, repeat themselves. */
#ifndef OSV_TESTS_OP_CHECK_H
#define OSV_TESTS_OP_CHECK_H

#include <stdint.h>

#include "kernels/ops.h"
#include "tests/op_forest.h"

enum { OP_BUFFERS = 24, OP_WEIGHTS = 4, OP_FRESH = 1 << 20 };

typedef enum { OP_INPUT, OP_OUTPUT, OP_UPDATED, OP_SCRATCH } op_role;

typedef struct {
    const char *name;
    op_role role;
    bool real;     /* osv_real; otherwise bytes, which are compared exactly */
    double unit;   /* size of an element before terms cancel, where they may cancel to nothing; else 0 */
    size_t bytes;  /* without guards */
    void *initial; /* [bytes] host */
    char *memory;  /* the filling's: guard, payload, guard */
} op_buffer;

typedef struct op_call op_call;

/* An operator as tests and benchmarks call it. */
typedef struct {
    const char *name;
    void (*make)(op_call *c); /* from c->shape: buffers and weights */
    void (*run)(op_call *c);  /* the one call */
} op_kind;

struct op_call {
    const op_kind *kind;
    const void *shape; /* of the type that belongs to the kind */
    osv_ops *o;
    op_buffer buffer[OP_BUFFERS];
    int buffers;
    osv_weight weight[OP_WEIGHTS]; /* placed */
    void *weight_memory[OP_WEIGHTS];
    int weights;
    op_forest forest; /* attention only */
    uint64_t random;
    bool copied; /* by op_call_copy */
};

/* Makes the buffers; failures stick in o->error. */
void op_call_make(op_call *c, const op_kind *kind, const void *shape, osv_ops *o);
void op_call_free(op_call *c);
/* The same call in other memory of the filling, weights included; for benchmarks, without what op_intact
 * needs. `from` must outlive it. */
void op_call_copy(op_call *copy, const op_call *from);
void op_call_run(op_call *c); /* and waits */

/* These return the index of the buffer. Pointers given are host memory, copied. */
int op_random(op_call *c, const char *name, op_role role, size_t n, double scale); /* uniform, +-scale */
int op_given(op_call *c, const char *name, op_role role, const osv_real *x, size_t n);
int op_poisoned(op_call *c, const char *name, op_role role, size_t n); /* output or scratch */
int op_poisoned_ints(op_call *c, const char *name, op_role role, size_t n);
int op_bytes(op_call *c, const char *name, const void *x, size_t bytes);
/* n numbers: of(c, i) for i < n. */
int op_ints(op_call *c, const char *name, int n, int (*of)(const op_call *c, int i));

/* Random in the given format and placed; returns the index in c->weight. A norm weight or bias has rows 1. */
int op_weight(op_call *c, osv_format format, int rows, int cols);

osv_real *op_at(const op_call *c, int buffer);
int *op_int_at(const op_call *c, int buffer);
size_t op_count(const op_call *c, int buffer); /* osv_reals in it */

/* What the buffer holds now: host memory for the caller to free; NULL when there is none. */
osv_real *op_read(const op_call *c, int buffer);

/* True if all guards are whole and all inputs unchanged; otherwise `why` says which is not. */
bool op_intact(const op_call *c, char *why, size_t size);

/* For an output whose elements are small differences of terms of about this size (a softmax over one key has
 * the gradient 0): no float filling can do better than its rounding of the terms. */
void op_unit(op_call *c, int buffer, double unit);

/* |a - b| / max(|b|, unit sqrt(n)), NaN if either holds one; 0 / 0 is 0. Compare it as !(error <= tolerance).
 */
double op_error(const osv_real *a, const osv_real *b, size_t n, double unit);

double op_uniform(uint64_t *state); /* -1 .. 1, splitmix64 */

#endif
