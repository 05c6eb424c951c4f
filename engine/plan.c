#include "engine/plan.h"

#include <stdlib.h>

#include "engine/rope.h"

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
}

static osv_site put_site(osv_bump *b, const osv_site *host)
{
    osv_site s = *host;
    s.job = osv_put(b, host->job, host->jobs, sizeof *host->job);
    s.first = osv_put(b, host->first, host->jobs + 1, sizeof *host->first);
    s.row_job = osv_put(b, host->row_job, host->rows, sizeof *host->row_job);
    s.sign = osv_put(b, host->sign, host->rows, sizeof *host->sign);
    return s;
}

void osv_take_activations(osv_bump *b, osv_activations *a, const osv_model *m, int T, int Q, osv_real *y)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    a->q = reals(b, Q, sh->H * c->E);
    a->raw_q = c->qk_norm ? reals(b, Q, sh->H * c->E) : NULL;
    a->raw_k = c->qk_norm ? reals(b, T, sh->K * c->E) : NULL;
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
    return y;
}

static void take_reverse_scratch(osv_bump *b, osv_scratch *t, const osv_model *m, int T, int R)
{
    const osv_config *c = &m->config;
    const osv_shard *sh = &m->shard;
    t->dx = reals(b, T, c->D);
    t->dxq = reals(b, R, c->D);
    t->dh = reals(b, T, c->D);
    t->dy = reals(b, T, c->D);
    t->da = reals(b, T, sh->H * c->E);
    t->dq = reals(b, T, sh->H * c->E);
    t->dk = reals(b, T, sh->K * c->E);
    t->dv = reals(b, T, sh->K * c->E);
    t->delta = reals(b, T, sh->H);
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
    int KE = m->shard.K * c->E, D = c->D, N = c->N;
    put_pass(b, &buffer->base, m, &batch->base, 0, true);
    put_pass(b, &buffer->live, m, &batch->live, batch->frozen, on->narrow_last);
    buffer->base_row = osv_put(b, batch->base_row, batch->live.T, sizeof *batch->base_row);
    for (int i = 0; i < batch->sites; i++) buffer->site[i] = put_site(b, &batch->site[i]);
    put_rope(b, buffer, c, batch, e);
    int live_S = batch->live.scores.S;
    buffer->loss = reals(b, live_S + batch->base.scores.S, 1);
    buffer->w = reals(b, live_S, 1);
    buffer->x0 = reals(b, batch->live.T, D);
    for (int l = batch->first_block; l < N; l++) {
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
    take_reverse_scratch(b, &buffer->live.scratch, m, batch->live.T, batch->live.R);
    osv_activations again = {0};
    if (on->recompute > 0) osv_take_activations(b, &again, m, batch->live.T, batch->live.T, y);
    for (int l = batch->first_block; l < N; l++) {
        osv_activations *a = &buffer->block[l];
        a->x = reals(b, batch->live.active[l], D);
        if (osv_recomputed(batch, on, l))
            share_activations(a, &again);
        else
            osv_take_activations(b, a, m, batch->live.active[l], osv_queries(&buffer->live, l, N), y);
    }
    if (below.used > b->used) b->used = below.used;
}

static int make_tables(osv_buffers *buffer, const osv_model *m, const osv_batch *batch, osv_error *e)
{
    *buffer = (osv_buffers){.block = calloc((size_t)m->config.N, sizeof *buffer->block),
                            .site = calloc((size_t)batch->sites + 1, sizeof *buffer->site)};
    if (buffer->block && buffer->site) return OSV_OK;
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
    b->block = NULL;
    b->site = NULL;
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
