/* Operators between the ranks that share a model. One rank has the communicator `self`, whose operators do
 * nothing, so that the engine has one path for one rank and for many.
 *
 * Every rank calls the same operators in the same order with the same sizes. The first group works on memory
 * of the ops it was opened with, ordered with them and recorded as they are: nothing waits. The second group
 * works on host memory, after all that was submitted, and waits. Failures stick in the ops' error.
 *
 * Sums have one fixed order for a number of ranks, and all ranks get the same bytes. Wire type osv_real. */
#ifndef OSV_KERNELS_COMM_H
#define OSV_KERNELS_COMM_H

#include "kernels/ops.h"
#include "kernels/world.h"

typedef struct osv_comm osv_comm;
typedef enum { OSV_SUM, OSV_MAX } osv_reduction;

struct osv_comm {
    const char *name; /* "self", "mpi", "tcp", "nccl" */
    int rank, size;
    void *state;
    void (*close)(osv_comm *c); /* all ranks together; the ops are still open */

    void (*all_reduce)(osv_comm *c, osv_real *x, size_t n, osv_reduction reduction); /* in place */
    /* all [size, bytes]; this rank's are in their place already. */
    void (*all_gather)(osv_comm *c, void *all, size_t bytes);
    void (*broadcast)(osv_comm *c, void *x, size_t bytes, int root);

    /* What each rank has to say, to all of them, also after a failure: out [size, bytes], bytes <=
     * OSV_EXCHANGE. */
    void (*exchange)(osv_comm *c, void *out, const void *x, size_t bytes);
};

int osv_comm_self_open(osv_comm **c, osv_error *error);

/* MPI, for memory of any ops: what a device holds goes through the host. In builds with MPI only. The ranks
 * of a group are a communicator; all groups of this kind open theirs together. The first call of either
 * starts MPI, which ends with the process. */
int osv_mpi_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g);
/* x [bytes] of rank 0, to all that were launched: where they do not know each other yet. */
int osv_mpi_tell(void *x, size_t bytes, const osv_launch *launch, osv_error *error);

/* TCP, likewise, in every build. */
int osv_tcp_open(osv_comm **c, osv_ops *o, osv_world *w, osv_group g);

/* NCCL, for GPUs, one a rank. In builds with nvcc and NCCL only. `id` comes from osv_nccl_id on one of the
 * ranks. What host memory needs is left to `host`, a communicator of the same ranks, which the new one owns
 * from then on, also after a failure. */
enum { OSV_NCCL_ID = 128 };
int osv_nccl_id(unsigned char id[OSV_NCCL_ID], osv_error *error);
int osv_nccl_open(osv_comm **c, osv_ops *o, const unsigned char id[OSV_NCCL_ID], osv_comm *host);

/* What all ranks agree on; kernels/comm/agree.c. */
size_t osv_comm_least(osv_comm *c, size_t x);
int osv_comm_most(osv_comm *c, int x);
long long osv_comm_told(osv_comm *c, long long x); /* rank 0's x */

/* Ranks of the communicator that are on this host, this one included. */
int osv_comm_neighbours(osv_comm *c);

#endif
