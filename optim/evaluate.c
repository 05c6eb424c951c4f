#include "optim/evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "optim/bin.h"
#include "optim/objective.h"
#include "optim/pack.h"

typedef struct {
    const osv_training *t;
    const osv_real *const *vector;
    bool as_probability;
    double *value; /* of the next bin's completions */
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
    int J = size->jobs, status = osv_bin_batch(&batch, t, job, J, e->as_probability);
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
            bool none = e->as_probability && t->job[job[i]].sequence[k].target_layer > 0;
            double *value = e->value++;
            *value = none ? NAN : 0;
            for (int s = batch->completion_first[c]; s < batch->completion_first[c + 1]; s++)
                *value += (double)loss[batch->completion_score[s]];
        }
done:
    if (p) o->free(o, p);
    free(loss);
    osv_step_close(step);
    osv_batch_free(batch);
    return status;
}

/* Sums of the losses of tokens, completion by completion. */
static int evaluate(const osv_training *t, const osv_real *const *vector, bool as_probability, double *value)
{
    osv_training whole = *t;
    whole.data = NULL; /* each replica measures all completions */
    return osv_pack_each(&whole, evaluate_bin, &(evaluation){&whole, vector, as_probability, value});
}

int osv_evaluate(const osv_training *t, const osv_real *const *vector, double *logprob)
{
    OSV_TRY(evaluate(t, vector, true, logprob));
    for (int j = 0; j < t->jobs; j++)
        for (int c = 0; c < t->job[j].completions; c++, logprob++) *logprob = -*logprob;
    return OSV_OK;
}

int osv_evaluate_losses(const osv_training *t, const osv_real *const *vector, double *loss)
{
    OSV_TRY(evaluate(t, vector, false, loss));
    for (int j = 0; j < t->jobs; j++)
        for (int c = 0; c < t->job[j].completions; c++, loss++) /* rounded as training rounds it */
            *loss = (double)(osv_real)(*loss * osv_terms_of(&t->job[j], c).scale);
    return OSV_OK;
}
