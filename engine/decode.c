#include "engine/decode.h"

#include <stdlib.h>
#include <string.h>

#include "engine/choose.h"
#include "engine/forest.h"
#include "engine/maths.h"
#include "engine/rope.h"
#include "engine/worklist.h"
#include "kernels/form.h"

/* A text being written. Token number t that it appends goes into the slot first_slot + t; tokens that it has
 * from another text, by branching, stay where they are. */
typedef struct {
    int leaf; /* prefill row of its prompt's last token */
    int first_slot;
    int generated;
    int pos;            /* position of its next token */
    osv_kv_range *path; /* the prompt's keys, */
    int ranges;
    osv_kv_range *own; /* and those of its own tokens */
    int owned;
    int logits; /* row of z */
} stream;

struct osv_decoder {
    osv_engine engine;
    int steerings, streams, max_tokens;
    osv_steering *steering;
    stream *stream;    /* [streams] */
    osv_kv_range *own; /* [streams, max_tokens] theirs */
    int *running;      /* [count] */
    int count;
    long tokens;

    osv_pass prompt_pass, token_pass; /* host */
    uint32_t *prompt_steer;           /* [prompt rows] */
    int slots, positions, ranges;     /* K/V slots; table rows; most ranges of all streams together */

    void *memory;
    osv_device_pass prompt, token;
    osv_activations block; /* for one block at a time */
    osv_real *x[2];        /* [rows, D] */
    osv_real **k, **v;     /* [N] arenas */
    osv_real *params;      /* [P, D] of all vectors */
    int P, coefs;          /* coefs: the most scratch of a form for a row */
    osv_real *form_coef;   /* [rows, coefs] */
    int *row_param;        /* [steerings, rows] its first row of parameters, in each row */
    int *sign;             /* [steerings, rows] */
    int *token_id, *token_pos, *token_slot;
    osv_query_tile *token_tile;
    osv_kv_range *token_range;
    osv_sampling *how;
    int *chosen;
    osv_real *logprob;
    osv_chooser chooser; /* of several ranks */
};

/* ---- the prompts as a forest ---- */

static int insert_prompts(osv_decoder *d, osv_trie *t, const osv_prompt *prompt, int prompts, int *leaf,
                          osv_error *e)
{
    for (int p = 0; p < prompts; p++) {
        leaf[p] = -1;
        for (int i = 0; i < prompt[p].count; i++)
            OSV_TRY(osv_trie_child(t, leaf[p], prompt[p].ids[i], (long)prompt[p].steer[i], i, &leaf[p], e));
        if (prompt[p].count > d->positions) d->positions = prompt[p].count;
        d->tokens += prompt[p].count;
    }
    d->positions += d->max_tokens;
    return OSV_OK;
}

