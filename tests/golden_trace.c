#include "tests/golden_trace.h"

#include <criterion/criterion.h>
#include <string.h>

static int on_report(void *context, const osv_report *r, osv_error *e)
{
    golden_trace *t = context;
    (void)e;
    cr_assert(r->iter == t->lines || (r->stopped != OSV_RUNNING && r->phase == 2 && r->iter <= t->lines));
    cr_assert_lt(t->lines, GOLDEN_LINES);
    cr_assert_not(t->finished);
    t->loss[t->lines] = r->loss;
    t->norm[t->lines] = r->norm;
    t->grad_norm[t->lines] = r->grad_norm;
    memcpy(t->losses[t->lines], r->losses, (size_t)r->completions * sizeof *r->losses);
    t->lines++;
    if (r->stopped == OSV_RUNNING) return 0;
    t->finished = true;
    t->stopped = r->stopped;
    t->kept = r->iter;
    cr_assert_leq(r->rows, GOLDEN_ROWS);
    for (int i = 0; i < r->rows * r->D; i++) t->final[i] = (double)r->vector[i];
    return 0;
}

void golden_train(golden_model *g, const osv_job *job, golden_trace *t)
{
    *t = (golden_trace){0};
    osv_training training = {.ops = g->ops,
                             .comm = g->comm,
                             .data = g->data,
                             .model = &g->model,
                             .on = osv_all_on,
                             .job = job,
                             .jobs = 1,
                             .observer = {.context = t, .report = on_report}};
    golden_check(g, osv_train(&training));
    cr_assert(t->finished, "%s: no final report", job->name);
}
