#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/math.h"

/* Softmax attention over the forest, by blocks of keys with a running maximum (Milakov & Gimelshein 2018, Dao
 * et al. 2022), so that scratch has a fixed size however many keys there are. For a query row i and a key j
 * that it sees:
 *     s = scale q.k, capped: c tanh(s / c);   p = exp(s - lse);   out = sum of p v
 *     ds = p (dout.v - delta) (1 - (s / c)^2), delta = dout.out;   dq = scale sum of ds k
 *     dk = scale sum of ds q;   dv = sum of p dout
 *
 * The rows of one product are (query row, head) pairs: up to HEADS query heads that share a kv head are
 * packed below each other, so that short segments still give BLAS something to do. Items are (tile, kv head,
 * HEADS of its heads) for queries and (kv tile, kv head) for keys; each walks its blocks in list order. */

enum {
    HEADS = 4,               /* query heads of an item of queries */
    KEYS = OSV_TILE,         /* keys of a block */
    ROWS = HEADS * OSV_TILE, /* most rows of a product */
};

/* A thread's scratch. Rows are (head, query row) pairs, E numbers each unless it says otherwise. */
typedef struct {
    float *q;           /* [ROWS, E], times scale */
    float *dout;        /* [ROWS, E] */
    float *sum;         /* [ROWS, E] out, or dq, so far */
    float *score;       /* [ROWS, KEYS] s, then p */
    float *dscore;      /* [ROWS, KEYS] dout.v, then ds */
    float *key, *value; /* [KEYS, E] of a block that is not consecutive in the arena */
    float *max, *total; /* [ROWS] running maximum, sum of exponentials */
    float *lse, *delta; /* [ROWS] */
} buffers;

static size_t buffer_floats(int E)
{
    return (size_t)E * (3 * ROWS + 2 * KEYS) + 2 * ROWS * KEYS + 4 * ROWS;
}

static buffers take_buffers(const osv_ops *o, int E)
{
    float *at = osv_cpu_mine(o);
    buffers b;
    float **const part[] = {&b.q,     &b.dout, &b.sum,   &b.score, &b.dscore, &b.key,
                            &b.value, &b.max,  &b.total, &b.lse,   &b.delta};
    const size_t length[] = {(size_t)ROWS * E,
                             (size_t)ROWS * E,
                             (size_t)ROWS * E,
                             ROWS * KEYS,
                             ROWS * KEYS,
                             (size_t)KEYS * E,
                             (size_t)KEYS * E,
                             ROWS,
                             ROWS,
                             ROWS,
                             ROWS};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i] = at;
        at += length[i];
    }
    return b;
}

/* ---- rows: query heads that read one kv head ---- */

/* The local query heads [*begin, *end) that read the local kv head `head`. */
static void heads_of(const osv_heads *heads, int head, int *begin, int *end)
{
    int first = (heads->first / heads->group + head) * heads->group - heads->first;
    *begin = osv_cpu_max(first, 0);
    *end = osv_cpu_min(first + heads->group, heads->H);
}

/* Rows of a product: `heads` heads from `head`, each with `count` query rows from `row`; head-major. */
typedef struct {
    int row, count;
    int head, heads;
} block_rows;

/* packed[(h, r)] = factor from[row + r, head + h]. from [rows, H, E] */
static void pack(float *packed, const float *from, const block_rows *b, int H, int E, float factor)
{
    for (int h = 0; h < b->heads; h++)
        for (int r = 0; r < b->count; r++) {
            const float *in = from + ((size_t)(b->row + r) * H + b->head + h) * E;
            for (int e = 0; e < E; e++) *packed++ = factor * in[e];
        }
}

/* The same for one number per row and head. from [rows, H] */
static void pack_scalars(float *packed, const float *from, const block_rows *b, int H)
{
    for (int h = 0; h < b->heads; h++)
        for (int r = 0; r < b->count; r++) *packed++ = from[(size_t)(b->row + r) * H + b->head + h];
}

/* ---- keys: the ranges of a tile, cut into blocks ---- */

/* The positions that some query of a run of rows may see. */
typedef struct {
    int first, last;
} span;

