/* --tp N where nobody has started ranks: the program starts itself, N times. */
#ifndef OSV_TOOLS_RANKS_START_H
#define OSV_TOOLS_RANKS_START_H

#include "kernels/backend.h"

/* By mpirun where there is one and this build has MPI, else by itself. Waits for all of them and exits as
 * they did; returns only what kept them from starting. */
int ranks_start(const osv_machine *m, char **argv, osv_error *e);

/* Processors that this process may run on, which a container or taskset can make fewer than there are. */
int ranks_processors(void);

#endif
