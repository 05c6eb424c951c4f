/* For programs of several ranks: opening, and checks in which all ranks take part. Rank
 * 0 prints TAP. */
#ifndef OSV_TESTS_RANKS_RANKS_H
#define OSV_TESTS_RANKS_RANKS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/backend.h"

typedef struct {
    osv_error error; /* the ops' */
    osv_ops *ops;
    osv_world *world; /* NULL: one rank */
    osv_comm *comm;   /* of all ranks */
} ranks;

/* The command line: BACKEND [TP [RANKS]]. "cpu", "ref" or "cuda", which is the emulation here; on a machine
 * with GPUs "gpu", through the host, and "nccl", which also one rank can do. f32, one thread. Under mpirun
 * ranks talk by MPI; with RANKS the program starts itself so often, and they talk by TCP. What fails ends the
 * program. */
void ranks_open(ranks *r, int argc, char **argv);
/* Another communicator, of a group of them. */
void ranks_group(ranks *r, osv_comm **c, osv_group g);
/* Prints the plan; returns the exit status. */
int ranks_close(ranks *r);

/* On every rank: the test passes if it did on all of them. */
void ranks_test(ranks *r, bool passed, const char *name);
/* Says what is wrong, on the rank where it is; false. */
bool ranks_say(const ranks *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Have all ranks the same bytes? */
bool ranks_same(ranks *r, const void *x, size_t bytes);

#endif
