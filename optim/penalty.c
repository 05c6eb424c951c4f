#include "optim/penalty.h"

#include <stdlib.h>

#include "engine/maths.h"
#include "kernels/form.h"
#include "kernels/penalty.h"

/* Of a job whose parameters begin at `row`, and whose scratch begins at `gram`. */
static osv_penalty penalty_of(const osv_job *job, int row, int gram)
{
    const osv_job_options *o = &job->options;
    return (osv_penalty){.row = row,
                         .blocks = job->apart ? 1 + job->laters : 1,
                         .step = osv_form_params(job->form),
                         .rank = osv_form_rank(job->form),
                         .gram = gram,
                         .l1 = (osv_real)o->l1,
                         .group = (osv_real)o->group_sparsity,
                         .norm = (osv_real)o->norm_weight};
}

void osv_penalties_place(osv_penalties *out, osv_bump *memory, const osv_batch *batch, const osv_job *all,
                         const int *job, int J)
{
    osv_ops *o = memory->o;
    osv_penalty *list = calloc((size_t)J + 1, sizeof *list);
    int gram = 0;
    *out = (osv_penalties){.J = J};
    if (!list && o) OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    for (int j = 0; list && j < J; j++) {
        const osv_job *own = &all[job[j]];
        list[j] = penalty_of(own, batch->job_param[j], gram);
        gram += osv_penalty_grams(list[j].blocks, list[j].rank);
        if (osv_job_rows(own) > out->rows) out->rows = osv_job_rows(own);
        out->any |= list[j].l1 > 0 || list[j].group > 0 || list[j].norm > 0;
    }
    out->cost = osv_take(memory, (size_t)J, sizeof *out->cost);
    out->gram = osv_take(memory, (size_t)gram, sizeof *out->gram);
    if (o) o->zero(o, out->cost, (size_t)J * sizeof *out->cost);
    out->penalty = osv_put(memory, list, (size_t)J, sizeof *list);
    if (o) o->sync(o, 0); /* the host's array is read until here */
    free(list);
}

void osv_penalties_run(const osv_penalties *c, osv_ops *o, osv_real *dp, const osv_real *p, int D)
{
    if (c->any) OP(penalty, dp, c->cost, p, c->penalty, c->gram, c->rows, D, c->J);
}
