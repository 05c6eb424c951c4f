#include "engine/plan.h"

#include <stdlib.h>

#include "engine/rope.h"
#include "kernels/form.h"

static osv_real *reals(osv_bump *b, int rows, int cols)
{
    return osv_take(b, (size_t)rows * (size_t)cols, sizeof(osv_real));
}

osv_worklist osv_put_worklist(osv_bump *b, const osv_worklist *host)
{
    osv_worklist w = *host;
    w.pos = osv_put(b, host->pos, host->rows, sizeof *host->pos);
    w.query_tile = osv_put(b, host->query_tile, host->query_tiles, sizeof *host->query_tile);
    w.kv_range = osv_put(b, host->kv_range, host->kv_ranges, sizeof *host->kv_range);
    w.kv_tile = osv_put(b, host->kv_tile, host->kv_tiles, sizeof *host->kv_tile);
    return w;
}

/* This rank's columns of the distributions. */
static void put_distributions(osv_bump *b, osv_distributions *d, const osv_model *m, const osv_pass *host)
{
    size_t V = (size_t)m->shard.V;
    *d = host->distributions;
    d->row = osv_put(b, d->row, d->rows, sizeof *d->row);
    d->first = osv_put(b, d->first, d->rows + 1, sizeof *d->first);
    d->reverse = osv_put(b, d->reverse, d->K, sizeof *d->reverse);
    d->aim = osv_put(b, d->aim, d->K, sizeof *d->aim);
    d->coldness = osv_put(b, d->coldness, d->rows, sizeof *d->coldness);
    d->softcap = m->config.final_softcap;
    osv_real *logp = osv_take(b, (size_t)host->aims * V, sizeof *logp);
    for (int i = 0; b->o && i < host->aims; i++)
        b->o->copy(b->o, logp + (size_t)i * V, host->logp[i] + m->shard.vocab0, V * sizeof *logp,
                   OSV_TO_DEVICE);
    d->logp = logp;
}

static void put_pass(osv_bump *b, osv_device_pass *p, const osv_model *m, const osv_pass *host, int slot,
                     bool narrow)
{
    *p = (osv_device_pass){.host = host, .slot = slot, .narrow = narrow};
    p->id = osv_put(b, host->id, host->T, sizeof *host->id);
    p->scored = osv_put(b, host->scored, host->R, sizeof *host->scored);
    p->work = osv_put_worklist(b, &host->work);
    p->last = osv_put_worklist(b, &host->last);
    const osv_scores *s = &host->scores;
    p->scores = *s;
    p->scores.first = osv_put(b, s->first, s->R + 1, sizeof *s->first);
    p->scores.target = osv_put(b, s->target, s->S, sizeof *s->target);
    p->scores.kind = osv_put(b, s->kind, s->S, sizeof *s->kind);
    p->scores.coldness = osv_put(b, s->coldness, s->R, sizeof *s->coldness);
    p->scores.eps = osv_put(b, s->eps, s->R, sizeof *s->eps);
    p->scores.first_id = m->shard.vocab0;
    p->scores.softcap = m->config.final_softcap;
    put_distributions(b, &p->distributions, m, host);
    const osv_distances *d = &host->distances;
    p->distances = *d;
    p->distances.row = osv_put(b, d->row, d->M, sizeof *d->row);
    p->distances.power = osv_put(b, d->power, d->M, sizeof *d->power);
}

static osv_site put_site(osv_bump *b, const osv_site *host)
{
    osv_site s = *host;
    s.param = osv_put(b, host->param, host->jobs, sizeof *host->param);
    s.grad = osv_put(b, host->grad, host->jobs, sizeof *host->grad);
    s.first = osv_put(b, host->first, host->jobs + 1, sizeof *host->first);
    s.row_param = osv_put(b, host->row_param, host->rows, sizeof *host->row_param);
    s.sign = osv_put(b, host->sign, host->rows, sizeof *host->sign);
    return s;
}

static void put_sites(osv_bump *b, osv_buffers *buffer, const osv_batch *batch)
{
    size_t coefs = 0;
    for (int i = 0; i < batch->sites; i++) {
        const osv_site *host = &batch->site[i];
        size_t needs = (size_t)host->rows * (size_t)osv_form_coefs(host->form);
        buffer->site[i] = put_site(b, host);
        if (host->form.kind != OSV_FORM_ADD && needs > coefs) coefs = needs;
    }
    buffer->form_coef = osv_take(b, coefs, sizeof *buffer->form_coef);
    buffer->sum_param = osv_put(b, batch->sum_param, batch->G - batch->P, sizeof *batch->sum_param);
}