static span span_of(const int *pos, int count, int window)
{
    int low = pos[0], high = pos[0];
    for (int r = 1; r < count; r++) {
        low = osv_cpu_min(low, pos[r]);
        high = osv_cpu_max(high, pos[r]);
    }
    return (span){window > 0 ? low - window + 1 : 0, high};
}

typedef struct {
    const osv_kv_range *range, *end;
    int used; /* keys of *range that are done */
    span seen;
} key_walk;

/* A block of n keys of one kv head: rows ld numbers apart. */
typedef struct {
    const float *k, *v;
    int ld, n;
    int slot[KEYS], pos[KEYS];
} key_block;

static void copy_keys(float *copy, const float *from, const key_block *b, size_t stride, int E)
{
    for (int i = 0; i < b->n; i++)
        memcpy(copy + (size_t)i * E, from + (size_t)b->slot[i] * stride, (size_t)E * sizeof *copy);
}

/* The next run of keys of the list that some query may see, at most `room` long; 0 at the end. */
static int next_run(key_walk *walk, int room, int *slot, int *pos)
{
    for (; walk->range < walk->end; walk->range++, walk->used = 0) {
        const osv_kv_range *range = walk->range;
        int begin = osv_cpu_max(walk->used, walk->seen.first - range->pos);
        int end = osv_cpu_min(range->count, walk->seen.last - range->pos + 1);
        if (begin >= end) continue;
        int count = osv_cpu_min(end - begin, room);
        *slot = range->slot + begin;
        *pos = range->pos + begin;
        walk->used = begin + count;
        return count;
    }
    return 0;
}

/* Rows are gone through in whole vectors: keys that are not there are at a position that no query sees. */
enum { WHOLE = 16 };

static void pad_positions(int pos[KEYS], int n)
{
    for (; n < KEYS; n++) pos[n] = INT_MAX;
}

/* Their scores; returns the length of the row with them. */
OSV_CPU_INLINE int pad_row(float *s, int n)
{
    int whole = osv_cpu_blocks(n, WHOLE) * WHOLE;
    for (; n < whole; n++) s[n] = 0;
    return whole;
}

/* Makes the next block; false at the end. Keys that follow each other in the arena are read where they are;
 * where a block takes several runs (a chain of short segments) they are copied together. k, v: the kv head in
 * the arena, rows `stride` apart. */
static bool next_block(key_block *b, key_walk *walk, const float *k, const float *v, size_t stride, int E,
                       const buffers *buffer)
{
    bool together = true;
    int slot, pos;
    b->n = 0;
    for (int run; b->n < KEYS && (run = next_run(walk, KEYS - b->n, &slot, &pos)) > 0; b->n += run) {
        for (int i = 0; i < run; i++) {
            b->slot[b->n + i] = slot + i;
            b->pos[b->n + i] = pos + i;
        }
        together = together && slot == b->slot[0] + b->n;
    }
    if (b->n == 0) return false;
    pad_positions(b->pos, b->n);
    if (together) {
        b->k = k + b->slot[0] * stride;
        b->v = v + b->slot[0] * stride;
        b->ld = (int)stride;
        return true;
    }
    copy_keys(buffer->key, k, b, stride, E);
    copy_keys(buffer->value, v, b, stride, E);
    b->k = buffer->key;
    b->v = buffer->value;
    b->ld = E;
    return true;
}

/* ---- one row of a product ---- */

/* s becomes exp(s - max) with the maximum of all blocks so far, 0 where the query does not see the key;
 * returns the factor by which what was summed before shrinks. */
OSV_CPU_CLONES
static float softmax_row(float *s, const int *pos, int n, span seen, float cap, float *max, float *total)
{
    n = pad_row(s, n);
    if (cap > 0)
        for (int j = 0; j < n; j++) s[j] = cap * osv_cpu_tanh(s[j] / cap);
    for (int j = 0; j < n; j++) {
        bool visible = (pos[j] >= seen.first) & (pos[j] <= seen.last);
        s[j] = visible ? s[j] : -INFINITY;
    }
    float block = osv_cpu_largest(s, n), most = block > *max ? block : *max;
    float base = most == -INFINITY ? 0 : most; /* no key seen yet */
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < n; j++) {
        s[j] = osv_cpu_exp(s[j] - base);
        sum += s[j];
    }
    float shrink = osv_cpu_exp(*max - base);
    *total = *total * shrink + sum;
    *max = most;
    return shrink;
}

