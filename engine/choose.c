#include "engine/choose.h"

#include <stdlib.h>
#include <string.h>

#include "engine/maths.h"
#include "kernels/choice.h"

/* Tokens that each rank lists of a row at first, where top_p says that it may take any number. */
enum { A_FEW = 64 };

static size_t bytes_of(size_t rows, size_t tokens)
{
    return rows * sizeof(osv_slice) + tokens * sizeof(osv_token);
}

int osv_chooser_open(osv_chooser *c, const osv_model *m, int rows, osv_error *e)
{
    size_t ranks = (size_t)m->shard.size, some = (size_t)rows * A_FEW, all = (size_t)m->shard.V_most;
    *c = (osv_chooser){.ranks = m->shard.size, .V_most = m->shard.V_most, .tokens = some > all ? some : all};
    if (ranks == 1) return OSV_OK;
    c->bytes = bytes_of((size_t)rows, c->tokens);
    c->host = malloc(ranks * c->bytes);
    c->list = malloc(ranks * all * sizeof *c->list);
    return c->host && c->list ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory for the choice of tokens");
}

void osv_chooser_lay_out(osv_chooser *c, osv_bump *b, int rows)
{
    if (c->ranks == 1) return;
    c->max = osv_take(b, (size_t)rows, sizeof *c->max);
    c->all = osv_take(b, (size_t)c->ranks, c->bytes);
}

void osv_chooser_close(osv_chooser *c)
{
    free(c->host);
    free(c->list);
}

/* How many tokens of its slice a rank lists of a row at first. */
static int first_k(const osv_chooser *c, const osv_sampling *how)
{
    int k = !osv_sampling_lists(how) ? 1 : how->top_k > 0 ? how->top_k : A_FEW;
    return k < c->V_most ? k : c->V_most;
}

/* n rows by k tokens a rank. id -2: that was too few. */
static void choose_rows(osv_chooser *c, const osv_engine *g, const osv_real *z, const osv_real *max,
                        const osv_sampling *how, const osv_sampling *host_how, int n, int k, int *id,
                        osv_real *logprob)
{
    osv_ops *o = g->ops;
    const osv_shard *sh = &g->model->shard;
    size_t slices = (size_t)n * sizeof(osv_slice), bytes = bytes_of((size_t)n, (size_t)n * (size_t)k);
    char *own = c->all + (size_t)sh->rank * bytes;
    OP(candidates, (osv_slice *)(void *)own, (osv_token *)(void *)(own + slices), z, max, how, sh->vocab0, k,
       n, sh->V);
    ACROSS(all_gather, c->all, bytes);
    OP(copy, c->host, c->all, (size_t)c->ranks * bytes, OSV_TO_HOST);
    OP(sync, 0);
    for (int r = 0; r < n && !osv_ops_status(o); r++) {
        const osv_listed listed = {.slice = (const osv_slice *)(void *)c->host + r,
                                   .token = (const osv_token *)(void *)(c->host + slices) +
                                            (size_t)r * (size_t)k,
                                   .stride = bytes,
                                   .ranks = c->ranks,
                                   .k = k};
        if (!osv_choice_join(&id[r], &logprob[r], &host_how[r], &listed, c->list)) id[r] = -2;
    }
}

int osv_choose(osv_chooser *c, const osv_engine *g, const osv_real *z, const osv_sampling *how,
               const osv_sampling *host_how, int n, int *id, osv_real *logprob)
{
    osv_ops *o = g->ops;
    int V = g->model->shard.V, k = 1;
    for (int r = 0; r < n; r++)
        if (first_k(c, &host_how[r]) > k) k = first_k(c, &host_how[r]);
    OP(score_max, c->max, z, n, V);
    ACROSS(all_reduce, c->max, (size_t)n, OSV_MAX);
    int most = (int)(c->tokens / (size_t)k);
    for (int r = 0, rows; r < n; r += rows) {
        rows = n - r < most ? n - r : most;
        choose_rows(c, g, z + (size_t)r * (size_t)V, c->max + r, how + r, host_how + r, rows, k, id + r,
                    logprob + r);
    }
    for (int r = 0; r < n; r++)
        if (id[r] == -2)
            choose_rows(c, g, z + (size_t)r * (size_t)V, c->max + r, how + r, host_how + r, 1, c->V_most,
                        id + r, logprob + r);
    return osv_ops_status(o);
}

int osv_whole_row(osv_chooser *c, const osv_engine *g, const osv_real *z, osv_real *logits)
{
    osv_ops *o = g->ops;
    const osv_model *m = g->model;
    size_t bytes = (size_t)c->V_most * sizeof *z; /* less than one row's tokens take */
    OP(copy, c->all + (size_t)m->shard.rank * bytes, z, (size_t)m->shard.V * sizeof *z, OSV_ON_DEVICE);
    ACROSS(all_gather, c->all, bytes);
    OP(copy, c->host, c->all, (size_t)c->ranks * bytes, OSV_TO_HOST);
    OP(sync, 0);
    for (int r = 0; r < c->ranks && !osv_ops_status(o); r++) {
        osv_shard s;
        OSV_TRY(osv_shard_make(&s, &m->config, r, c->ranks, o->error));
        memcpy(logits + s.vocab0, c->host + (size_t)r * bytes, (size_t)s.V * sizeof *logits);
    }
    return osv_ops_status(o);
}
