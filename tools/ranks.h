/* Several ranks of a tool: who this one is, whom it works with, and how they end. Every rank runs the same
 * program on the same command line; rank 0 alone prints and writes files. */
#ifndef OSV_TOOLS_RANKS_H
#define OSV_TOOLS_RANKS_H

#include "kernels/backend.h"

/* Fills m->launch, and m->world where there are several ranks: all have met, and have the same build and the
 * same command line. Where --tp asks for several ranks and nobody has started them, the program starts itself
 * again as often as that, and does not return. Ranks other than 0 lose their standard output: *quiet becomes
 * true. replicas: whether the program has a use for more ranks than share a model. What fails is said by one
 * rank. */
int ranks_find(osv_machine *m, const char *program, char **argv, bool replicas, bool *quiet, osv_error *e);

/* --verbose, after ranks_find. */
void ranks_be_verbose(const osv_machine *m, const char *program);

/* Threads that this rank should have: a share of the processors here, unless the launcher has bound it to
 * some of its own. */
int ranks_threads(const osv_launch *l);

/* What is done where a rank is lost, by the lowest one that its replica has left, on the watching thread. */
typedef struct {
    bool (*there)(void); /* is there something to save? */
    /* So many seconds: does another rank save in this time? */
    bool (*wait)(double seconds);
    void (*save)(osv_error *e);
} ranks_rescuer;
/* It stays. */
void ranks_rescue_by(const ranks_rescuer *r);

/* Before a rank closes its communicator, with the status it has come to: nothing, if that is no failure. Of
 * several ranks that failed alike one says it; a rank that failed while others go on takes them with it, and
 * does not return. Returns the status. */
int ranks_fail(const osv_machine *m, const char *program, int status, const osv_error *e);

/* The end of main, on every rank. Returns the exit status, unless some rank is lost. */
int ranks_end(const osv_machine *m, int status);

#endif
