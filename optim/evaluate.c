#include "optim/evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "optim/bin.h"
#include "optim/pack.h"

typedef struct {
    const osv_training *t;
    const osv_real *const *vector;
    double *logprob; /* of the next bin's jobs */
} evaluation;

/* The jobs job[0 .. size->jobs), together. */
static int evaluate_bin(void *context, const int *job, const osv_bin_size *size)
{
    evaluation *e = context;
    const osv_training *t = e->t;
    osv_ops *o = t->ops;
    osv_batch *batch = NULL;
    osv_step *step = NULL;
    osv_real *loss = NULL, *p = NULL;
    size_t D = (size_t)t->model->config.D, bytes = D * sizeof(osv_real);
    int J = size->jobs, status = osv_bin_batch(&batch, t, job, J, true);
    if (status) goto done;
    osv_switches on = t->on;
    on.recompute = batch->N; /* nothing is kept for a reverse pass */
    if ((status = osv_step_open(&step, o, t->comm, t->model, batch, &on))) goto done;
    int scores = osv_losses_of(&batch->live) + osv_losses_of(&batch->base);
    loss = malloc((size_t)scores * sizeof *loss + 1);
    p = o->alloc(o, (size_t)batch->P * bytes);
    if (!loss) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if ((status = osv_ops_status(o))) goto done;

    o->zero(o, p, (size_t)batch->P * bytes);
    for (int i = 0; e->vector && i < J; i++)
        if (e->vector[job[i]])
            o->copy(o, p + (size_t)batch->job_param[i] * D, e->vector[job[i]],
                    (size_t)osv_job_rows(&t->job[job[i]]) * bytes, OSV_TO_DEVICE);
    osv_prefix(step);
    osv_forward(step, p);
    o->copy(o, loss, step->buffer.loss, (size_t)scores * sizeof *loss, OSV_TO_HOST);
    o->sync(o, 0);
    if ((status = osv_ops_status(o))) goto done;
    for (int i = 0, c = 0; i < J; i++)
        for (int k = 0; k < t->job[job[i]].completions; k++, c++) {
            double *logprob = e->logprob++;
            *logprob = t->job[job[i]].sequence[k].target_layer > 0 ? NAN : 0;
            for (int s = batch->completion_first[c]; s < batch->completion_first[c + 1]; s++)
                *logprob -= (double)loss[batch->completion_score[s]];
        }
done:
    if (p) o->free(o, p);
    free(loss);
    osv_step_close(step);
    osv_batch_free(batch);
    return status;
}

int osv_evaluate(const osv_training *t, const osv_real *const *vector, double *logprob)
{
    return osv_pack_each(t, evaluate_bin, &(evaluation){t, vector, logprob});
}
