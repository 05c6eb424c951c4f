/* A run that several replicas of the model train: its jobs are handed out in units (optim/units.h), each of
 * which is a run of its own, in OUT/units/<number>, until all have ended and rank 0 joins them in OUT. What
 * one replica has left another one goes on with; so does, with --resume, whoever comes next, one replica
 * alone included. */
#ifndef OSV_TOOLS_TRAIN_UNITS_H
#define OSV_TOOLS_TRAIN_UNITS_H

#include "tools/train_setup.h"
#include "tools/unit_queue.h"

/* Of this process, however many runs it takes part in. */
typedef struct {
    osv_world *world; /* NULL: one rank */
    int replica, replicas;
    unit_queue *queue; /* rank 0 of all has it */
    int run;           /* the one at hand */
} train_replicas;

/* From here rank 0 answers the others. */
int train_replicas_open(train_replicas *r, osv_world *world, osv_error *e);
/* When the world is closed. */
void train_replicas_close(train_replicas *r);

/* After a failure, before it is said: what all replicas find is said by replica 0 alone. */
void train_replicas_fail(const train_replicas *r, int status);

/* In what memory bins are to be packed, so that all replicas pack the same ones; and s->units: as the run
 * that is gone on with has them, or planned for these replicas; none for a run that one replica trains. */
int train_units_find(train_setup *s, train_replicas *r);

/* Trains and tells the results. alone: how one replica trains all of it. */
int train_units_train(train_setup *s, train_replicas *r, int (*alone)(const train_setup *s));

#endif
