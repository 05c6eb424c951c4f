#include "optim/pack.h"

#include <stdlib.h>
#include <string.h>

#include "optim/bin.h"
#include "optim/share.h"

int osv_pack_ready(int *queue, const osv_job *job, const osv_job_stage *stage, int jobs)
{
    int count = 0;
    for (int j = 0; j < jobs; j++) {
        bool ready = stage[j] == OSV_JOB_WAITS;
        for (int i = job[j].befores - 1; i >= 0 && ready; i--) /* the last one is the one to wait for */
            ready = stage[job[j].before[i]] == OSV_JOB_ENDED;
        if (ready) queue[count++] = j;
    }
    return count;
}

/* The least number of blocks to compute again so that the batch fits; -1: not even all are enough. Bytes
 * only fall with it. */
static int least_recompute(const osv_training *t, const osv_batch *batch, const int *job, int J,
                           size_t memory, size_t *bytes)
{
    int low = 0, high = batch->end_block - batch->first_block;
    *bytes = osv_bin_bytes(t, batch, job, J, low);
    if (memory == 0 || *bytes <= memory) return low;
    *bytes = osv_bin_bytes(t, batch, job, J, high);
    if (*bytes > memory) return -1;
    while (high - low > 1) { /* low does not fit, high does */
        int middle = low + (high - low) / 2;
        size_t of_middle = osv_bin_bytes(t, batch, job, J, middle);
        if (of_middle <= memory)
            high = middle, *bytes = of_middle;
        else
            low = middle;
    }
    return high;
}

int osv_pack_measure(osv_bin_size *size, bool *fits, const osv_training *t, const int *job, int J,
                     size_t memory)
{
    osv_batch *batch;
    OSV_TRY(osv_bin_batch(&batch, t, job, J, false));
    *size = (osv_bin_size){
        .jobs = J, .rows = batch->live.T, .frozen = batch->frozen, .scored = batch->completion_tokens};
    int recompute = least_recompute(t, batch, job, J, memory, &size->bytes);
    *fits = recompute >= 0;
    size->recompute = *fits ? recompute : batch->end_block - batch->first_block;
    osv_batch_free(batch);
    return osv_ops_status(t->ops);
}

/* A bin that is being filled. */
typedef struct {
    const osv_training *t;
    int *job;
    int jobs; /* already in it */
    const int *queue;
    int waiting;
} filling;

/* Is there room for the first n of the queue, keeping everything (or else computing again)? */
static int has_room(bool *room, osv_bin_size *size, const filling *f, int n, bool keep)
{
    bool fits;
    memcpy(f->job + f->jobs, f->queue, (size_t)n * sizeof *f->job);
    OSV_TRY(osv_pack_measure(size, &fits, f->t, f->job, f->jobs + n, f->t->memory));
    int most = keep ? OSV_MOST_ROWS : OSV_FEW_ROWS;
    *room = fits && (!keep || size->recompute == 0) && (size->rows <= most || f->jobs + n == 1);
    return OSV_OK;
}

/* The most jobs of the queue for which there is room: in steps that double, then halve. */
static int most_jobs(int *jobs, osv_bin_size *size, const filling *f, bool keep)
{
    int good = 0, bad = f->waiting + 1;
    osv_bin_size tried;
    for (int step = 1; good + 1 < bad; step = bad > f->waiting ? 2 * step : step) {
        int n = bad > f->waiting ? good + step : good + (bad - good) / 2;
        bool room;
        if (n > f->waiting) n = f->waiting;
        OSV_TRY(has_room(&room, &tried, f, n, keep));
        if (room)
            good = n, *size = tried;
        else
            bad = n;
    }
    *jobs = good;
    return OSV_OK;
}

int osv_pack_fill(osv_bin_size *size, const osv_training *t, int *job, int *jobs, const int *queue,
                  int waiting)
{
    filling f = {.t = t, .job = job, .jobs = *jobs, .queue = queue, .waiting = waiting};
    osv_bin_size keeping = {0}, again = {0};
    bool fits;
    int kept, more = 0;
    if (osv_sharers(t->data) > 1) f.waiting = waiting = *jobs == 0 && waiting > 0;
    if (*jobs > 0) { /* they did fit when they came */
        OSV_TRY(osv_pack_measure(&keeping, &fits, t, job, *jobs, t->memory));
        again = keeping;
    }
    OSV_TRY(most_jobs(&kept, &keeping, &f, true));
    if (kept < waiting && keeping.rows < OSV_FEW_ROWS) OSV_TRY(most_jobs(&more, &again, &f, false));
    int taken = more > kept ? more : kept;
    *size = more > kept ? again : keeping;
    memcpy(job + *jobs, queue, (size_t)taken * sizeof *job);
    *jobs += taken;
    if (*jobs > 0) return OSV_OK;
    OSV_TRY(osv_pack_measure(size, &fits, t, queue, 1, t->memory));
    return OSV_FAIL(
        t->ops->error, OSV_DEVICE,
        "job \"%s\" needs %.1f MB of memory beside the weights, and %.1f MB are left for it: give "
        "more (--memory), shorten its prompts, or split its datapoints over several jobs",
        t->job[queue[0]].name, (double)size->bytes / 1e6, (double)t->memory / 1e6);
}

int osv_pack_each(const osv_training *t, int (*f)(void *context, const int *job, const osv_bin_size *size),
                  void *context)
{
    int *all = calloc(2 * (size_t)t->jobs + 1, sizeof *all), *job = all + t->jobs;
    int status = all ? OSV_OK : OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    for (int j = 0; !status && j < t->jobs; j++) all[j] = j;
    for (int first = 0, J; !status && first < t->jobs; first += J) {
        osv_bin_size size;
        J = 0;
        status = osv_pack_fill(&size, t, job, &J, all + first, t->jobs - first);
        if (!status) status = f(context, job, &size);
    }
    free(all);
    return status;
}

int osv_pack_each_ready(const osv_training *t,
                        int (*f)(void *context, const int *job, const osv_bin_size *size), void *context)
{
    int *queue = calloc(2 * (size_t)t->jobs + 1, sizeof *queue), *job = queue + t->jobs;
    osv_job_stage *stage = calloc((size_t)t->jobs + 1, sizeof *stage);
    int status = queue && stage ? OSV_OK : OSV_FAIL(t->ops->error, OSV_DEVICE, "out of memory");
    for (int ready; !status && (ready = osv_pack_ready(queue, t->job, stage, t->jobs)) > 0;) {
        osv_bin_size size;
        int J = 0;
        status = osv_pack_fill(&size, t, job, &J, queue, ready);
        if (!status) status = f(context, job, &size);
        for (int i = 0; i < J; i++) stage[job[i]] = OSV_JOB_ENDED;
    }
    free(queue);
    free(stage);
    return status;
}