/* s becomes p, ds (which holds dout.v) the gradient of the score before the softcap. A pair that does not see
 * each other gets zeros, whatever else is NaN. */
OSV_CPU_CLONES
static void gradient_row(float *restrict s, float *restrict ds, const int *restrict pos, int n, span seen,
                         float cap, float lse, float delta)
{
    pad_row(s, n);
    n = pad_row(ds, n);
    if (cap > 0)
        for (int j = 0; j < n; j++) {
            s[j] = cap * osv_cpu_tanh(s[j] / cap);
            ds[j] = (ds[j] - delta) * osv_cpu_cap_slope(s[j], cap);
        }
    else
        for (int j = 0; j < n; j++) ds[j] -= delta;
    for (int j = 0; j < n; j++) {
        bool visible = (pos[j] >= seen.first) & (pos[j] <= seen.last);
        float p = osv_cpu_exp(osv_cpu_select(visible, s[j] - lse, -INFINITY));
        s[j] = p;
        ds[j] = osv_cpu_select(visible, p * ds[j], 0);
    }
}

OSV_CPU_CLONES
static void multiply(float *restrict x, float factor, int n)
{
    for (int i = 0; i < n; i++) x[i] *= factor;
}

OSV_CPU_CLONES
static float dot(const float *a, const float *b, int n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The positions that one query sees. */
static span sees(int pos, int window)
{
    return (span){window > 0 ? pos - window + 1 : INT_MIN, pos};
}

/* ---- forward ---- */

typedef struct {
    const float *q, *k, *v;
    const osv_worklist *work;
    const osv_attention *a;
    int H, K, E;
} inputs;

/* Items of a tile and kv head: HEADS heads each, as many as a kv head may have. */
static int chunks_of(const osv_attention *a)
{
    return osv_cpu_blocks(osv_cpu_min(a->heads.group, a->heads.H), HEADS);
}

/* What an item of queries is about; false where the kv head has fewer heads. */
static bool find_item(const inputs *in, int item, int chunks, const osv_query_tile **tile, block_rows *b,
                      int *kv_head)
{
    int chunk = item % chunks, begin, end;
    *kv_head = item / chunks % in->K;
    *tile = &in->work->query_tile[item / chunks / in->K];
    heads_of(&in->a->heads, *kv_head, &begin, &end);
    begin += chunk * HEADS;
    *b = (block_rows){.row = (*tile)->row,
                      .count = (*tile)->count,
                      .head = begin,
                      .heads = osv_cpu_min(end - begin, HEADS)};
    return b->heads > 0;
}

static key_walk walk_of(const inputs *in, const osv_query_tile *tile)
{
    const osv_kv_range *range = in->work->kv_range + tile->first;
    return (key_walk){.range = range,
                      .end = range + tile->ranges,
                      .seen = span_of(in->work->pos + tile->row, tile->count, in->a->window)};
}

static void attend(const osv_ops *o, float *out, float *lse, const inputs *in, const osv_query_tile *tile,
                   const block_rows *b, int kv_head)
{
    int E = in->E, rows = b->heads * b->count;
    buffers m = take_buffers(o, E);
    key_block keys;
    key_walk walk = walk_of(in, tile);
    const int *pos = in->work->pos + b->row;
    size_t stride = (size_t)in->K * E;
    pack(m.q, in->q, b, in->H, E, (float)in->a->scale);
    memset(m.sum, 0, (size_t)rows * E * sizeof *m.sum);
    for (int i = 0; i < rows; i++) {
        m.max[i] = -INFINITY;
        m.total[i] = 0;
    }
    while (next_block(&keys, &walk, in->k + kv_head * E, in->v + kv_head * E, stride, E, &m)) {
        osv_cpu_gemm_nt(rows, keys.n, E, m.q, E, keys.k, keys.ld, 0, m.score, KEYS);
        for (int i = 0; i < rows; i++) {
            float shrink = softmax_row(m.score + (size_t)i * KEYS, keys.pos, keys.n,
                                       sees(pos[i % b->count], in->a->window), (float)in->a->softcap,
                                       &m.max[i], &m.total[i]);
            if (shrink != 1) multiply(m.sum + (size_t)i * E, shrink, E);
        }
        osv_cpu_gemm_nn(rows, E, keys.n, m.score, KEYS, keys.v, keys.ld, 1, m.sum, E);
    }
    for (int i = 0; i < rows; i++) {
        size_t at = (size_t)(b->row + i % b->count) * in->H + b->head + i / b->count;
        lse[at] = m.max[i] + logf(m.total[i]);
        float inverse = m.total[i] == 0 ? 0 : 1 / m.total[i]; /* without keys there is nothing to look at */
        for (int e = 0; e < E; e++) out[at * E + e] = m.sum[(size_t)i * E + e] * inverse;
    }
}

/* Multiply-adds, or what takes as long: two products and an exponential forward. */
static double work_of(const inputs *in)
{
    return 4.0 * in->work->rows * in->work->max_keys * in->H * in->E;
}

void osv_cpu_attention(osv_ops *o, float *out, float *lse, const float *q, const float *k, const float *v,
                       const osv_worklist *work, const osv_attention *a)
{
    inputs in = {.q = q, .k = k, .v = v, .work = work, .a = a};
    in.H = a->heads.H, in.K = a->heads.K, in.E = a->heads.E;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, buffer_floats(in.E) * sizeof(float))) return;
    int chunks = chunks_of(a);
