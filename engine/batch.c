#include "engine/batch.h"

#include <stdlib.h>
#include <string.h>

#include "engine/distances.h"
#include "engine/forest.h"
#include "engine/scores.h"
#include "engine/sites.h"
#include "engine/worklist.h"

/* While building: nodes of the two tries, and the node of each token that is computed. */
typedef struct {
    const osv_sequence *sequence;
    int C;
    const osv_batch_job *job;
    int J, N, end_block;
    const osv_switches *on;
    osv_trie base, live;
    int *base_end; /* [base nodes] blocks that the unsteered pass has to run: end_block where frozen */
    bool *frozen;  /* [base nodes] */
    int *live_job, *live_sign, *live_base; /* [live nodes] */
    int *node;                             /* [all tokens that are computed] live, or -1 - base node */
    int *row_of_base, *row_of_live;        /* node -> row */
    osv_error *error;
} builder;

static void *room(builder *b, int count, size_t size)
{
    void *p = calloc(count > 0 ? (size_t)count : 1, size);
    if (!p) OSV_FAIL(b->error, OSV_DEVICE, "out of memory for a batch of %d tokens", count);
    return p;
}

/* ---- targets ---- */

/* A distance above which a block is still steered would not see what happens there. */
static int check_targets(const builder *b, int *bad_job)
{
    for (int c = 0; c < b->C; c++) {
        const osv_sequence *s = &b->sequence[c];
        const osv_batch_job *job = &b->job[s->job];
        int last = job->laters > 0 ? job->later[job->laters - 1] : job->layer;
        if (s->target_layer == 0 || (last < s->target_layer && s->target_layer < b->N)) continue;
        *bad_job = s->job;
        return OSV_FAIL(
            b->error, OSV_BAD_INPUT,
            "the distance is taken at the input of block %d, which must be one of %d to %d: above "
            "what the vector enters",
            s->target_layer, last + 1, b->N - 1);
    }
    return OSV_OK;
}

static int end_block(const builder *b)
{
    int end = 0;
    for (int c = 0; c < b->C; c++) {
        int target = b->sequence[c].target_layer;
        if (target == 0 || !b->on->scored_logits) return b->N;
        if (target > end) end = target;
    }
    return end;
}

/* ---- the tries ---- */

/* Steered tokens of one job never meet another job's: (job, sign) is part of the edge. */
static int insert_sequence(builder *b, int c, int *node)
{
    const osv_sequence *s = &b->sequence[c];
    const osv_batch_job *job = &b->job[s->job];
    long alone = b->on->share ? 0 : (long)(c + 1) << 32;
    int base = -1, live = -1, unsteered = s->target_layer > 0 ? s->target_layer : job->layer;
    bool is_live = !b->on->freeze;
    for (int t = 0; t < osv_sequence_tokens(s); t++) {
        int base_parent = base;
        OSV_TRY(osv_trie_child(&b->base, base, s->ids[t], alone, t, &base, b->error));
        is_live = is_live || s->steer[t];
        if (!is_live) {
            b->frozen[base] = true;
            b->base_end[base] = b->end_block;
        } else {
            long key = alone | (3L * s->job + 1 + s->steer[t]);
            int parent = live >= 0 ? live : -2 - base_parent;
            OSV_TRY(osv_trie_child(&b->live, parent, s->ids[t], key, t, &live, b->error));
            b->live_job[live] = s->job;
            b->live_sign[live] = s->steer[t];
            b->live_base[live] = base;
            if (b->base_end[base] < unsteered) b->base_end[base] = unsteered;
        }
        node[t] = is_live ? live : -1 - base;
    }
    return OSV_OK;
}

static int insert_all(builder *b, int *bad_job)
{
    int tokens = 0;
    for (int c = 0; c < b->C; c++) tokens += b->sequence[c].count;
    b->base_end = room(b, tokens, sizeof *b->base_end);
    b->frozen = room(b, tokens, sizeof *b->frozen);
    b->live_job = room(b, tokens, sizeof *b->live_job);
    b->live_sign = room(b, tokens, sizeof *b->live_sign);
    b->live_base = room(b, tokens, sizeof *b->live_base);
    b->node = room(b, tokens, sizeof *b->node);
    bool *depends = room(b, b->J, sizeof *depends);
    if (b->error->status) goto done;

    int *node = b->node;
    for (int c = 0; c < b->C; c++) {
        const osv_sequence *s = &b->sequence[c];
        if (insert_sequence(b, c, node)) goto done;
        node += osv_sequence_tokens(s);
        for (int t = 0; t < osv_sequence_tokens(s); t++) depends[s->job] = depends[s->job] || s->steer[t];
    }
    for (int j = 0; j < b->J; j++) {
        if (depends[j]) continue;
        *bad_job = j;
        OSV_FAIL(b->error, OSV_BAD_INPUT,
                 "no completion depends on the vector: it enters at no position before a scored token");
        break;
    }
done:
    free(depends);
    return b->error->status;
}