static int make_prompt_pass(osv_decoder *d, const osv_prompt *prompt, int prompts, const int *of,
                            osv_error *e)
{
    osv_pass *p = &d->prompt_pass;
    osv_trie t = {0};
    int N = d->engine.model->config.N;
    int *leaf = calloc((size_t)prompts + 1, sizeof *leaf), *row = NULL, *logits = NULL;
    long *bucket = NULL;
    int status = leaf ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (status || (status = insert_prompts(d, &t, prompt, prompts, leaf, e))) goto done;
    row = calloc((size_t)t.count + 1, sizeof *row);
    logits = calloc((size_t)t.count + 1, sizeof *logits);
    bucket = calloc((size_t)t.count + 1, sizeof *bucket);
    d->prompt_steer = calloc((size_t)t.count + 1, sizeof *d->prompt_steer);
    p->active = calloc((size_t)N, sizeof *p->active);
    p->query_tiles = calloc((size_t)N, sizeof *p->query_tiles);
    p->kv_tiles = calloc((size_t)N, sizeof *p->kv_tiles);
    p->scored = calloc((size_t)t.count + 1, sizeof *p->scored);
    if (!row || !logits || !bucket || !d->prompt_steer || !p->active || !p->query_tiles || !p->kv_tiles ||
        !p->scored) {
        status = OSV_FAIL(e, OSV_DEVICE, "out of memory for prompts of %d tokens", t.count);
        goto done;
    }
    if ((status = osv_forest_rows(p, &t, bucket, row, e))) goto done;
    for (int i = 0; i < t.count; i++) {
        p->parent[row[i]] = t.node[i].parent >= 0 ? row[t.node[i].parent] : -1;
        d->prompt_steer[row[i]] = (uint32_t)t.node[i].key;
    }
    for (int q = 0; q < prompts; q++) logits[row[leaf[q]]] = 1; /* rows that have logits */
    for (int r = 0; r < p->T; r++) {
        if (!logits[r]) continue;
        p->scored[p->R] = r;
        logits[r] = p->R++;
    }
    if ((status = osv_worklist_build(&p->work, p, 0, p, NULL, 0, e))) goto done;
    if ((status = osv_worklist_build(&p->last, p, 0, p, p->scored, p->R, e))) goto done;
    for (int l = 0; l < N; l++) {
        p->active[l] = p->T;
        p->query_tiles[l] = p->work.query_tiles;
        p->kv_tiles[l] = p->work.kv_tiles;
    }
    d->slots = p->T;
    for (int i = 0; i < d->streams; i++) {
        stream *s = &d->stream[i];
        s->leaf = row[leaf[of[i]]];
        s->logits = logits[s->leaf];
        s->pos = prompt[of[i]].count;
        s->first_slot = d->slots;
        s->own = d->own + (size_t)i * (size_t)d->max_tokens;
        d->slots += d->max_tokens;
        if ((status = osv_path_ranges(&s->path, &s->ranges, p, s->leaf, e))) goto done;
        d->ranges += s->ranges + d->max_tokens;
    }
done:
    osv_trie_free(&t);
    free(leaf);
    free(row);
    free(logits);
    free(bucket);
    return status;
}