#pragma omp parallel for schedule(static, 1) num_threads(osv_cpu_blas_threads(o, work_of(&in)))
    for (int item = 0; item < work->query_tiles * in.K * chunks; item++) {
        const osv_query_tile *tile;
        block_rows b;
        int kv_head;
        if (find_item(&in, item, chunks, &tile, &b, &kv_head)) attend(o, out, lse, &in, tile, &b, kv_head);
    }
}

/* ---- backward ---- */

typedef struct {
    const float *dout, *out, *lse;
    float *dq, *dk, *dv, *delta;
} gradients;

/* The pairs of a block of rows and a block of keys: m.score becomes p, m.dscore ds. Row i of the product is
 * at position pos[i % count]. */
static void pairs_dx(const buffers *m, const inputs *in, const block_rows *b, const float *k, const float *v,
                     int ld, int n, const int *key_pos)
{
    int E = in->E, rows = b->heads * b->count;
    const int *pos = in->work->pos + b->row;
    osv_cpu_gemm_nt(rows, n, E, m->q, E, k, ld, 0, m->score, KEYS);
    osv_cpu_gemm_nt(rows, n, E, m->dout, E, v, ld, 0, m->dscore, KEYS);
    for (int i = 0; i < rows; i++)
        gradient_row(m->score + (size_t)i * KEYS, m->dscore + (size_t)i * KEYS, key_pos, n,
                     sees(pos[i % b->count], in->a->window), (float)in->a->softcap, m->lse[i], m->delta[i]);
}

/* delta and dq of an item of queries */
static void queries_dx(const osv_ops *o, const gradients *g, const inputs *in, const osv_query_tile *tile,
                       const block_rows *b, int kv_head)
{
    int E = in->E, rows = b->heads * b->count;
    buffers m = take_buffers(o, E);
    key_block keys;
    key_walk walk = walk_of(in, tile);
    size_t stride = (size_t)in->K * E;
    for (int h = 0; h < b->heads; h++)
        for (int r = 0; r < b->count; r++) {
            size_t at = (size_t)(b->row + r) * in->H + b->head + h;
            g->delta[at] = dot(g->dout + at * E, g->out + at * E, E);
        }
    pack(m.q, in->q, b, in->H, E, (float)in->a->scale);
    pack(m.dout, g->dout, b, in->H, E, 1);
    pack_scalars(m.lse, g->lse, b, in->H);
    pack_scalars(m.delta, g->delta, b, in->H);
    memset(m.sum, 0, (size_t)rows * E * sizeof *m.sum);
    while (next_block(&keys, &walk, in->k + kv_head * E, in->v + kv_head * E, stride, E, &m)) {
        pairs_dx(&m, in, b, keys.k, keys.v, keys.ld, keys.n, keys.pos);
        osv_cpu_gemm_nn(rows, E, keys.n, m.dscore, KEYS, keys.k, keys.ld, 1, m.sum, E);
    }
    float scale = (float)in->a->scale;
    for (int i = 0; i < rows; i++) {
        size_t at = (size_t)(b->row + i % b->count) * in->H + b->head + i / b->count;
        for (int e = 0; e < E; e++) g->dq[at * E + e] = scale * m.sum[(size_t)i * E + e];
    }
}

