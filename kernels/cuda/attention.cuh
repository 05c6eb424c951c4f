/* What the attention kernels share: who looks at whom, and the maths of one pair of query and key.
 *
 * A block keeps the rows of a tile (query rows of several heads, or keys) and streams past them the items of
 * the other side, STEP at a time: keys from a query tile's ranges, or the query rows that may see a tile of
 * keys. Query rows and the heads that read one kv head are packed, row by row, into one list, so that keys
 * are read once for all of these heads, and short segments still fill a tile. Sums run in the order of the
 * stream, which depends on the work list alone.
 *
 * For a query row i and a key j that it sees:
 *     s = scale q.k, capped: c tanh(s / c);   p = exp(s - lse);   out = sum of p v
 *     ds = p (dout.v - delta) (1 - (s / c)^2), delta = dout.out;   dq = scale sum of ds k
 *     dk = scale sum of ds q;   dv = sum of p dout
 * s and lse are kept times log2(e), because the hardware's exponential is 2^x. */
#ifndef OSV_KERNELS_CUDA_ATTENTION_CUH
#define OSV_KERNELS_CUDA_ATTENTION_CUH

#include <limits.h>

#include "kernels/cuda/gpu.cuh"

enum { STEP = WARP }; /* a lane of the first warp looks up one item of a step */

#define LOG2_E 1.44269504f
#define LN_2   0.693147181f

/* The inputs, as kernels get them. */
typedef struct {
    const float *q, *k, *v;
    osv_worklist work;
    osv_heads heads;
    int window;
    float scale;
    float cap_in; /* s = cap_out tanh(cap_in q.k) where cap_in > 0, else cap_out q.k; with log2(e) */
    float cap_out;
    float per_cap; /* 1 / cap_out, or 0 without a cap */
} attention_inputs;

typedef struct {
    const float *dout, *lse, *delta;
    float *dq, *dk, *dv;
} attention_gradients;

/* attention_plain.cu: fp32, any head size up to OSV_PLAIN_HEAD; attention_mma.cu and attention_mma_dx.cu:
 * head sizes 64, 128, 256, products in bf16. delta has been computed. */
enum { OSV_PLAIN_HEAD = 512 };
void osv_attention_plain(osv_device *d, float *out, float *lse, const attention_inputs &in);
void osv_attention_plain_dx(osv_device *d, const attention_inputs &in, const attention_gradients &g);
void osv_attention_mma(osv_device *d, float *out, float *lse, const attention_inputs &in);
void osv_attention_mma_dx(osv_device *d, const attention_inputs &in, const attention_gradients &g);

/* Blocks of `rows` packed rows that one query tile and kv head may need; those without rows end at once. */
static inline int attention_chunks(const osv_heads &heads, int rows)
{
    int most = heads.group < heads.H ? heads.group : heads.H;
    return (OSV_TILE * most + rows - 1) / rows;
}

/* ---- rows ---- */

/* A row of E numbers, `at` times E from the start of its tensor (-1: there is none), and its position. */
struct item {
    int at, pos;
};

enum { NO_QUERY = -1, NO_KEY = INT_MAX }; /* positions that see nothing and that nothing sees */

static inline __device__ bool visible(int query, int key, int window)
{
    return key <= query && (window <= 0 || query - key < window);
}

/* Packed query rows: item i is row i / heads, head i % heads of those that read one kv head. */
struct query_rows {
    const int *pos;
    int row, first, count, H, head, heads;

    __device__ item at(int i) const
    {
        if (i >= count) return {-1, NO_QUERY};
        int r = row + (first + i) / heads;
        return {r * H + head + (first + i) % heads, pos[r]};
    }
};

static inline __device__ query_rows query_rows_of(const attention_inputs &in, int kv_head, int row, int rows)
{
    const osv_heads &h = in.heads;
    int from = (h.first / h.group + kv_head) * h.group - h.first;
    int begin = max(from, 0), heads = max(min(from + h.group, h.H) - begin, 0);
    return {in.work.pos, row, 0, rows * heads, h.H, begin, heads};
}

