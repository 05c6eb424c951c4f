#include "tools/train_bins.h"

#include <stdlib.h>

int train_bins_each(const osv_training *t, int (*f)(void *context, const int *job, const osv_bin_size *size),
                    void *context)
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

typedef struct {
    const osv_training *t;
    json_t *bins;
} names;

static int add_names(void *context, const int *job, const osv_bin_size *size)
{
    names *n = context;
    json_t *bin = json_array();
    for (int i = 0; i < size->jobs; i++) json_array_append_new(bin, json_string(n->t->job[job[i]].name));
    json_array_append_new(n->bins, bin);
    return OSV_OK;
}

json_t *train_bins_json(const osv_training *t)
{
    names n = {t, json_array()};
    if (!train_bins_each(t, add_names, &n)) return n.bins;
    json_decref(n.bins);
    return NULL;
}
