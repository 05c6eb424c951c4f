#include "optim/evaluate.h"

#include <stdlib.h>

#include "optim/bin.h"

int osv_evaluate(const osv_training *t, const osv_real *const *vector, double *logprob)
{
    osv_ops *o = t->ops;
    osv_batch *batch = NULL;
    osv_step *step = NULL;
    osv_real *loss = NULL, *v = NULL;
    size_t D = (size_t)t->model->config.D, bytes = D * sizeof(osv_real);
    int *job = malloc((size_t)t->jobs * sizeof *job + 1);
    int status = job ? OSV_OK : OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if (status) goto done;
    for (int j = 0; j < t->jobs; j++) job[j] = j;
    if ((status = osv_bin_batch(&batch, t, job, t->jobs, true))) goto done;
    if ((status = osv_step_open(&step, o, t->comm, t->model, batch, &t->on))) goto done;
    int scores = batch->live.scores.S + batch->base.scores.S;
    loss = malloc((size_t)scores * sizeof *loss + 1);
    v = o->alloc(o, (size_t)t->jobs * bytes);
    if (!loss) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if ((status = osv_ops_status(o))) goto done;

    o->zero(o, v, (size_t)t->jobs * bytes);
    for (int j = 0; vector && j < t->jobs; j++)
        if (vector[j]) o->copy(o, v + (size_t)j * D, vector[j], bytes, OSV_TO_DEVICE);
    osv_prefix(step);
    osv_forward(step, v);
    o->copy(o, loss, step->buffer.loss, (size_t)scores * sizeof *loss, OSV_TO_HOST);
    o->sync(o, 0);
    if ((status = osv_ops_status(o))) goto done;
    for (int c = 0; c < batch->C; c++) {
        logprob[c] = 0;
        for (int i = batch->completion_first[c]; i < batch->completion_first[c + 1]; i++)
            logprob[c] -= (double)loss[batch->completion_score[i]];
    }
done:
    if (v) o->free(o, v);
    free(loss);
    free(job);
    osv_step_close(step);
    osv_batch_free(batch);
    return status;
}