/* dk and dv of a tile of keys of one kv head, from all query rows that may see them */
static void keys_dx(const osv_ops *o, const gradients *g, const inputs *in, const osv_kv_tile *tile,
                    int kv_head)
{
    int E = in->E, stride = in->K * E, window = in->a->window, begin, end;
    size_t at = ((size_t)tile->slot * in->K + kv_head) * E;
    size_t live = ((size_t)(tile->slot - in->work->live_slot) * in->K + kv_head) * E;
    float *dk = g->dk + live, *dv = g->dv + live, beta = 0;
    int pos[KEYS], last = tile->pos + tile->count - 1;
    buffers m = take_buffers(o, E);
    for (int i = 0; i < tile->count; i++) {
        pos[i] = tile->pos + i;
        memset(dk + (size_t)i * stride, 0, (size_t)E * sizeof *dk);
        memset(dv + (size_t)i * stride, 0, (size_t)E * sizeof *dv);
    }
    pad_positions(pos, tile->count);
    heads_of(&in->a->heads, kv_head, &begin, &end);
    for (int row = 0; row < tile->rows; row += OSV_TILE) {
        block_rows b = {.row = tile->row + row, .count = osv_cpu_min(OSV_TILE, tile->rows - row)};
        span seen = span_of(in->work->pos + b.row, b.count, window);
        if (seen.last < tile->pos || (window > 0 && seen.first > last)) continue;
        for (b.head = begin; b.head < end; b.head += HEADS) {
            b.heads = osv_cpu_min(HEADS, end - b.head);
            int rows = b.heads * b.count;
            pack(m.q, in->q, &b, in->H, E, (float)in->a->scale);
            pack(m.dout, g->dout, &b, in->H, E, 1);
            pack_scalars(m.lse, g->lse, &b, in->H);
            pack_scalars(m.delta, g->delta, &b, in->H);
            pairs_dx(&m, in, &b, in->k + at, in->v + at, stride, tile->count, pos);
            osv_cpu_gemm_tn(tile->count, E, rows, m.score, KEYS, m.dout, E, beta, dv, stride);
            osv_cpu_gemm_tn(tile->count, E, rows, m.dscore, KEYS, m.q, E, beta, dk, stride);
            beta = 1;
        }
    }
}

void osv_cpu_attention_dx(osv_ops *o, float *dq, float *dk, float *dv, float *delta, const float *dout,
                          const float *q, const float *k, const float *v, const float *out, const float *lse,
                          const osv_worklist *work, const osv_attention *a)
{
    inputs in = {.q = q, .k = k, .v = v, .work = work, .a = a};
    in.H = a->heads.H, in.K = a->heads.K, in.E = a->heads.E;
    gradients g = {.dout = dout, .out = out, .lse = lse, .dq = dq, .dk = dk, .dv = dv, .delta = delta};
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, buffer_floats(in.E) * sizeof(float))) return;
    int chunks = chunks_of(a), threads = osv_cpu_blas_threads(o, 2 * work_of(&in));
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static, 1)
        for (int item = 0; item < work->query_tiles * in.K * chunks; item++) {
            const osv_query_tile *tile;
            block_rows b;
            int kv_head;
            if (find_item(&in, item, chunks, &tile, &b, &kv_head)) queries_dx(o, &g, &in, tile, &b, kv_head);
        } /* all of delta is there */
#pragma omp for schedule(static, 1)
        for (int item = 0; item < work->kv_tiles * in.K; item++)
            keys_dx(o, &g, &in, &work->kv_tile[item / in.K], item % in.K);
    }
}
