#include "engine/sites.h"

#include <stdlib.h>

#include "kernels/form.h"

static void *room(int count, size_t size, osv_error *e)
{
    void *p = calloc(count > 0 ? (size_t)count : 1, size);
    if (!p) OSV_FAIL(e, OSV_DEVICE, "out of memory for the vectors of a batch");
    return p;
}

/* ---- parameters ---- */

/* Blocks that share a job's parameters give a gradient each: the first in the place of the gradient, the
 * others behind all of them, the second of every job together, then the third, ...: so a sum adds them up. */
static int make_params(osv_batch *b, const osv_batch_job *job, osv_error *e)
{
    int shared = 0, most = 0;
    b->job_param = room(b->J + 1, sizeof *b->job_param, e);
    if (e->status) return e->status;
    for (int j = 0; j < b->J; j++) {
        int params = osv_form_params(job[j].form);
        b->job_param[j] = b->P;
        b->P += params * (job[j].apart ? 1 + job[j].laters : 1);
        if (job[j].apart) continue;
        shared += params * job[j].laters;
        if (job[j].laters > most) most = job[j].laters;
    }
    b->job_param[b->J] = b->P;
    b->G = b->P + shared;
    b->sums = most;
    b->sum_first = room(most + 1, sizeof *b->sum_first, e);
    b->sum_param = room(shared, sizeof *b->sum_param, e);
    if (e->status) return e->status;
    int at = 0;
    for (int k = 0; k < most; k++) {
        b->sum_first[k] = at;
        for (int j = 0; j < b->J; j++)
            for (int i = 0; !job[j].apart && k < job[j].laters && i < osv_form_params(job[j].form); i++)
                b->sum_param[at++] = b->job_param[j] + i;
    }
    b->sum_first[most] = at;
    return OSV_OK;
}

/* The job's first row of parameters at its k-th block, and of the gradient there. */
static int param_of(const osv_batch *b, const osv_batch_job *job, int j, int k)
{
    return b->job_param[j] + (job[j].apart ? k * osv_form_params(job[j].form) : 0);
}

static int grad_of(const osv_batch *b, const osv_batch_job *job, int j, int k)
{
    int param = param_of(b, job, j, k);
    if (job[j].apart || k == 0) return param;
    int at = b->sum_first[k - 1];
    while (b->sum_param[at] != param) at++;
    return b->P + at;
}

/* ---- sites ---- */

static int layer_of(const osv_batch_job *j, int k)
{
    return k == 0 ? j->layer : j->later[k - 1];
}

/* Which of its blocks is l, or -1. */
static int find_layer(const osv_batch_job *j, int l)
{
    for (int k = 0; k <= j->laters; k++)
        if (layer_of(j, k) == l) return k;
    return -1;
}

static bool same_form(const osv_form *a, const osv_form *b)
{
    return a->kind == b->kind && a->clamp == b->clamp && a->offset == b->offset && a->rank == b->rank &&
           a->constant_norm == b->constant_norm && a->cut == b->cut;
}

/* Jobs i and j can be met in one call at block l. */
static bool together(const osv_batch_job *i, const osv_batch_job *j, int l)
{
    return find_layer(j, l) >= 0 && (i->layer == l) == (j->layer == l) && same_form(&i->form, &j->form);
}

static int make_site(osv_batch *b, const osv_batch_job *job, int l, int row, int rows, osv_error *e)
{
    int *param = room(b->J, sizeof *param, e), *grad = room(b->J, sizeof *grad, e);
    int *first = room(b->J + 1, sizeof *first, e), *of = room(rows, sizeof *of, e);
    int *sign = room(rows, sizeof *sign, e), jobs = 0;
    osv_site *site = &b->site[b->sites];
    *site = (osv_site){.row = row,
                       .rows = rows,
                       .form = job[b->row_job[row]].form,
                       .param = param,
                       .grad = grad,
                       .first = first,
                       .row_param = of,
                       .sign = sign};
    b->site_layer[b->sites] = l;
    b->site_entry[b->sites++] = job[b->row_job[row]].layer == l;
    if (e->status) return e->status;
    for (int r = 0; r < rows; r++) {
        int j = b->row_job[row + r], k = find_layer(&job[j], l);
        of[r] = param_of(b, job, j, k);
        sign[r] = b->row_sign[row + r];
        if (r > 0 && j == b->row_job[row + r - 1]) continue;
        param[jobs] = of[r];
        grad[jobs] = grad_of(b, job, j, k);
        first[jobs++] = r;
    }
    first[jobs] = rows;
    site->jobs = jobs;
    return OSV_OK;
}

int osv_sites_build(osv_batch *b, const osv_batch_job *job, osv_error *e)
{
    int most = 0, T = b->live.T;
    OSV_TRY(make_params(b, job, e));
    for (int j = 0; j < b->J; j++) most += 1 + job[j].laters;
    b->site = room(most, sizeof *b->site, e);
    b->site_layer = room(most, sizeof *b->site_layer, e);
    b->site_entry = room(most, sizeof *b->site_entry, e);
    if (e->status) return e->status;
    for (int l = 0; l < b->N; l++)
        for (int row = 0, rows; row < T; row += rows) {
            const osv_batch_job *first = &job[b->row_job[row]];
            bool met = find_layer(first, l) >= 0;
            for (rows = 1; row + rows < T && b->row_job[row + rows] == b->row_job[row];) rows++;
            while (met && row + rows < T && together(first, &job[b->row_job[row + rows]], l)) rows++;
            if (met) OSV_TRY(make_site(b, job, l, row, rows, e));
        }
    return OSV_OK;
}

void osv_sites_free(osv_batch *b)
{
    for (int i = 0; i < b->sites; i++) {
        free((void *)b->site[i].param);
        free((void *)b->site[i].grad);
        free((void *)b->site[i].first);
        free((void *)b->site[i].row_param);
        free((void *)b->site[i].sign);
    }
    free(b->site);
    free(b->site_layer);
    free(b->site_entry);
    free(b->job_param);
    free(b->sum_first);
    free(b->sum_param);
}
