/* Where everything of a batch lies in device memory: one allocation, laid out by one function that runs
 * twice, first to count the bytes, then to place (and upload what the host made). Pure in the first run: no
 * weights, no device. */
#ifndef OSV_ENGINE_PLAN_H
#define OSV_ENGINE_PLAN_H

#include "engine/batch.h"
#include "engine/bump.h"
#include "engine/model.h"

/* What a block keeps for its reverse pass. T: active rows; Q: rows with queries, T except in a narrow last
 * block. */
typedef struct {
    osv_real *x;      /* [T, D] its input */
    osv_real *k, *v;  /* [slots, K E] arena, frozen slots first; k rotated */
    osv_real *q;      /* [Q, H E] rotated */
    osv_real *raw_q;  /* [Q, H E] before its norm, where the model has one */
    osv_real *raw_k;  /* [T, K E] */
    osv_real *qk_sum; /* [T + Q] squares of whole rows of raw_k and raw_q, where these are normed as such */
    osv_real *attn;   /* [Q, H E] attention's output */
    osv_real *lse;    /* [Q, H] */
    osv_real *attn_y; /* [Q, D] before its post-norm */
    osv_real *x_mid;  /* [Q, D] between attention and ffn */
    osv_real *gate, *up; /* [Q, F]; the reverse pass overwrites them with their gradients */
    osv_real *ffn_y;     /* [Q, D] before its post-norm */
} osv_activations;

/* Buffers that every block uses again. */
typedef struct {
    osv_real *h;       /* [T, D] normed input */
    osv_real *hq, *xq; /* [Q, D] rows of h and x that have queries, where the last block is narrow */
    osv_real *k, *v;   /* [T, K E] on their way to scattered slots */
    osv_real *glu;     /* [T, F] */
    osv_real *x_out;   /* [Q, D] output of the last block */
    osv_real *x_final; /* [R, D] its scored rows; x_out itself where they are all of it */
    osv_real *h_final; /* [R, D] normed */
    osv_real *z;       /* [R, V] logits, then their gradients */
    osv_real *max;     /* [R] */
    osv_real *sum;     /* [S, 2] */
    osv_real *kl_sum;  /* [K, 2] */
    osv_real *kl_dz;   /* [rows with distributions, V] */
    osv_real *dx;      /* [T, D] */
    osv_real *dxq;     /* [R, D] dx of the last block where it is narrow */
    osv_real *dh, *dy; /* [T, D] */
    osv_real *da, *dq; /* [T, H E] */
    osv_real *dk, *dv; /* [T, K E] */
    osv_real *delta;   /* [T, H] */
    osv_real *qk_dot;  /* [2 T] of the reverse pass of norms of whole rows */
    osv_real *ds;      /* [T, F] */
} osv_scratch;

/* A pass as the ops see it: device pointers. */
typedef struct {
    const osv_pass *host;
    int slot;         /* K/V slot of row 0; the others follow */
    const int *slots; /* or [T], one by one: rows that are appended to different segments; else NULL */
    bool narrow;      /* queries of the last block only at scored rows */
    const int *id, *scored;
    osv_worklist work, last;
    osv_scores scores;
    osv_distributions distributions;
    osv_distances distances;
    osv_scratch scratch;
} osv_device_pass;

typedef struct {
    osv_device_pass base, live;
    osv_activations
        *block; /* [N] of the live pass; used are first_block .. end_block - 1, and x of end_block */
    osv_activations
        below; /* of the unsteered pass, for one block at a time; k, v for blocks below first_block */
    osv_real *below_x[2]; /* [base.T, D] */
    const int *base_row;
    osv_site *site;      /* [sites] device pointers inside host structs */
    osv_real **site_x;   /* [sites] what each site's form is applied to [site.rows, D]: rows of x0 where they
                            start, later rows of the block's x, or a copy of them where the reverse pass of the
                            form reads it */
    osv_real *form_coef; /* scratch of the forms */
    const int *sum_param;
    osv_real *x0;                  /* [live.T, D] unsteered residual stream where each live row starts */
    osv_real *distance_x0;         /* [M, D] and where distances are taken */
    const int *distance_base_row;  /* [M] */
    osv_real *rope[OSV_MAX_ROPES]; /* [positions, rot] each */
    osv_real *loss; /* [live losses, base losses]: of a pass scores, distributions, distances */
    osv_real *w;    /* [live losses] d objective / d loss */
} osv_buffers;

/* Rows of a pass in block l, and those that have queries in it. */
static inline int osv_rows(const osv_device_pass *p, int l)
{
    return p->host->active[l];
}
static inline int osv_queries(const osv_device_pass *p, int l, int N)
{
    return l == N - 1 && p->narrow ? p->host->R : osv_rows(p, l);
}

/* The work list of block l: only active tiles. */
osv_worklist osv_block_work(const osv_device_pass *p, int l, int N);

/* Does block l keep its input alone for the reverse pass? */
static inline bool osv_recomputed(const osv_batch *b, const osv_switches *on, int l)
{
    return l >= b->first_block && l - b->first_block < on->recompute;
}

/* Bytes that the batch needs. */
size_t osv_plan_bytes(const osv_model *m, const osv_batch *batch, const osv_switches *on, osv_error *e);

/* Places everything in `memory` (osv_plan_bytes long) and uploads the batch. Releases by osv_buffers_free
 * (not the memory). */
int osv_plan_place(osv_buffers *b, const osv_model *m, const osv_batch *batch, const osv_switches *on,
                   osv_ops *o, void *memory);
void osv_buffers_free(osv_buffers *b);

/* Parts of the layout that decoding shares. osv_take_scratch returns the buffer that serves as y of blocks
 * without post-norms; osv_take_activations takes what a block computes for T rows, Q of them with queries,
 * besides its input and its arena. */
osv_worklist osv_put_worklist(osv_bump *b, const osv_worklist *host);
osv_real *osv_take_scratch(osv_bump *b, osv_scratch *t, const osv_model *m, const osv_device_pass *p);
void osv_take_activations(osv_bump *b, osv_activations *a, const osv_model *m, int T, int Q, osv_real *y);

#endif
