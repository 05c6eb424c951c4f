/* Where ranks meet: the address at which rank 0 listens, by what the launcher has put into the environment.
 *
 *     OSV_RENDEZVOUS=host:port   before all others; several hosts, with commas between, are tried in turn
 *     --tp                       this program's own start sets it, with OSV_RENDEZVOUS_FD for rank 0
 *     torchrun, or RANK          MASTER_ADDR, MASTER_PORT; the next port where torchrun's agent has taken it
 *     mpirun, srun with PMIx     rank 0 tells the others by MPI
 *     srun                       the first node of the step, a port made from the numbers of job and step */
#ifndef OSV_KERNELS_WORLD_PLACE_H
#define OSV_KERNELS_WORLD_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/launch.h"

typedef struct {
    char host[512]; /* names or addresses, with commas between */
    int port;
    char token[64]; /* of this launch: who has another one has come to the wrong place */
    int listening;  /* rank 0: a socket that listens there already; -1: none */
    bool by_mpi;    /* nothing is known, rank 0 has to tell it */
} osv_place;

/* `get` is getenv, or a test's. What cannot be understood is OSV_USAGE. */
int osv_place_find(osv_place *p, const osv_launch *l, char *(*get)(const char *name), osv_error *e);

/* The first of "node[03-05,9]-ib,other": "node03-ib". */
void osv_place_first_node(char *name, size_t room, const char *list);

/* Of "a,b" the i-th; false: there are fewer. */
bool osv_place_host(char *name, size_t room, const char *hosts, int i);

#endif