/* The keys of a tile, of one kv head. Their gradients count from `live`. */
struct key_rows {
    int slot, pos, count, live, K, head;

    __device__ item at(int i) const
    {
        if (i >= count) return {-1, NO_KEY};
        return {(slot + i) * K + head, pos + i};
    }
};

/* ---- streams: next() is called by a whole warp, each lane gets its item of the next step ---- */

/* The keys that some row of a block sees, in the order of the tile's ranges. */
struct key_stream {
    const osv_kv_range *range, *end;
    int before;    /* keys in ranges that this lane has passed */
    int number;    /* of this lane's next key */
    int low, high; /* the rows' first and last position */
    int window, K, head;

    __device__ item next()
    {
        int i = number, first = window > 0 ? low - window + 1 : 0;
        number += STEP;
        for (; range < end; range++) {
            int skip = max(first - range->pos, 0);
            int count = max(min(range->count, high + 1 - range->pos) - skip, 0);
            if (i - before < count) {
                int key = skip + i - before;
                return {(range->slot + key) * K + head, range->pos + key};
            }
            before += count;
        }
        return {-1, NO_KEY};
    }

    /* True if all rows see this key. */
    __device__ bool whole(const item &key) const
    {
        return key.at >= 0 && key.pos <= low && (window <= 0 || high - key.pos < window);
    }
};

/* The query rows of a list, without the steps in which no row sees a key of the tile. */
struct query_stream {
    query_rows rows;
    int number;    /* of the next step's first row */
    int low, high; /* the keys' first and last position */
    int window;

    __device__ item next()
    {
        while (number < rows.count) {
            item query = rows.at(number + warp_lane());
            number += STEP;
            bool sees = query.pos >= low && (window <= 0 || query.pos - high < window);
            if (__any_sync((unsigned)ALL_LANES, sees)) return query;
        }
        return {-1, NO_QUERY};
    }

    /* True if this row sees all keys. */
    __device__ bool whole(const item &query) const
    {
        return query.pos >= high && (window <= 0 || query.pos - low < window);
    }
};

/* Items in shared memory; lse and delta of queries only. */
template <int N> struct item_table {
    int at[N], pos[N];
    float lse[N], delta[N];
};

/* A step: NONE is the end of the stream; in a WHOLE one everything sees everything. */
enum { NONE, WHOLE, MASKED };
struct step_table : item_table<STEP> {
    int state;
};

enum { RING = 3 }; /* step tables in use: of this step, of the next one, and the one that is being written */

/* What a lane of the first warp knows of a step, until it may be written. */
struct step_ahead {
    item x;
    float lse, delta;
    int state;
};

static inline __device__ void look_up(step_ahead *a, const attention_gradients &g)
{
    a->lse = a->x.at >= 0 ? g.lse[a->x.at] * LOG2_E : 0;
    a->delta = a->x.at >= 0 ? g.delta[a->x.at] : 0;
}

/* The next step; stats: with lse and delta, for queries. By the first warp. */
template <bool stats, typename Stream>
static inline __device__ step_ahead look_ahead(Stream *stream, const attention_gradients *g)
{
    step_ahead a;
    a.x = stream->next();
    a.lse = a.delta = 0;
    if (stats) look_up(&a, *g);
    bool some = __any_sync((unsigned)ALL_LANES, a.x.at >= 0);
    bool whole = __all_sync((unsigned)ALL_LANES, stream->whole(a.x));
    a.state = !some ? NONE : whole ? WHOLE : MASKED;
    return a;
}

template <int N> static inline __device__ void write_item(item_table<N> *t, int i, const step_ahead &a)
{
    t->at[i] = a.x.at;
    t->pos[i] = a.x.pos;
    t->lse[i] = a.lse;
    t->delta[i] = a.delta;
}

static inline __device__ void write_step(step_table *t, const step_ahead &a)
{
    write_item<STEP>(t, warp_lane(), a);
    if (warp_lane() == 0) t->state = a.state;
}