/* ---- rows ---- */

static int make_base(builder *b, osv_batch *out)
{
    osv_pass *p = &out->base;
    int n = b->base.count;
    long *bucket = room(b, n, sizeof *bucket);
    b->row_of_base = room(b, n, sizeof *b->row_of_base);
    p->active = room(b, b->N, sizeof *p->active);
    if (b->error->status) goto done;
    for (int i = 0; i < n; i++) bucket[i] = b->frozen[i] ? -1L : b->N - b->base_end[i];
    if (osv_forest_rows(p, &b->base, bucket, b->row_of_base, b->error)) goto done;
    for (int i = 0; i < n; i++) {
        int parent = b->base.node[i].parent;
        p->parent[b->row_of_base[i]] = parent >= 0 ? b->row_of_base[parent] : -1;
        out->frozen += b->frozen[i];
        for (int l = 0; l < b->base_end[i]; l++) p->active[l]++;
    }
done:
    free(bucket);
    return b->error->status;
}

static int make_live(builder *b, osv_batch *out)
{
    osv_pass *p = &out->live;
    int n = b->live.count;
    long *bucket = room(b, n, sizeof *bucket);
    b->row_of_live = room(b, n, sizeof *b->row_of_live);
    p->active = room(b, b->N, sizeof *p->active);
    out->base_row = room(b, n, sizeof *out->base_row);
    out->row_job = room(b, n, sizeof *out->row_job);
    out->row_sign = room(b, n, sizeof *out->row_sign);
    if (b->error->status) goto done;
    out->first_block = b->N;
    for (int i = 0; i < n; i++) {
        int job = b->live_job[i], layer = b->job[job].layer;
        bucket[i] = (long)layer * b->J + job;
        for (int l = layer; l < b->end_block; l++) p->active[l]++;
        if (layer < out->first_block) out->first_block = layer;
    }
    if (osv_forest_rows(p, &b->live, bucket, b->row_of_live, b->error)) goto done;
    for (int i = 0; i < n; i++) {
        int parent = b->live.node[i].parent, row = b->row_of_live[i];
        p->parent[row] = parent >= 0 ? b->row_of_live[parent] : parent == -1 ? -1 : parent;
        if (parent <= -2) {
            int base_parent = -2 - parent; /* a base node, or -1 for the first token of a sequence */
            p->parent[row] = base_parent >= 0 ? -2 - b->row_of_base[base_parent] : -1;
        }
        out->base_row[row] = b->row_of_base[b->live_base[i]];
        out->row_job[row] = b->live_job[i];
        out->row_sign[row] = b->live_sign[i];
    }
done:
    free(bucket);
    return b->error->status;
}

/* ---- tokens ---- */

static int make_tokens(builder *b, osv_batch *out)
{
    int tokens = 0;
    out->token_first = room(b, b->C + 1, sizeof *out->token_first);
    if (b->error->status) return b->error->status;
    for (int c = 0; c < b->C; c++) {
        out->token_first[c] = tokens;
        tokens += osv_sequence_tokens(&b->sequence[c]);
    }
    out->token_first[b->C] = tokens;
    out->token_row = room(b, tokens, sizeof *out->token_row);
    if (b->error->status) return b->error->status;
    for (int i = 0; i < tokens; i++) {
        int node = b->node[i];
        out->token_row[i] = node >= 0 ? b->row_of_live[node] : -1 - b->row_of_base[-1 - node];
    }
    return OSV_OK;
}

/* ---- losses ---- */

/* What completions ask for while it is collected. */
typedef struct {
    osv_asked *live, *constant;
    osv_asked_distance *distance;
    int lives, constants, distances;
} asked_losses;

/* Distances of frozen rows are 0 and not asked for. */
static void ask(builder *b, osv_batch *out, asked_losses *asked, int c)
{
    const osv_sequence *s = &b->sequence[c];
    const osv_batch_job *job = &b->job[s->job];
    for (int i = 0; i < osv_sequence_losses(s); i++) {
        int row = out->token_row[out->token_first[c] + s->prompt - 1 + i], place = out->completion_tokens;
        if (s->target_layer > 0 && row < 0) continue;
        out->completion_tokens++;
        if (s->target_layer > 0) {
            asked->distance[asked->distances++] = (osv_asked_distance){
                .layer = s->target_layer, .row = row, .place = place, .power = job->power};
            continue;
        }
        osv_asked one = {.row = row >= 0 ? row : -1 - row,
                         .target = s->ids[s->prompt + i],
                         .kind = (int)s->kind,
                         .place = place,
                         .logp = s->logp ? s->logp[i] : NULL,
                         .reverse = s->reverse,
                         .coldness = job->coldness,
                         .eps = job->eps};
        if (row >= 0)
            asked->live[asked->lives++] = one;
        else
            asked->constant[asked->constants++] = one;
    }
}