/* The pass of one token a stream; its worklist is made anew for each step. */
static int make_token_pass(osv_decoder *d, osv_error *e)
{
    osv_pass *p = &d->token_pass;
    int N = d->engine.model->config.N;
    p->T = p->R = d->streams;
    p->active = calloc((size_t)N, sizeof *p->active);
    p->query_tiles = calloc((size_t)N, sizeof *p->query_tiles);
    p->kv_tiles = calloc((size_t)N, sizeof *p->kv_tiles);
    return p->active && p->query_tiles && p->kv_tiles ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

/* ---- memory ---- */

/* The most rows that a pass has. */
static int most_rows(const osv_decoder *d)
{
    return d->prompt_pass.T > d->streams ? d->prompt_pass.T : d->streams;
}

static osv_real *reals(osv_bump *b, int rows, int cols)
{
    return osv_take(b, (size_t)rows * (size_t)cols, sizeof(osv_real));
}

static void lay_out(osv_decoder *d, osv_bump *b, const osv_real *rope)
{
    const osv_model *m = d->engine.model;
    const osv_config *c = &m->config;
    const osv_pass *p = &d->prompt_pass;
    int N = c->N, D = c->D, KE = m->shard.K * c->E, B = d->streams;
    int rows = most_rows(d);

    size_t table = (size_t)d->positions * (size_t)c->rot;
    for (int i = 0; i < c->ropes; i++)
        d->engine.rope[i] = osv_put(b, rope + (size_t)i * table, table, sizeof *rope);
    d->prompt = (osv_device_pass){.host = p, .narrow = true};
    d->prompt.id = osv_put(b, p->id, p->T, sizeof *p->id);
    d->prompt.scored = osv_put(b, p->scored, p->R, sizeof *p->scored);
    d->prompt.work = osv_put_worklist(b, &p->work);
    d->prompt.last = osv_put_worklist(b, &p->last);
    d->token_id = osv_take(b, B, sizeof *d->token_id);
    d->token_pos = osv_take(b, B, sizeof *d->token_pos);
    d->token_slot = osv_take(b, B, sizeof *d->token_slot);
    d->token_tile = osv_take(b, B, sizeof *d->token_tile);
    d->token_range = osv_take(b, d->ranges, sizeof *d->token_range);
    d->how = osv_take(b, B, sizeof *d->how);
    d->chosen = osv_take(b, B, sizeof *d->chosen);
    d->logprob = reals(b, B, 1);
    osv_chooser_lay_out(&d->chooser, b, B);
    d->params = reals(b, d->P, D);
    d->form_coef = reals(b, rows, d->coefs);
    d->sign = osv_take(b, (size_t)d->steerings * (size_t)rows, sizeof *d->sign);
    d->row_param = osv_take(b, (size_t)d->steerings * (size_t)rows, sizeof *d->row_param);
    for (int l = 0; l < N; l++) {
        d->k[l] = reals(b, d->slots, KE);
        d->v[l] = reals(b, d->slots, KE);
    }
    d->x[0] = reals(b, rows, D);
    d->x[1] = reals(b, rows, D);

    osv_real *prompt_y = osv_take_scratch(b, &d->prompt.scratch, m, &d->prompt);
    d->token = (osv_device_pass){.host = &d->token_pass, .slots = d->token_slot, .id = d->token_id};
    osv_real *token_y = osv_take_scratch(b, &d->token.scratch, m, &d->token);
    d->token.scratch.x_final = d->token.scratch.x_out; /* all rows have logits */
    d->token.scratch.k = reals(b, B, KE);
    d->token.scratch.v = reals(b, B, KE);
    osv_take_activations(b, &d->block, m, rows, rows, p->T > B ? prompt_y : token_y);
}

static int upload_steerings(osv_decoder *d, const osv_steering *steering)
{
    osv_ops *o = d->engine.ops;
    int D = d->engine.model->config.D, rows = most_rows(d);
    int *number = malloc(((size_t)rows + 1) * sizeof *number);
    if (!number) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    for (int i = 0, first = 0; i < d->steerings; i++) {
        int params = osv_form_params(steering[i].form);
        for (int r = 0; r < rows; r++) number[r] = first;
        OP(copy, d->params + (size_t)first * (size_t)D, steering[i].p,
           (size_t)params * (size_t)D * sizeof(osv_real), OSV_TO_DEVICE);
        OP(copy, d->row_param + (size_t)i * (size_t)rows, number, (size_t)rows * sizeof(int), OSV_TO_DEVICE);
        OP(sync, 0); /* number is read until here */
        first += params;
    }
    free(number);
    return osv_ops_status(o);
}

/* ---- one pass ---- */

/* Which of the rows each vector enters at: sign [steerings, T]. */
static int upload_signs(osv_decoder *d, const uint32_t *steer, int T)
{
    osv_ops *o = d->engine.ops;
    int *sign = malloc(((size_t)T * (size_t)d->steerings + 1) * sizeof *sign);
    if (!sign) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    for (int i = 0; i < d->steerings; i++)
        for (int r = 0; r < T; r++) sign[i * T + r] = steer[r] >> i & 1;
    OP(copy, d->sign, sign, (size_t)T * (size_t)d->steerings * sizeof *sign, OSV_TO_DEVICE);
    OP(sync, 0);
    free(sign);
    return osv_ops_status(o);
}

/* The residual stream x enters block l. */
static void steer(const osv_decoder *d, osv_real *x, int l, int T)
{
    osv_ops *o = d->engine.ops;
    int D = d->engine.model->config.D, rows = most_rows(d);
    for (int i = 0; i < d->steerings; i++) {
        if (d->steering[i].layer != l) continue;
        const osv_site site = {.rows = T,
                               .form = d->steering[i].form,
                               .row_param = d->row_param + (size_t)i * (size_t)rows,
                               .sign = d->sign + (size_t)i * (size_t)T};
        OP(apply, x, x, d->params, &site, d->form_coef, D);
    }
}

static void run(osv_decoder *d, const osv_device_pass *p)
{
    const osv_engine *g = &d->engine;
    const osv_config *c = &g->model->config;
    osv_activations a = d->block;
    int T = p->host->T;

    a.x = d->x[0];
    osv_embed(g, p, a.x);
    for (int l = 0; l < c->N; l++) {
        osv_real *out = l == c->N - 1 ? p->scratch.x_out : d->x[(l + 1) % 2];
        a.k = d->k[l];
        a.v = d->v[l];
        steer(d, a.x, l, T);
        osv_block_forward(g, p, l, &a, out);
        a.x = out;
    }
    osv_logits(g, p);
}

/* ---- public ---- */

int osv_decoder_open(osv_decoder **out, osv_ops *ops, osv_comm *comm, const osv_model *model,
                     const osv_prompt *prompt, int prompts, const int *of, int streams,
                     const osv_steering *steering, int steerings, int max_tokens)
{
    osv_error *e = ops->error;
    *out = NULL;
    osv_decoder *d = calloc(1, sizeof *d);
    if (!d) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    size_t N = (size_t)model->config.N;
    *d = (osv_decoder){.engine = {.ops = ops, .comm = comm, .model = model},
                       .steerings = steerings,
                       .streams = streams,
                       .max_tokens = max_tokens,
                       .count = streams};
    d->steering = calloc((size_t)steerings + 1, sizeof *d->steering);
    d->stream = calloc((size_t)streams + 1, sizeof *d->stream);
    d->own = calloc((size_t)streams * (size_t)max_tokens + 1, sizeof *d->own);
    d->running = calloc((size_t)streams + 1, sizeof *d->running);
    d->k = calloc(N, sizeof *d->k);
    d->v = calloc(N, sizeof *d->v);
    osv_real *rope = NULL;
    int status = d->steering && d->stream && d->own && d->running && d->k && d->v
                     ? OSV_OK
                     : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (status) goto done;
    for (int i = 0; i < steerings; i++) {
        int coefs = osv_form_coefs(steering[i].form);
        d->steering[i] = steering[i];
        d->P += osv_form_params(steering[i].form);
        if (coefs > d->coefs) d->coefs = coefs;
    }
    for (int i = 0; i < streams; i++) d->running[i] = i;
    if ((status = make_prompt_pass(d, prompt, prompts, of, e))) goto done;
    if ((status = make_token_pass(d, e))) goto done;
    if ((status = osv_rope_check(&model->config, d->positions, e))) goto done;
    size_t table = (size_t)d->positions * (size_t)model->config.rot;
    rope = malloc((size_t)model->config.ropes * table * sizeof *rope + 1);
    if (!rope) {
        status =
            OSV_FAIL(e, OSV_DEVICE, "out of memory for the rotation table of %d positions", d->positions);
        goto done;
    }
    for (int i = 0; i < model->config.ropes; i++)
        osv_rope_table(rope + (size_t)i * table, &model->config, i, d->positions);

    if ((status = osv_chooser_open(&d->chooser, model, streams, e))) goto done;
    osv_bump bytes = {0};
    lay_out(d, &bytes, rope);
    d->memory = ops->alloc(ops, bytes.used);
    if ((status = osv_ops_status(ops))) goto done;
    lay_out(d, &(osv_bump){.memory = d->memory, .o = ops}, rope);
    if ((status = upload_steerings(d, steering))) goto done;
    if ((status = upload_signs(d, d->prompt_steer, d->prompt_pass.T))) goto done;
    run(d, &d->prompt);
    status = osv_ops_status(ops);
done:
    free(rope);
    if (status) {
        osv_decoder_close(d);
        d = NULL;
    }
    *out = d;
    return status;
}

void osv_decoder_close(osv_decoder *d)
{
    if (!d) return;
    for (int i = 0; d->stream && i < d->streams; i++) free(d->stream[i].path);
    osv_pass_free(&d->prompt_pass);
    osv_pass_free(&d->token_pass);
    if (d->memory) d->engine.ops->free(d->engine.ops, d->memory);
    osv_chooser_close(&d->chooser);
    free(d->prompt_steer);
    free(d->steering);
    free(d->stream);
    free(d->own);
    free(d->running);
    free(d->k);
    free(d->v);
    free(d);
}

int osv_decoder_streams(const osv_decoder *d)
{
    return d->count;
}

int osv_decoder_stream(const osv_decoder *d, int i)
{
    return d->running[i];
}

const osv_real *osv_decoder_logits(const osv_decoder *d)
{
    /* all running streams are at the same step */
    bool first = d->count == 0 || d->stream[d->running[0]].generated == 0;
    return first ? d->prompt.scratch.z : d->token.scratch.z;
}

int osv_decoder_row(const osv_decoder *d, int i)
{
    return d->stream[d->running[i]].logits;
}

int osv_decoder_read(osv_decoder *d, int i, osv_real *logits)
{
    const osv_engine *g = &d->engine;
    osv_ops *o = g->ops;
    size_t V = (size_t)g->model->shard.V;
    const osv_real *z = osv_decoder_logits(d) + (size_t)osv_decoder_row(d, i) * V;
    if (g->comm->size > 1) return osv_whole_row(&d->chooser, g, z, logits);
    OP(copy, logits, z, V * sizeof *z, OSV_TO_HOST);
    OP(sync, 0);
    return osv_ops_status(o);
}

void osv_decoder_counts(const osv_decoder *d, long *tokens, long *run)
{
    *tokens = d->tokens;
    *run = d->prompt_pass.T;
}

void osv_decoder_keep(osv_decoder *d, const bool *keep)
{
    int n = 0;
    for (int i = 0; i < d->count; i++)
        if (keep[i]) d->running[n++] = d->running[i];
    d->count = n;
}

/* The tokens of the streams at the places first .. first + n - 1, whose logits are rows of z from `row` on.
 */
static void sample_rows(osv_decoder *d, int row, int first, int n, const osv_sampling *how, int *id,
                        osv_real *logprob)
{
    const osv_engine *g = &d->engine;
    osv_ops *o = g->ops;
    int V = g->model->shard.V;
    const osv_real *z = osv_decoder_logits(d) + (size_t)row * (size_t)V;
    if (g->comm->size > 1)
        osv_choose(&d->chooser, g, z, d->how + first, how + first, n, id + first, logprob + first);
    else
        OP(sample, d->chosen + first, d->logprob + first, z, d->how + first, n, V);
}

int osv_decoder_sample(osv_decoder *d, const osv_sampling *how, int *id, osv_real *logprob)
{
    const osv_engine *g = &d->engine;
    osv_ops *o = g->ops;
    int n = d->count;
    bool in_order = true;
    for (int i = 0; i < n; i++) in_order = in_order && osv_decoder_row(d, i) == i;
    OP(copy, d->how, how, (size_t)n * sizeof *how, OSV_TO_DEVICE);
    if (in_order)
        sample_rows(d, 0, 0, n, how, id, logprob);
    else /* samples of one prompt read the same row; streams that ended leave gaps */
        for (int i = 0; i < n; i++) sample_rows(d, osv_decoder_row(d, i), i, 1, how, id, logprob);
    if (g->comm->size > 1) return osv_ops_status(o);
    OP(copy, id, d->chosen, (size_t)n * sizeof *id, OSV_TO_HOST);
    OP(copy, logprob, d->logprob, (size_t)n * sizeof *logprob, OSV_TO_HOST);
    OP(sync, 0);
    return osv_ops_status(o);
}

int osv_decoder_branch(osv_decoder *d, const int *from)
{
    size_t streams = (size_t)d->streams, each = (size_t)d->max_tokens;
    stream *was = malloc((streams + 1) * sizeof *was);
    osv_kv_range *own = malloc((streams * each + 1) * sizeof *own);
    bool good = was && own;
    if (good) {
        memcpy(was, d->stream, streams * sizeof *was);
        memcpy(own, d->own, streams * each * sizeof *own);
    }
    for (int i = 0; i < d->count && good; i++) {
        int origin = d->running[from[i]];
        stream *s = &d->stream[d->running[i]];
        s->owned = was[origin].owned;
        s->logits = was[origin].logits;
        memcpy(s->own, own + (size_t)origin * each, (size_t)s->owned * sizeof *own);
    }
    free(was);
    free(own);
    return good ? OSV_OK : OSV_FAIL(d->engine.ops->error, OSV_DEVICE, "out of memory");
}

/* The slot of the stream's next token, whose key is then among its own. */
static int append(stream *s)
{
    int slot = s->first_slot + s->generated++;
    osv_kv_range *last = s->owned > 0 ? &s->own[s->owned - 1] : NULL;
    if (last && last->slot + last->count == slot)
        last->count++;
    else
        s->own[s->owned++] = (osv_kv_range){.slot = slot, .count = 1, .pos = s->pos};
    s->pos++;
    return slot;
}

/* Tiles of one row, whose keys are the prompt's and the stream's own, the new token's included. */
static void make_token_work(osv_decoder *d, osv_query_tile *tile, osv_kv_range *range, int *pos, int *slot,
                            osv_worklist *w)
{
    int ranges = 0;
    *w = (osv_worklist){.rows = d->count, .query_tiles = d->count};
    for (int i = 0; i < d->count; i++) {
        stream *s = &d->stream[d->running[i]];
        pos[i] = s->pos;
        slot[i] = append(s);
        tile[i] = (osv_query_tile){.row = i, .count = 1, .first = ranges, .ranges = s->ranges + s->owned};
        memcpy(range + ranges, s->path, (size_t)s->ranges * sizeof *range);
        memcpy(range + ranges + s->ranges, s->own, (size_t)s->owned * sizeof *range);
        ranges += s->ranges + s->owned;
        s->logits = i;
        if (s->pos > w->max_keys) w->max_keys = s->pos;
    }
    w->kv_ranges = ranges;
}

int osv_decoder_step(osv_decoder *d, const int *id, const uint32_t *steer_mask)
{
    osv_ops *o = d->engine.ops;
    size_t n = (size_t)d->count;
    osv_query_tile *tile = malloc((n + 1) * sizeof *tile);
    osv_kv_range *range = malloc(((size_t)d->ranges + 1) * sizeof *range);
    int *pos = malloc((2 * n + 1) * sizeof *pos), *slot = pos ? pos + n : NULL;
    osv_worklist w = {0};
    int status = tile && range && pos ? OSV_OK : OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if (status) goto done;
    make_token_work(d, tile, range, pos, slot, &w);
    OP(copy, d->token_tile, tile, n * sizeof *tile, OSV_TO_DEVICE);
    OP(copy, d->token_range, range, (size_t)w.kv_ranges * sizeof *range, OSV_TO_DEVICE);
    OP(copy, d->token_pos, pos, n * sizeof *pos, OSV_TO_DEVICE);
    OP(copy, d->token_slot, slot, n * sizeof *slot, OSV_TO_DEVICE);
    OP(copy, d->token_id, id, n * sizeof *id, OSV_TO_DEVICE);
    OP(sync, 0); /* the host arrays are read until here */
    w.pos = d->token_pos;
    w.query_tile = d->token_tile;
    w.kv_range = d->token_range;
    d->token.work = d->token.last = w;
    osv_pass *p = &d->token_pass;
    p->T = p->R = d->count;
    for (int l = 0; l < d->engine.model->config.N; l++) {
        p->active[l] = d->count;
        p->query_tiles[l] = d->count;
    }
    if ((status = upload_signs(d, steer_mask, d->count))) goto done;
    run(d, &d->token);
    status = osv_ops_status(o);
done:
    free(tile);
    free(range);
    free(pos);
    return status;
}
