#include "optim/likelihood.h"

#include <math.h>
#include <stdlib.h>

/* The next token at some place of a continuation. Every place is the end of a prompt of its own (the
 * continuation up to there), since prompts are what the decoder has logits for; the trie makes one text of
 * them again. */
typedef struct {
    int row, target;
    int continuation;
    int number; /* as they come, before they are sorted */
} place;

/* Continuations first .. first + count - 1 in one pass. */
typedef struct {
    const osv_likelihood *l;
    const osv_continuation *continuation;
    double coldness;
    int count, places;
    osv_prompt *prompt; /* [places] */
    int *of;            /* [places] */
    place *place;       /* [places] sorted by (row, target) */
    osv_decoder *decoder;
    osv_real *loss; /* [places] -ln P, host */
    osv_real *logp; /* [places, V] in the order of their numbers, host; NULL: nobody asks */
} pass;

static int by_row(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->row != y->row) return x->row - y->row;
    return x->target - y->target;
}

static int open_places(pass *p)
{
    const osv_likelihood *l = p->l;
    int n = 0;
    for (int i = 0; i < p->count; i++) {
        const osv_continuation *c = &p->continuation[i];
        for (int t = c->prompt; t < c->count; t++, n++) {
            p->prompt[n] = (osv_prompt){.count = t, .ids = c->ids, .steer = c->steer};
            p->of[n] = n;
            p->place[n] = (place){.target = c->ids[t], .continuation = i, .number = n};
        }
    }
    OSV_TRY(osv_decoder_open(&p->decoder, l->ops, l->comm, l->model, p->prompt, n, p->of, n, l->steering,
                             l->steerings, 0));
    for (int i = 0; i < n; i++) p->place[i].row = osv_decoder_row(p->decoder, i);
    qsort(p->place, (size_t)n, sizeof *p->place, by_row);
    return OSV_OK;
}

/* What the ops read about the scores, in device memory; runs twice, as in engine/plan. */
static void lay_out(osv_bump *b, osv_scores *s, osv_real **max, osv_real **sum, osv_real **loss,
                    const int *first, const int *target, const int *kind, const osv_real *coldness,
                    const osv_real *eps)
{
    size_t R = (size_t)s->R, S = (size_t)s->S;
    s->first = osv_put(b, first, R + 1, sizeof *first);
    s->target = osv_put(b, target, S, sizeof *target);
    s->kind = osv_put(b, kind, S, sizeof *kind);
    s->coldness = osv_put(b, coldness, R, sizeof *coldness);
    s->eps = osv_put(b, eps, R, sizeof *eps);
    *max = osv_take(b, R, sizeof **max);
    *sum = osv_take(b, 2 * S, sizeof **sum);
    *loss = osv_take(b, S, sizeof **loss);
}

/* The columns of this rank: ln P_j = u_j - ln sum of exp(u), u = coldness (z - max). */
static void copy_distributions(const pass *p, const osv_real *z, const osv_real *max, const osv_real *sum)
{
    osv_ops *o = p->l->ops;
    const osv_shard *shard = &p->l->model->shard;
    size_t V = (size_t)p->l->model->config.V, own = (size_t)shard->V;
    for (int i = 0; i < p->places; i++)
        o->copy(o, p->logp + (size_t)p->place[i].number * V + shard->vocab0,
                z + (size_t)p->place[i].row * own, own * sizeof *z, OSV_TO_HOST);
    o->sync(o, 0);
    for (int i = 0; i < p->places; i++) {
        osv_real *logp = p->logp + (size_t)p->place[i].number * V + shard->vocab0;
        double most = (double)max[p->place[i].row];
        double total = log((double)sum[2 * i] + exp((double)sum[2 * i + 1]));
        for (size_t j = 0; j < own; j++) logp[j] = (osv_real)(p->coldness * ((double)logp[j] - most) - total);
    }
}

