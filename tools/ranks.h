/* Several ranks of a tool: who this one is, and how they end. Every rank runs the same program on the same
 * command line; rank 0 alone prints and writes files. */
#ifndef OSV_TOOLS_RANKS_H
#define OSV_TOOLS_RANKS_H

#include "kernels/backend.h"

/* Fills m->launch. Where --tp asks for several ranks and nobody has started them, the program starts itself
 * again under mpirun, as often as that, and does not return. Ranks other than 0 lose their standard output:
 * *quiet becomes true. */
int ranks_find(osv_machine *m, char **argv, bool *quiet, osv_error *e);

/* Threads that this rank should have: a share of the processors here, unless the launcher has bound it to
 * some of its own. */
int ranks_threads(const osv_launch *l);

/* The last thing that every rank does with its communicator, whatever became of it; NULL: it never got one.
 * Returns the exit status. Of several ranks that failed alike one has the message; a rank that failed while
 * others go on takes them with it, and does not return. */
int ranks_leave(osv_comm *c, const osv_machine *m, const char *program, int status, const osv_error *e);

#endif
