/* When a job has ended: the rules, in the order in which they apply. */
#ifndef OSV_OPTIM_STOP_H
#define OSV_OPTIM_STOP_H

#include "optim/job.h"

typedef struct {
    int met;     /* consecutive measurements that met the target */
    int flat;    /* consecutive changes below plateau_eps */
    int late;    /* OSV_PARITY_STEP_AFTER_TARGET: the measurement before met the target */
    double last; /* loss of the measurement before */
} osv_stop_state;

/* The verdict on a measurement after `iter` steps; losses [job->completions] in nats, `loss`
 * osv_job_loss of them. */
osv_stop osv_stop_check(osv_stop_state *state, const osv_job *job, int iter, double loss,
                        const double *losses, bool interrupted);

#endif