static int build_losses(builder *b, osv_batch *out, asked_losses *asked)
{
    for (int c = 0; c < b->C; c++) {
        out->completion_first[c] = out->completion_tokens;
        ask(b, out, asked, c);
    }
    out->completion_first[b->C] = out->completion_tokens;
    int *place = out->completion_score;
    OSV_TRY(
        osv_scores_build(&out->live, asked->live, asked->lives, !b->on->scored_logits, place, 0, b->error));
    OSV_TRY(osv_distances_build(&out->live, asked->distance, asked->distances, b->N, place, asked->lives,
                                b->error));
    const osv_distances *d = &out->live.distances;
    out->distance_base_row = room(b, d->M, sizeof *out->distance_base_row);
    for (int m = 0; out->distance_base_row && m < d->M; m++)
        out->distance_base_row[m] = out->base_row[d->row[m]];
    return osv_scores_build(&out->base, asked->constant, asked->constants, false, place,
                            osv_losses_of(&out->live), b->error);
}

static int make_losses(builder *b, osv_batch *out)
{
    int most = 0;
    for (int c = 0; c < b->C; c++) most += osv_sequence_losses(&b->sequence[c]);
    out->completion_first = room(b, b->C + 1, sizeof *out->completion_first);
    out->completion_score = room(b, most, sizeof *out->completion_score);
    asked_losses asked = {.live = room(b, most, sizeof *asked.live),
                          .constant = room(b, most, sizeof *asked.constant),
                          .distance = room(b, most, sizeof *asked.distance)};
    int status = b->error->status ? b->error->status : build_losses(b, out, &asked);
    free(asked.live);
    free(asked.constant);
    free(asked.distance);
    return status;
}

/* ---- work lists ---- */

static int make_worklists(builder *b, osv_pass *p, int slot0, const osv_pass *base, bool narrow)
{
    OSV_TRY(osv_worklist_build(&p->work, p, slot0, base, NULL, 0, b->error));
    OSV_TRY(osv_worklist_build(&p->last, p, slot0, base, narrow ? p->scored : NULL, p->R, b->error));
    p->query_tiles = room(b, b->N, sizeof *p->query_tiles);
    p->kv_tiles = room(b, b->N, sizeof *p->kv_tiles);
    if (b->error->status) return b->error->status;
    for (int l = 0; l < b->N; l++) {
        int q = 0, k = 0;
        while (q < p->work.query_tiles && p->work.query_tile[q].row < p->active[l]) q++;
        while (k < p->work.kv_tiles && p->work.kv_tile[k].slot - slot0 < p->active[l]) k++;
        p->query_tiles[l] = q;
        p->kv_tiles[l] = k;
    }
    return OSV_OK;
}

/* ---- */

int osv_batch_build(osv_batch **out, const osv_sequence *sequence, int C, const osv_batch_job *job, int J,
                    int N, const osv_switches *switches, int *bad_job, osv_error *e)
{
    builder b = {.sequence = sequence, .C = C, .job = job, .J = J, .N = N, .on = switches, .error = e};
    osv_batch *batch = calloc(1, sizeof *batch);
    *bad_job = -1;
    int status = batch ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (status) goto done;
    if ((status = check_targets(&b, bad_job))) goto done;
    b.end_block = end_block(&b);
    *batch = (osv_batch){.N = N, .J = J, .C = C, .end_block = b.end_block};
    if ((status = insert_all(&b, bad_job))) goto done;
    if ((status = make_base(&b, batch))) goto done;
    if ((status = make_live(&b, batch))) goto done;
    if ((status = osv_sites_build(batch, job, e))) goto done;
    if ((status = make_tokens(&b, batch))) goto done;
    if ((status = make_losses(&b, batch))) goto done;
    /* The unsteered pass always asks narrowly in its last block: only constant losses need anything there. */
    if ((status = make_worklists(&b, &batch->base, 0, &batch->base, true))) goto done;
    if ((status = make_worklists(&b, &batch->live, batch->frozen, &batch->base, switches->narrow_last)))
        goto done;
    batch->slots = batch->frozen + batch->live.T;
    if (batch->base.T > batch->slots) batch->slots = batch->base.T;
done:
    osv_trie_free(&b.base);
    osv_trie_free(&b.live);
    free(b.base_end);
    free(b.frozen);
    free(b.live_job);
    free(b.live_sign);
    free(b.live_base);
    free(b.node);
    free(b.row_of_base);
    free(b.row_of_live);
    if (status) {
        osv_batch_free(batch);
        batch = NULL;
    }
    *out = batch;
    return status;
}

void osv_batch_free(osv_batch *b)
{
    if (!b) return;
    osv_pass_free(&b->base);
    osv_pass_free(&b->live);
    osv_sites_free(b);
    free(b->row_job);
    free(b->row_sign);
    free(b->base_row);
    free(b->distance_base_row);
    free(b->token_first);
    free(b->token_row);
    free(b->completion_first);
    free(b->completion_score);
    free(b);
}
