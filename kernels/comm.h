/* Operators between ranks, ordered with the ops of the filling they were opened with. One rank has the
 * communicator `self`, whose collectives do nothing, so that the engine has one path for one rank and for
 * many. Wire type osv_real. */
#ifndef OSV_KERNELS_COMM_H
#define OSV_KERNELS_COMM_H

#include <stddef.h>

#include "kernels/error.h"
#include "kernels/real.h"

typedef struct osv_comm osv_comm;
typedef enum { OSV_SUM, OSV_MAX } osv_reduction;

struct osv_comm {
    int rank, size;
    void *state;
    void (*all_reduce)(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction); /* in place */
    void (*all_gather)(osv_comm *c, osv_real *out, const osv_real *x, size_t n);     /* out [size, n] */
    void (*broadcast)(osv_comm *c, void *x, size_t bytes, int root);
    void (*barrier)(osv_comm *c);
    void (*abort)(osv_comm *c, int status); /* ends this rank and tells the others; one rank: does nothing */
    void (*close)(osv_comm *c);
};

int osv_comm_self_open(osv_comm **c, osv_error *error);

#endif
