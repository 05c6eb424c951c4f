#include "tools/train_select.h"

#include <stdlib.h>
#include <string.h>

/* chain: as long as that of all jobs, so that its parts keep their places. */
static int allocate(train_jobs *t, size_t jobs, size_t completions, size_t chain, osv_error *e)
{
    t->job = calloc(jobs + 1, sizeof *t->job);
    t->origin = calloc(jobs + 1, sizeof *t->origin);
    t->from = calloc(jobs + 1, sizeof *t->from);
    t->name = calloc(jobs + 1, sizeof *t->name);
    t->start = calloc(jobs + 1, sizeof *t->start);
    t->sequence = calloc(completions + 1, sizeof *t->sequence);
    t->source = calloc(completions + 1, sizeof *t->source);
    t->chain = calloc(chain + 1, sizeof *t->chain);
    if (t->job && t->origin && t->from && t->name && t->start && t->sequence && t->source && t->chain)
        return OSV_OK;
    return OSV_FAIL(e, OSV_DEVICE, "out of memory for %zu jobs", jobs);
}

static int add(train_jobs *t, const train_jobs *all, int from, osv_error *e)
{
    int j = t->jobs++, at = t->completions;
    const osv_job *old = &all->job[from];
    osv_job *job = &t->job[j];
    size_t completions = (size_t)old->completions;
    *job = *old;
    t->origin[j] = all->origin[from];
    t->name[j] = strdup(all->name[from]);
    if (!t->name[j]) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the name of a job");
    job->name = t->name[j];
    memcpy(t->sequence + at, old->sequence, completions * sizeof *t->sequence);
    memcpy(t->source + at, all->from[from], completions * sizeof *t->source);
    for (int c = 0; c < old->completions; c++) t->sequence[at + c].job = j;
    job->sequence = t->sequence + at;
    t->from[j] = t->source + at;
    if (job->befores > 0) job->before = t->chain + (old->before - all->chain);
    t->completions += old->completions;
    return OSV_OK;
}

int train_jobs_select(train_jobs *some, const train_jobs *all, const int *job, int jobs, osv_error *e)
{
    size_t completions = 0, most = (size_t)all->jobs;
    *some = (train_jobs){.data = all->data, .sweep = all->sweep};
    memcpy(some->varies, all->varies, sizeof some->varies);
    for (int i = 0; i < jobs; i++) completions += (size_t)all->job[job[i]].completions;
    int *place = calloc(most + 1, sizeof *place);
    int status = place ? allocate(some, (size_t)jobs, completions, most, e)
                       : OSV_FAIL(e, OSV_DEVICE, "out of memory for %d jobs", jobs);
    for (int i = 0; i < jobs && !status; i++) {
        place[job[i]] = i;
        status = add(some, all, job[i], e);
    }
    for (size_t i = 0; i < most && !status; i++) some->chain[i] = place[all->chain[i]];
    free(place);
    if (status) train_jobs_free(some);
    return status;
}
