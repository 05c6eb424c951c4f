/* A communicator on host memory, over something that moves bytes between hosts: what ops keep in a device
 * comes and goes through osv_ops.on_host. Here numbers are added up in the order of the ranks, each of them
 * on one rank, or, where they are few, on every rank in the same way. */
#ifndef OSV_KERNELS_COMM_HOSTED_H
#define OSV_KERNELS_COMM_HOSTED_H

#include "kernels/comm.h"

/* All ranks of a group call the same, and wait. What fails sets the ops' error, and is false. */
typedef struct {
    const char *name;
    void *state;
    void (*close)(void *state);
    /* out [size, bytes]: x of each rank */
    bool (*gather)(void *state, void *out, const void *x, size_t bytes);
    /* x has a part for each rank, bytes[r] at at[r]; out [size, bytes of the own part]: those of all ranks.
     */
    bool (*trade)(void *state, void *out, const void *x, const int *at, const int *bytes);
    /* x has a part of each rank; this one's is in its place. */
    bool (*join)(void *state, void *x, const int *at, const int *bytes);
    bool (*broadcast)(void *state, void *x, size_t bytes, int root);
} osv_transport;

/* The transport is closed with it, also after a failure. */
int osv_hosted_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g, const osv_transport *t);

#endif