/* Where each site finds its rows; x0 and the blocks' x are placed. */
static void place_site_inputs(osv_bump *b, osv_buffers *buffer, const osv_batch *batch, int D)
{
    for (int i = 0; i < batch->sites; i++) {
        const osv_site *s = &batch->site[i];
        osv_real *x = batch->site_entry[i] ? buffer->x0 : buffer->block[batch->site_layer[i]].x;
        bool kept = batch->site_entry[i] || s->form.kind == OSV_FORM_ADD;
        if (!kept)
            buffer->site_x[i] = reals(b, s->rows, D);
        else if (x) /* NULL while only counting */
            buffer->site_x[i] = x + (size_t)s->row * (size_t)D;
    }
}

void osv_take_activations(osv_bump *b, osv_activations *a, const osv_model *m, int T, int Q, osv_real *y)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    a->q = reals(b, Q, sh->H * c->E);
    a->raw_q = c->qk_norm ? reals(b, Q, sh->H * c->E) : NULL;
    a->raw_k = c->qk_norm ? reals(b, T, sh->K * c->E) : NULL;
    a->qk_sum = c->qk_norm == OSV_QK_NORM_WIDTH ? reals(b, T + Q, 1) : NULL;
    a->attn = reals(b, Q, sh->H * c->E);
    a->lse = reals(b, Q, sh->H);
    a->attn_y = c->post_norms ? reals(b, Q, c->D) : y;
    a->x_mid = reals(b, Q, c->D);
    a->gate = reals(b, Q, sh->F);
    a->up = reals(b, Q, sh->F);
    a->ffn_y = c->post_norms ? reals(b, Q, c->D) : y;
}

/* Of blocks that are computed again, one at a time: all but the input and the arena lies in the same place.
 */
static void share_activations(osv_activations *a, const osv_activations *again)
{
    const osv_activations own = *a;
    *a = *again;
    a->x = own.x;
    a->k = own.k;
    a->v = own.v;
}

osv_real *osv_take_scratch(osv_bump *b, osv_scratch *t, const osv_model *m, const osv_device_pass *p)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    int T = p->host->T, R = p->host->R, rows = T > R ? T : R;
    t->h = reals(b, rows, c->D);
    osv_real *y = c->post_norms ? NULL : reals(b, rows, c->D);
    t->hq = p->narrow ? reals(b, R, c->D) : NULL;
    t->xq = p->narrow ? reals(b, R, c->D) : NULL;
    t->glu = reals(b, rows, sh->F);
    t->x_out = reals(b, p->narrow ? R : T, c->D);
    t->x_final = p->narrow ? t->x_out : reals(b, R, c->D);
    t->h_final = reals(b, R, c->D);
    t->z = reals(b, R, sh->V);
    t->max = reals(b, R, 1);
    t->sum = reals(b, p->scores.S, 2);
    t->kl_sum = reals(b, p->distributions.K, 2);
    return y;
}

static void take_reverse_scratch(osv_bump *b, osv_scratch *t, const osv_model *m, const osv_pass *p)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    int T = p->T, R = p->R;
    t->kl_dz = reals(b, p->distributions.rows, sh->V);
    t->dx = reals(b, T, c->D);
    t->dxq = reals(b, R, c->D);
    t->dh = reals(b, T, c->D);
    t->dy = reals(b, T, c->D);
    t->da = reals(b, T, sh->H * c->E);
    t->dq = reals(b, T, sh->H * c->E);
    t->dk = reals(b, T, sh->K * c->E);
    t->dv = reals(b, T, sh->K * c->E);
    t->delta = reals(b, T, sh->H);
    t->qk_dot = c->qk_norm == OSV_QK_NORM_WIDTH ? reals(b, T, 2) : NULL;
    t->ds = reals(b, T, sh->F);
}

static void put_rope(osv_bump *b, osv_buffers *buffer, const osv_config *c, const osv_batch *batch,
                     osv_error *e)
{
    int positions = 0;
    for (int r = 0; r < batch->base.T; r++)
        if (batch->base.pos[r] >= positions) positions = batch->base.pos[r] + 1;
    if (osv_rope_check(c, positions, e)) return;
    size_t numbers = (size_t)positions * (size_t)c->rot;
    osv_real *table = NULL;
    if (b->o && !(table = malloc(numbers * sizeof *table))) {
        OSV_FAIL(e, OSV_DEVICE, "out of memory for the rotation table of %d positions", positions);
        return;
    }
    for (int i = 0; i < c->ropes; i++) {
        if (table) osv_rope_table(table, c, i, positions);
        buffer->rope[i] = osv_put(b, table, numbers, sizeof *table);
        if (b->o) b->o->sync(b->o, 0); /* the table is read until here */
    }
    free(table);
}

