/* Gradients of attention on tensor cores, after FlashAttention-2 (Dao 2023), without atomics: one pass over
 * query tiles for dq, one over tiles of keys for dk and dv, each with scores of its own. Both are one walk:
 * rows that stay (a warp has 16, with their sums in registers), steps of 32 items of the other side that go
 * past, and weights that go from the sums' layout straight into the next product. Inputs, p and ds are bf16
 * in products, sums are fp32.
 *
 * Long segments are limited by ldmatrix (three or four times the step for 16 rows), short ones by bandwidth.
 * With heads of 256 dk and dv do not fit into a warp's registers together: a pass each, 5 products for 4.
 *
 *     E                        64     128     256
 *     dq: threads             256     256     128
 *         registers           123     162     246   (the larger number of sm_80 and sm_90; no spills)
 *         shared memory, KiB   50      90      88
 *         blocks a processor    2       1       2
 *     dk, dv: threads         128     128     128
 *         registers           162     248     248
 *         shared memory, KiB   31      55      87
 *         blocks a processor    3       2       2
 *
 * (blocks: sm_90; sm_80 has room for one at 256)
 */
#include "kernels/cuda/attention_mma.cuh"

/* What is summed: ds step_1 (dq, or dk), p step_2 (dv), or both. */
enum { FIRST = 1, SECOND = 2 };

/* Items of a step that are worked on at once: with heads of 256 the sums leave registers for half of it. */
template <int E> struct step_part {
    enum { ITEMS = E <= 128 ? STEP : STEP / 2 };
};

/* For `count` rows, as `row` names them (written, without a barrier). keys: the rows are keys, the stream
 * queries; else the other way round. */
template <int E, int warps, bool keys, int what, typename Stream>
static inline __device__ void walk(slice_sums<E, 1> *first, slice_sums<E, 1> *second,
                                   const attention_inputs &in, const attention_gradients &gradients,
                                   const sides &from, const item_table<warps * SLICE> *row, int count,
                                   const Stream &items)
{
    enum { THREADS = warps * WARP, ROWS = warps * SLICE, ITEMS = step_part<E>::ITEMS, LD = tile<E>::LD };
    SHARED_DYNAMIC(bf16, rows_1);
    bf16 *rows_2 = rows_1 + ROWS * LD, *step_1 = rows_2 + ROWS * LD, *step_2 = step_1 + ITEMS * LD;
    SHARED(step_table, step, RING);
    SHARED(Stream, streams, WARP); /* of a lane each: registers are for sums */
    Stream *stream = &streams[warp_lane()];
    if (warp_index() == 0) {
        *stream = items;
        write_step(&step[0], look_ahead<keys>(stream, &gradients));
        write_step(&step[1], look_ahead<keys>(stream, &gradients));
    }
    __syncthreads();
    staged_rows<E, THREADS, ITEMS> staged;
    staged.read(from.step_1, step[0].at);
    load_tile<E, THREADS, ROWS>(rows_1, from.rows_1, row->at, count);
    if (what & FIRST) load_tile<E, THREADS, ROWS>(rows_2, from.rows_2, row->at, count);
    staged.write(step_1);
    __syncthreads();

    int mine = warp_index() * SLICE, g = warp_lane() / 4, t = warp_lane() % 4;
    bool busy = mine < count;
    if (what & FIRST) first->clear();
    if (what & SECOND) second->clear();
    for (ring at = {0}; step[at.now].state != NONE; at.turn())
        for (int part = 0; part < STEP; part += ITEMS) {
            const step_table *now = &step[at.now];
            const int *next = part + ITEMS < STEP ? now->at + part + ITEMS : step[at.next()].at;
            bool looks = part == 0 && warp_index() == 0;
            float s[1][ITEMS / 8][4], dp[1][ITEMS / 8][4];
            staged.read(from.step_2, now->at + part);
            step_ahead ahead;
            if (looks) ahead = look_ahead<keys>(stream, &gradients);
            if (busy) {
                rows_by_rows<E, 1, ITEMS>(s, rows_1 + mine * LD, step_1);
                scores_of<ITEMS / 2>(&s[0][0][0], in);
            }
            staged.write(step_2);
            if (looks) write_step(&step[at.far()], ahead);
            __syncthreads(); /* step_2 is there */
            staged.read(from.step_1, next);
            if (busy) {
                if (what & FIRST) rows_by_rows<E, 1, ITEMS>(dp, rows_2 + mine * LD, step_2);
#pragma unroll
                for (int n = 0; n < ITEMS / 8; n++)
#pragma unroll
                    for (int c = 0; c < 4; c++) {
                        int r = mine + c / 2 * 8 + g, column = part + n * 8 + 2 * t + c % 2;
                        pair_gradient x = pair_dx(in, s[0][n][c], what & FIRST ? dp[0][n][c] : 0,
                                                  keys ? now->lse[column] : row->lse[r],
                                                  keys ? now->delta[column] : row->delta[r]);
                        s[0][n][c] = x.p;
                        dp[0][n][c] = x.ds;
                    }
                if (now->state == MASKED)
#pragma unroll
                    for (int n = 0; n < ITEMS / 8; n++)
#pragma unroll
                        for (int c = 0; c < 4; c++) {
                            int r = mine + c / 2 * 8 + g, column = part + n * 8 + 2 * t + c % 2;
                            int query = keys ? now->pos[column] : row->pos[r];
                            int key = keys ? row->pos[r] : now->pos[column];
                            if (!visible(query, key, in.window)) s[0][n][c] = dp[0][n][c] = 0;
                        }
                weights<ITEMS> w;
                if (what & SECOND) {
                    w.pack(s[0]);
                    second->add(&w, step_2);
                }
                if (what & FIRST) {
                    w.pack(dp[0]);
                    first->add(&w, step_1);
                }
            }
            __syncthreads(); /* both are read */
            staged.write(step_1);
            __syncthreads();
        }
}

