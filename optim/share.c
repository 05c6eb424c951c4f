#include "optim/share.h"

#include <math.h>
#include <stdlib.h>

/* Does a pair have its halves on both sides of completion c? */
static bool divides(const osv_job *job, int c)
{
    for (int k = 0; k < c; k++)
        if (osv_job_goal(job, k).partner >= c) return true;
    for (int k = c; k < job->completions; k++) {
        int partner = osv_job_goal(job, k).partner;
        if (partner >= 0 && partner < c) return true;
    }
    return false;
}

static int begin(const osv_job *job, int rank, int size)
{
    int c = (int)((long)job->completions * rank / size);
    while (c < job->completions && divides(job, c)) c++;
    return c;
}

osv_share osv_share_of(const osv_job *job, const osv_comm *data)
{
    if (osv_sharers(data) == 1) return (osv_share){0, job->completions};
    int first = begin(job, data->rank, data->size);
    return (osv_share){first, begin(job, data->rank + 1, data->size) - first};
}

int osv_share_check(const osv_job *job, const osv_comm *data, osv_error *e)
{
    int size = osv_sharers(data);
    if (size == 1) return OSV_OK;
    for (int r = 0; r < size; r++)
        if (begin(job, r, size) == begin(job, r + 1, size))
            return OSV_FAIL(e, OSV_USAGE,
                            "job \"%s\" has %d completions, of which %d replicas cannot have some each: use "
                            "fewer, or train jobs side by side",
                            job->name, job->completions, size);
    bool bounded = job->options.min_norm_iters > 0;
    for (int c = 0; c < job->completions; c++) bounded |= !isnan(osv_job_goal(job, c).bound);
    return bounded ? OSV_FAIL(e, OSV_USAGE,
                              "job \"%s\": losses with bounds (--anchor-bound, --min-norm) cannot be divided "
                              "among replicas",
                              job->name)
                   : OSV_OK;
}

/* The job as if its share were all; goal [share.count] is filled where the job has goals. */
static osv_job as_shared(const osv_job *job, osv_share share, osv_goal *goal)
{
    osv_job own = *job;
    own.completions = share.count;
    own.sequence += share.first;
    if (!job->goal) return own;
    for (int c = 0; c < share.count; c++) {
        goal[c] = job->goal[share.first + c];
        if (goal[c].partner >= 0) goal[c].partner -= share.first;
    }
    own.goal = goal;
    return own;
}

int osv_shares_make(osv_shares *s, const osv_job *all, const int *job, int J, const osv_comm *data,
                    osv_error *e)
{
    int C = 0;
    *s = (osv_shares){.share = malloc((size_t)J * sizeof *s->share + 1),
                      .first = malloc(((size_t)J + 1) * sizeof *s->first),
                      .job = malloc((size_t)J * sizeof *s->job + 1)};
    if (!s->share || !s->first || !s->job) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < J; i++) {
        s->share[i] = osv_share_of(&all[job[i]], data);
        s->first[i] = C;
        C += s->share[i].count;
    }
    s->first[J] = C;
    s->goal = malloc((size_t)C * sizeof *s->goal + 1);
    if (!s->goal) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < J; i++) s->job[i] = as_shared(&all[job[i]], s->share[i], s->goal + s->first[i]);
    return OSV_OK;
}

void osv_shares_free(osv_shares *s)
{
    free(s->share);
    free(s->first);
    free(s->job);
    free(s->goal);
    *s = (osv_shares){0};
}