/* The layout: what lives as long as the batch, then one region that the unsteered pass and the iterations use
 * in turn. */
static void lay_out(osv_bump *b, osv_buffers *buffer, const osv_model *m, const osv_batch *batch,
                    const osv_switches *on, osv_error *e)
{
    const osv_config *c = &m->config;
    int KE = m->shard.K * c->E, D = c->D, N = c->N, end = batch->end_block, M = batch->live.distances.M;
    put_pass(b, &buffer->base, m, &batch->base, 0, true);
    put_pass(b, &buffer->live, m, &batch->live, batch->frozen, on->narrow_last && end == N);
    buffer->base_row = osv_put(b, batch->base_row, batch->live.T, sizeof *batch->base_row);
    buffer->distance_base_row = osv_put(b, batch->distance_base_row, M, sizeof *batch->distance_base_row);
    put_sites(b, buffer, batch);
    put_rope(b, buffer, c, batch, e);
    int losses = osv_losses_of(&batch->live);
    buffer->loss = reals(b, losses + osv_losses_of(&batch->base), 1);
    buffer->w = reals(b, losses, 1);
    buffer->x0 = reals(b, batch->live.T, D);
    buffer->distance_x0 = reals(b, M, D);
    for (int l = batch->first_block; l < end; l++) {
        buffer->block[l].k = reals(b, batch->slots, KE);
        buffer->block[l].v = reals(b, batch->slots, KE);
    }

    osv_bump below = *b; /* the unsteered pass */
    int rows = batch->base.T > batch->base.R ? batch->base.T : batch->base.R;
    osv_real *y = osv_take_scratch(&below, &buffer->base.scratch, m, &buffer->base);
    osv_take_activations(&below, &buffer->below, m, rows, rows, y);
    buffer->below.k = reals(&below, batch->base.T, KE);
    buffer->below.v = reals(&below, batch->base.T, KE);
    buffer->below_x[0] = reals(&below, batch->base.T, D);
    buffer->below_x[1] = reals(&below, batch->base.T, D);

    y = osv_take_scratch(b, &buffer->live.scratch, m, &buffer->live);
    take_reverse_scratch(b, &buffer->live.scratch, m, &batch->live);
    osv_activations again = {0};
    if (on->recompute > 0) osv_take_activations(b, &again, m, batch->live.T, batch->live.T, y);
    for (int l = batch->first_block; l < end; l++) {
        osv_activations *a = &buffer->block[l];
        a->x = reals(b, batch->live.active[l], D);
        if (osv_recomputed(batch, on, l))
            share_activations(a, &again);
        else
            osv_take_activations(b, a, m, batch->live.active[l], osv_queries(&buffer->live, l, N), y);
    }
    if (end < N) buffer->block[end].x = reals(b, batch->live.active[end - 1], D);
    place_site_inputs(b, buffer, batch, D);
    if (below.used > b->used) b->used = below.used;
}

static int make_tables(osv_buffers *buffer, const osv_model *m, const osv_batch *batch, osv_error *e)
{
    *buffer = (osv_buffers){.block = calloc((size_t)m->config.N, sizeof *buffer->block),
                            .site = calloc((size_t)batch->sites + 1, sizeof *buffer->site),
                            .site_x = calloc((size_t)batch->sites + 1, sizeof *buffer->site_x)};
    if (buffer->block && buffer->site && buffer->site_x) return OSV_OK;
    osv_buffers_free(buffer);
    return OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

size_t osv_plan_bytes(const osv_model *m, const osv_batch *batch, const osv_switches *on, osv_error *e)
{
    osv_buffers buffer;
    if (make_tables(&buffer, m, batch, e)) return 0;
    osv_bump b = {0};
    lay_out(&b, &buffer, m, batch, on, e);
    osv_buffers_free(&buffer);
    return b.used;
}

int osv_plan_place(osv_buffers *buffer, const osv_model *m, const osv_batch *batch, const osv_switches *on,
                   osv_ops *o, void *memory)
{
    OSV_TRY(make_tables(buffer, m, batch, o->error));
    osv_bump b = {.memory = memory, .o = o};
    lay_out(&b, buffer, m, batch, on, o->error);
    return osv_ops_status(o);
}

void osv_buffers_free(osv_buffers *b)
{
    free(b->block);
    free(b->site);
    free(b->site_x);
    b->block = NULL;
    b->site = NULL;
    b->site_x = NULL;
}

osv_worklist osv_block_work(const osv_device_pass *p, int l, int N)
{
    if (l == N - 1) return p->last;
    osv_worklist w = p->work;
    w.rows = p->host->active[l];
    w.query_tiles = p->host->query_tiles[l];
    w.kv_tiles = p->host->kv_tiles[l];
    return w;
}