static int score(pass *p)
{
    osv_ops *o = p->l->ops;
    osv_comm *comm = p->l->comm;
    const osv_shard *shard = &p->l->model->shard;
    int S = p->places, R = p->place[S - 1].row + 1;
    osv_scores s = {.R = R, .S = S, .first_id = shard->vocab0};
    int *first = calloc((size_t)R + 1, sizeof *first), *target = calloc((size_t)S, sizeof *target);
    int *kind = calloc((size_t)S, sizeof *kind); /* OSV_PROMOTE: -ln(P + eps) */
    osv_real *coldness = calloc((size_t)R, sizeof *coldness), *eps = calloc((size_t)R, sizeof *eps);
    osv_real *host_max = calloc((size_t)R, sizeof *host_max),
             *host_sum = calloc(2 * (size_t)S, sizeof *host_sum);
    void *memory = NULL;
    if (!first || !target || !kind || !coldness || !eps || !host_max || !host_sum) {
        OSV_FAIL(o->error, OSV_DEVICE, "out of memory for %d scores", S);
        goto done;
    }
    for (int i = 0; i < S; i++) {
        target[i] = p->place[i].target;
        first[p->place[i].row + 1]++;
    }
    for (int r = 0; r < R; r++) {
        first[r + 1] += first[r];
        coldness[r] = (osv_real)p->coldness;
    }
    osv_real *max, *sum, *loss;
    osv_bump bytes = {0};
    lay_out(&bytes, &s, &max, &sum, &loss, first, target, kind, coldness, eps);
    memory = o->alloc(o, bytes.used);
    if (osv_ops_status(o)) goto done;
    lay_out(&(osv_bump){.memory = memory, .o = o}, &s, &max, &sum, &loss, first, target, kind, coldness, eps);
    const osv_real *z = osv_decoder_logits(p->decoder);
    o->score_max(o, max, z, R, shard->V);
    comm->all_reduce(comm, max, (size_t)R, OSV_MAX);
    o->score_sum(o, sum, z, max, &s, shard->V);
    comm->all_reduce(comm, sum, 2 * (size_t)S, OSV_SUM);
    o->score(o, loss, sum, &s);
    o->copy(o, p->loss, loss, (size_t)S * sizeof *loss, OSV_TO_HOST);
    o->copy(o, host_max, max, (size_t)R * sizeof *max, OSV_TO_HOST);
    o->copy(o, host_sum, sum, 2 * (size_t)S * sizeof *sum, OSV_TO_HOST);
    o->sync(o, 0);
    if (p->logp && !osv_ops_status(o)) copy_distributions(p, z, host_max, host_sum);
done:
    if (memory) o->free(o, memory);
    free(first);
    free(target);
    free(kind);
    free(coldness);
    free(eps);
    free(host_max);
    free(host_sum);
    return osv_ops_status(o);
}

/* logprob [p->count]; NULL: nobody asks. */
static int run_pass(pass *p, double *logprob)
{
    size_t n = (size_t)p->places;
    p->prompt = calloc(n, sizeof *p->prompt);
    p->of = calloc(n, sizeof *p->of);
    p->place = calloc(n, sizeof *p->place);
    p->loss = calloc(n, sizeof *p->loss);
    int status = p->prompt && p->of && p->place && p->loss
                     ? open_places(p)
                     : OSV_FAIL(p->l->ops->error, OSV_DEVICE, "out of memory for %zu tokens", n);
    if (!status) status = score(p);
    for (int i = 0; logprob && i < p->count; i++) logprob[i] = 0;
    for (int i = 0; logprob && i < p->places && !status; i++)
        logprob[p->place[i].continuation] -= (double)p->loss[i];
    osv_decoder_close(p->decoder);
    free(p->prompt);
    free(p->of);
    free(p->place);
    free(p->loss);
    return status;
}

/* In passes as large as the logits allow. logprob [continuations], logp [places, V]: NULL where nobody asks.
 */
static int run(const osv_likelihood *l, const osv_continuation *continuation, int continuations,
               double coldness, double *logprob, osv_real *logp)
{
    enum { LOGITS_BYTES = 256 << 20, TOKENS = 16384 }; /* of one pass */
    size_t row = 2 * sizeof(osv_real) *
                 (size_t)l->model->shard.V_most; /* the decoder has logits for prompts and streams */
    long most = l->most_rows > 0 ? l->most_rows : (long)(LOGITS_BYTES / row);
    for (int first = 0, count; first < continuations; first += count) {
        long places = 0, tokens = 0;
        for (count = 0; first + count < continuations; count++) {
            const osv_continuation *c = &continuation[first + count];
            places += c->count - c->prompt;
            tokens += c->count;
            if (count > 0 && (places > most || tokens > TOKENS)) {
                places -= c->count - c->prompt;
                break;
            }
        }
        pass p = {.l = l,
                  .continuation = continuation + first,
                  .coldness = coldness,
                  .count = count,
                  .places = (int)places,
                  .logp = logp};
        OSV_TRY(run_pass(&p, logprob ? logprob + first : NULL));
        if (logp) logp += (size_t)places * (size_t)l->model->config.V;
    }
    return OSV_OK;
}

int osv_likelihood_of(const osv_likelihood *l, const osv_continuation *continuation, int continuations,
                      double *logprob)
{
    return run(l, continuation, continuations, 1, logprob, NULL);
}

int osv_distributions_of(const osv_likelihood *l, const osv_continuation *continuation, int continuations,
                         double coldness, osv_real *logp)
{
    return run(l, continuation, continuations, coldness, NULL, logp);
}