template <int E, int warps>
static __global__ void __launch_bounds__(warps *WARP)
    queries_dx(attention_inputs in, attention_gradients g, int chunks)
{
    enum { ROWS = warps * SLICE };
    SHARED(item_table<ROWS>, row, 1);
    query_block b = query_block_of(in, chunks, ROWS);
    if (b.rows.count <= 0) return;
    write_queries<ROWS>(row, b.rows, g);
    slice_sums<E, 1> dq;
    walk<E, warps, false, FIRST>(&dq, (slice_sums<E, 1> *)NULL, in, g, {in.q, g.dout, in.k, in.v}, row,
                                 b.rows.count, b.keys);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int at = row->at[warp_index() * SLICE + half * 8 + warp_lane() / 4];
        if (at >= 0) dq.write_row(g.dq + (size_t)at * E, 0, half, in.scale);
    }
}

/* dk, dv or both */
template <int E, int what>
static __global__ void __launch_bounds__(OSV_TILE / SLICE * WARP)
    keys_dx(attention_inputs in, attention_gradients g)
{
    enum { WARPS = OSV_TILE / SLICE };
    SHARED(item_table<OSV_TILE>, row, 1);
    key_block b = key_block_of(in, 1, OSV_TILE);
    if (threadIdx.x < OSV_TILE) {
        item x = b.rows.at((int)threadIdx.x);
        row->at[threadIdx.x] = x.at;
        row->pos[threadIdx.x] = x.pos;
    }
    slice_sums<E, 1> dk, dv;
    walk<E, WARPS, true, what>(&dk, &dv, in, g, {in.k, in.v, in.q, g.dout}, row, b.rows.count, b.queries);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int at = row->at[warp_index() * SLICE + half * 8 + warp_lane() / 4];
        if (at < 0) continue;
        at -= b.rows.live * b.rows.K;
        if (what & FIRST) dk.write_row(g.dk + (size_t)at * E, 0, half, in.scale);
        if (what & SECOND) dv.write_row(g.dv + (size_t)at * E, 0, half, 1);
    }
}

template <int E, int warps>
static void launch_queries(osv_device *d, const attention_inputs &in, const attention_gradients &g)
{
    enum { ROWS = warps * SLICE };
    int chunks = attention_chunks(in.heads, ROWS);
    LAUNCH(d, in.work.query_tiles * in.heads.K * chunks, warps * WARP,
           tile<E>::bytes(2 * (ROWS + step_part<E>::ITEMS)), (queries_dx<E, warps>), in, g, chunks);
}

template <int E, int what>
static void launch_keys(osv_device *d, const attention_inputs &in, const attention_gradients &g)
{
    LAUNCH(d, in.work.kv_tiles * in.heads.K, OSV_TILE / SLICE * WARP,
           tile<E>::bytes(2 * (OSV_TILE + step_part<E>::ITEMS)), (keys_dx<E, what>), in, g);
}

void osv_attention_mma_dx(osv_device *d, const attention_inputs &in, const attention_gradients &g)
{
    switch (in.heads.E) {
    case 64:
        launch_queries<64, 8>(d, in, g);
        launch_keys<64, FIRST | SECOND>(d, in, g);
        break;
    case 128:
        launch_queries<128, 8>(d, in, g);
        launch_keys<128, FIRST | SECOND>(d, in, g);
        break;
    case 256:
        launch_queries<256, 4>(d, in, g);
        launch_keys<256, FIRST>(d, in, g);
        launch_keys<256, SECOND>(d, in, g);
        break;
    default: break;
    }
}
