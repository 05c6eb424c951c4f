/* The batch: sequences -> a forest of packed tokens, without padding and without doing anything twice.
 *
 * Two passes come out of it. `base` is the unsteered pass over the trie of ids: one row per distinct
 * unsteered prefix. `live` is what an iteration computes: one row per distinct prefix of (id, steer) pairs
 * that holds a steered token. A base row is *frozen* where some sequence is not steered up to it: it has no
 * live row, its keys and values above the start layer never change.
 *
 * Rows of base: frozen ones first, then by the number of blocks they need, most first; rows of live: by start
 * layer, then by job. So the rows that are active in a block are a prefix of the pass, and K/V slots are base
 * row (frozen) or frozen + live row.
 *
 * Everything is host memory, owned by the batch. The batch is pure: it knows no weights and no device. */
#ifndef OSV_ENGINE_BATCH_H
#define OSV_ENGINE_BATCH_H

#include <stdbool.h>

#include "engine/sequence.h"

/* Work that is never done twice; each can be switched off, so that tests and benchmarks can compare. */
typedef struct {
    bool cache_prefix;  /* blocks below the start layer run once, not once an iteration */
    bool freeze;        /* tokens before the first steered one are computed once */
    bool scored_logits; /* logits only at scored positions */
    bool share;         /* sequences share what their tokens agree on */
    bool narrow_last;   /* queries and ffn of the last block only at scored positions */
    int recompute;      /* of so many blocks, the first steered ones, the reverse pass finds the input alone
                           and computes the rest again: the same bytes, less memory, half as much work more */
} osv_switches;

static const osv_switches osv_all_on = {true, true, true, true, true, 0};

/* What the batch has to know of a job. */
typedef struct {
    int layer;        /* its vector enters at block_input:layer, */
    int laters;       /* and at so many blocks above, */
    const int *later; /* [laters] rising: */
    bool apart;       /* with parameters of its own at each; else with the same ones */
    osv_form form;
    double coldness, eps;
    double power; /* of distances */
} osv_batch_job;

/* Packed tokens of one pass. */
typedef struct {
    int T;
    int *id, *pos; /* [T] */
    int *parent; /* [T] row of the token before: >= 0 in this pass; -1: none; -2 - r: row r of base (live pass
                    only) */
    int *end;    /* [T] one past the last row that descends from this one (rows are in preorder) */
    int *segment;      /* [T] 1 where a segment starts: a run with one parent and no branch inside */
    int *active;       /* [N] rows that take part in block l: a prefix */
    osv_worklist work; /* host arrays; all T rows ask */
    int *query_tiles, *kv_tiles;     /* [N] tiles of `work` that are active in block l */
    int R;                           /* rows that have logits */
    int *scored;                     /* [R] rising */
    osv_worklist last;               /* only the scored rows ask */
    osv_scores scores;               /* host arrays; scores of the row scored[r] */
    osv_distributions distributions; /* likewise, but `logp`: */
    int aims;
    const osv_real **logp;   /* [aims] each [V], the sequences' */
    osv_distances distances; /* host arrays; by block, then by row: */
    int *distance_first;     /* [N + 2] those at block_input:l are distance_first[l] .. [l + 1) */
} osv_pass;

typedef struct {
    int N, J, C;
    int first_block; /* the lowest start layer */
    int end_block;   /* one past the last block that a loss depends on */
    int frozen;      /* base rows 0 .. frozen - 1 */
    int slots;       /* K/V slots of a block's arena */
    osv_pass base, live;
    int *base_row;          /* [live.T] the unsteered twin of each live row */
    int *distance_base_row; /* [live.distances.M] of the rows there */
    int *row_job;           /* [live.T] */
    int *row_sign;          /* [live.T] +1, -1; 0: not steered */
    int P, G;              /* rows of D: parameters of all jobs; gradients, of which the first P are theirs */
    int *job_param;        /* [J + 1] rows of parameters of job j: job_param[j] .. job_param[j + 1) */
    int sums;              /* what parameters get from later blocks that share them lies behind row P: */
    int *sum_first;        /* [sums + 1] gradient rows P + sum_first[i] .. belong to */
    int *sum_param;        /* [G - P] these rows of parameters, none twice in one sum */
    int sites;             /* by layer, rising, then by row */
    int *site_layer;       /* [sites] */
    bool *site_entry;      /* [sites] the rows start here, unsteered so far; else jobs meet them again */
    osv_site *site;        /* [sites] host arrays */
    int *token_first;      /* [C + 1] tokens of completion c (= sequence c) at which something is computed: */
    int *token_row;        /* their rows of live; -1 - r: frozen, row r of base */
    int *completion_first; /* [C + 1] scores of completion c, in token order: */
    int *completion_score; /* index < osv_losses_of(&live): live; else constant, counted on from there. Of a
                              pass come first the scores, then the distributions, then the distances; the
                              distance of a frozen row is 0 and has no entry */
    int completion_tokens; /* entries of completion_score */
} osv_batch;

static inline int osv_token_losses_of(const osv_pass *p)
{
    return p->scores.S + p->distributions.K;
}
static inline int osv_losses_of(const osv_pass *p)
{
    return osv_token_losses_of(p) + p->distances.M;
}

/* `sequence` [C], `job` [J]. Fails where a job's loss cannot depend on its vector, naming the job by index
 * through *bad_job. */
int osv_batch_build(osv_batch **out, const osv_sequence *sequence, int C, const osv_batch_job *job, int J,
                    int N, const osv_switches *switches, int *bad_job, osv_error *e);
void osv_batch_free(osv_batch *b);

#endif
