/* One large job on several replicas of the model (osv_training.data): each computes the losses and gradients
 * of some of its completions, and what all of them found is added up. */
#ifndef OSV_OPTIM_SHARE_H
#define OSV_OPTIM_SHARE_H

#include "kernels/comm.h"
#include "optim/job.h"

/* Completions first .. first + count of a job. */
typedef struct {
    int first, count;
} osv_share;

/* Replicas that share; 1: `data` is NULL or of one rank. */
static inline int osv_sharers(const osv_comm *data)
{
    return data ? data->size : 1;
}

/* This replica's: as even as it goes, with pairs of preferences undivided. */
osv_share osv_share_of(const osv_job *job, const osv_comm *data);

/* OSV_USAGE where the job cannot be shared: fewer completions than replicas, or losses with bounds, whose
 * multipliers only one of them would know. */
int osv_share_check(const osv_job *job, const osv_comm *data, osv_error *e);

/* Of the jobs of a bin: this replica's share of each, and the jobs as if that were all. */
typedef struct {
    osv_share *share; /* [J] */
    int *first;       /* [J + 1] the completions in the order of the batch: first[i] .. first[i + 1) */
    osv_job *job;     /* [J] */
    osv_goal *goal;   /* theirs */
} osv_shares;

/* Of the jobs all[job[0]] .. all[job[J - 1]], which it borrows from. */
int osv_shares_make(osv_shares *s, const osv_job *all, const int *job, int J, const osv_comm *data,
                    osv_error *e);
void osv_shares_free(osv_shares *s);

#endif