/* The query rows of a block of _dx, of which it has at least N threads. */
template <int N>
static inline __device__ void write_queries(item_table<N> *t, const query_rows &rows,
                                            const attention_gradients &g)
{
    if (threadIdx.x >= N) return;
    step_ahead a;
    a.x = rows.at((int)threadIdx.x);
    look_up(&a, g);
    write_item<N>(t, (int)threadIdx.x, a);
}

/* What stays in a block of _dx, and what streams past it: q and dout against k and v, or the other way round.
 */
struct sides {
    const float *rows_1, *rows_2;
    const float *step_1, *step_2;
};

/* ---- what a block works on ---- */

/* Packed rows of a query tile; the last tiles come first, because they have the most keys to see. */
struct query_block {
    query_rows rows;
    key_stream keys; /* for the lanes of a warp */
};

static inline __device__ query_block query_block_of(const attention_inputs &in, int chunks, int most)
{
    int K = in.heads.K, block = (int)blockIdx.x;
    int chunk = block % chunks, head = block / chunks % K;
    const osv_query_tile &tile = in.work.query_tile[in.work.query_tiles - 1 - block / chunks / K];
    query_block b;
    b.rows = query_rows_of(in, head, tile.row, tile.count);
    b.rows.first = chunk * most;
    b.rows.count = min(b.rows.count - b.rows.first, most);
    if (b.rows.count <= 0) return b;
    const osv_kv_range *range = in.work.kv_range + tile.first;
    b.keys = {range,
              range + tile.ranges,
              0,
              warp_lane(),
              b.rows.at(0).pos,
              b.rows.at(b.rows.count - 1).pos,
              in.window,
              K,
              head};
    return b;
}

/* `most` keys of a kv tile, and the query rows that may see them. */
struct key_block {
    key_rows rows;
    query_stream queries;
};

static inline __device__ key_block key_block_of(const attention_inputs &in, int chunks, int most)
{
    int K = in.heads.K, block = (int)blockIdx.x;
    int first = block % chunks * most, head = block / chunks % K;
    const osv_kv_tile &tile = in.work.kv_tile[block / chunks / K];
    key_block b;
    int count = min(tile.count - first, most), pos = tile.pos + first;
    b.rows = {tile.slot + first, pos, count, in.work.live_slot, K, head};
    b.queries = {query_rows_of(in, head, tile.row, tile.rows), 0, pos, pos + count - 1, in.window};
    return b;
}

/* ---- the maths of a pair ---- */

static inline __device__ float power_of_2(float x)
{
#ifdef OSV_EMU
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* n products q.k become scores. */
template <int n> static inline __device__ void scores_of(float *s, const attention_inputs &in)
{
    if (in.cap_in > 0)
        for (int i = 0; i < n; i++) s[i] = in.cap_out * tanhf(in.cap_in * s[i]);
    else
        for (int i = 0; i < n; i++) s[i] *= in.cap_out;
}

/* The part of a softmax that some row has seen: maximum of its scores, sum of its exponentials above it. */
struct running {
    float max, total;

    /* A score of `most` is met: returns the factor by which sums so far shrink. */
    __device__ float rise(float most)
    {
        float up = fmaxf(max, most), shrink = power_of_2(max - finite(up));
        max = up;
        total *= shrink;
        return shrink;
    }

    /* What to subtract from scores; without any key seen yet not -inf, whose difference would be NaN. */
    static __device__ float finite(float most) { return most == -INFINITY ? 0 : most; }

    __device__ float lse() const { return LN_2 * (max + log2f(total)); }

    __device__ float inverse() const
    {
        return total == 0 ? 0 : 1 / total; /* without keys there is nothing to look at */
    }
};

/* p of a pair and ds, the gradient of scale q.k, from its score and dp = dout.v. */
struct pair_gradient {
    float p, ds;
};

static inline __device__ pair_gradient pair_dx(const attention_inputs &in, float s, float dp, float lse,
                                               float delta)
{
    float p = power_of_2(s - lse), t = s * in.per_cap;
    return {p, p * (dp - delta) * (1 - t * t)};
}

#endif
