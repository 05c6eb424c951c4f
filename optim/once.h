/* One unsteered, one forward and one reverse pass of some jobs at their start vectors, with somebody who
 * looks on: what a dump and a scan are made of. */
#ifndef OSV_OPTIM_ONCE_H
#define OSV_OPTIM_ONCE_H

#include "optim/train.h"

typedef enum { OSV_ELSEWHERE, OSV_UNSTEERED, OSV_FORWARD, OSV_BACKWARD } osv_once_part;

typedef struct {
    const osv_training *t;
    osv_batch *batch;
    osv_step *step;
    osv_once_part part; /* that is being computed, for who looks on */
    bool again;         /* going back, the block at hand is computed once more before its reverse */
    const osv_watch *watch;

    void *memory;   /* device: all below */
    osv_real *v;    /* [batch.P, D] the start vectors */
    osv_real *dv;   /* [batch.G, D] */
    osv_real *loss; /* [C] of each completion */
    osv_objective objective;
} osv_once;

/* The jobs job[0 .. J) (indexes of t->job), as one batch; t->on.recompute counts here. */
int osv_once_open(osv_once *p, const osv_training *t, const int *job, int J);

/* Tells `watch` (whose begin may be NULL) what the engine does, but not what it computes once more. It may
 * copy what it finds between two ops, and wait for that. */
void osv_once_run(osv_once *p, const osv_watch *watch);

/* In whatever state opening has left it. */
void osv_once_close(osv_once *p);

#endif
