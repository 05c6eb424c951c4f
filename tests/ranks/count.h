/* A communicator that counts what is asked of another one. */
#ifndef OSV_TESTS_RANKS_COUNT_H
#define OSV_TESTS_RANKS_COUNT_H

#include "engine/traffic.h"
#include "kernels/comm.h"

typedef struct {
    osv_comm comm, *of;
    osv_traffic sent; /* so far */
} counted_comm;

/* Borrows `of`; there is nothing to close. */
osv_comm *counted_comm_make(counted_comm *c, osv_comm *of);

#endif
