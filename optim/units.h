/* Units: the jobs of a training in groups, which are handed out to replicas of the model and each trained as
 * a training of its own. They are planned before anything is trained and from shapes alone, so that which
 * jobs share a bin, and with it the last bits of their vectors, does not depend on who has time first. */
#ifndef OSV_OPTIM_UNITS_H
#define OSV_OPTIM_UNITS_H

#include "optim/train.h"

/* So many for each replica, where the jobs give as much: who is done early takes another one. */
enum { OSV_UNITS_A_REPLICA = 4 };

typedef struct {
    int units;
    int *first; /* [units + 1] the jobs of unit k are */
    int *job;   /* job[first[k] .. first[k + 1]), rising */
} osv_units;

/* At least a unit for each replica, if there are so many jobs; more of them as long as each still has the
 * rows that a bin should have (OSV_FEW_ROWS). Jobs that come after others (osv_job.before) stay with them,
 * and neighbours stay together: they share layers and prompts. The longest unit comes first. A job that does
 * not fit into t->memory is OSV_DEVICE. */
int osv_units_plan(osv_units *u, const osv_training *t, int replicas);

/* unit [jobs]: the unit of each job, 0 .. units - 1. Jobs that lie apart from those before them, and a unit
 * without jobs, are OSV_BAD_INPUT. */
int osv_units_make(osv_units *u, const osv_job *job, int jobs, const int *unit, int units, osv_error *e);
void osv_units_free(osv_units *u);

#endif
