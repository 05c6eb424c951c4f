/* Attention on tensor cores, after FlashAttention-2 (Dao 2023): a block keeps packed query rows, a warp 16 or
 * 32 of them with their sums in registers, and the keys and values of the rows' ranges go past in steps
 * of 32. q, k and v are fp32 in memory and become bf16 on their way to shared memory; so does p before it
 * meets v. While scores are computed, v of the step is under way, while p v is, k of the next.
 *
 * Long segments are limited by mma and ldmatrix (32 rows a warp halve what ldmatrix reads; heads of 256 have
 * registers for 16 only), short ones by the bandwidth of q, out, k and v.
 *
 *     E                        64     128     256
 *     threads                 128     128     256
 *     registers               164     249     242   (the larger number of sm_80 and sm_90; no spills)
 *     shared memory, KiB       31      55     103
 *     blocks a processor        3       2       1
 *
 * A block has 128 rows. Warps without rows (short segments, few heads a kv head) only help to load.
 */
#include "kernels/cuda/attention_mma.cuh"

template <int E, int warps, int slices>
static __global__ void __launch_bounds__(warps *WARP)
    forward(attention_inputs in, float *out, float *lse, int chunks)
{
    enum { COLUMNS = STEP / 8 }; /* fragments of a slice's scores */
    enum { THREADS = warps * WARP, MINE = slices * SLICE, ROWS = warps * MINE, LD = tile<E>::LD };
    SHARED_DYNAMIC(bf16, q);
    bf16 *k = q + ROWS * LD, *v = k + STEP * LD;
    SHARED(step_table, step, RING);
    SHARED(int, row_at, ROWS);
    SHARED(int, row_pos, ROWS);
    SHARED(key_stream, streams, WARP); /* of a lane each: registers are for sums */
    key_stream *keys = &streams[warp_lane()];
    query_block b = query_block_of(in, chunks, ROWS);
    if (b.rows.count <= 0) return;
    for (int i = (int)threadIdx.x; i < ROWS; i += THREADS) {
        item x = b.rows.at(i);
        row_at[i] = x.at;
        row_pos[i] = x.pos;
    }
    if (warp_index() == 0) {
        *keys = b.keys;
        write_step(&step[0], look_ahead<false>(keys, NULL));
        write_step(&step[1], look_ahead<false>(keys, NULL));
    }
    __syncthreads();
    staged_rows<E, THREADS, STEP> staged;
    staged.read(in.k, step[0].at);
    load_tile<E, THREADS, ROWS>(q, in.q, row_at, b.rows.count);
    staged.write(k);
    __syncthreads();

    int mine = warp_index() * MINE, g = warp_lane() / 4, t = warp_lane() % 4;
    bool busy = mine < b.rows.count;
    slice_sums<E, slices> sum;
    running state[slices][2];
    weights<STEP> p[slices];
    sum.clear();
#pragma unroll
    for (int i = 0; i < slices; i++) state[i][0] = state[i][1] = {-INFINITY, 0};
    for (ring at = {0}; step[at.now].state != NONE; at.turn()) {
        const step_table *now = &step[at.now];
        staged.read(in.v, now->at);
        step_ahead ahead;
        if (warp_index() == 0) ahead = look_ahead<false>(keys, NULL);
        if (busy) {
            float s[slices][COLUMNS][4];
            rows_by_rows<E, slices, STEP>(s, q + mine * LD, k);
            scores_of<slices * COLUMNS * 4>(&s[0][0][0], in);
            if (now->state == MASKED)
#pragma unroll
                for (int i = 0; i < slices; i++)
#pragma unroll
                    for (int n = 0; n < COLUMNS; n++)
#pragma unroll
                        for (int c = 0; c < 4; c++) {
                            int row = row_pos[mine + i * SLICE + g + c / 2 * 8];
                            if (!visible(row, now->pos[n * 8 + 2 * t + c % 2], in.window))
                                s[i][n][c] = -INFINITY;
                        }
#pragma unroll
            for (int i = 0; i < slices; i++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    running *r = &state[i][half];
                    float most = -INFINITY, total = 0, shrink;
#pragma unroll
                    for (int n = 0; n < COLUMNS; n++)
                        most = fmaxf(most, fmaxf(s[i][n][2 * half], s[i][n][2 * half + 1]));
                    shrink = r->rise(quad_max(most));
                    if (__any_sync((unsigned)ALL_LANES, shrink != 1)) sum.scale_row(i, half, shrink);
                    float base = running::finite(r->max);
#pragma unroll
                    for (int n = 0; n < COLUMNS; n++)
#pragma unroll
                        for (int c = 2 * half; c < 2 * half + 2; c++)
                            total += s[i][n][c] = power_of_2(s[i][n][c] - base);
                    r->total += total; /* of this lane; the quad's are added at the end */
                }
                p[i].pack(s[i]);
            }
        }
        staged.write(v);
        if (warp_index() == 0) write_step(&step[at.far()], ahead);
        __syncthreads(); /* v is there; k is read */
        staged.read(in.k, step[at.next()].at);
        if (busy) sum.add(p, v);
        staged.write(k);
        __syncthreads(); /* k is there; v is read */
    }
#pragma unroll
    for (int i = 0; i < slices; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            running *r = &state[i][half];
            r->total = quad_sum(r->total);
            int row = row_at[mine + i * SLICE + half * 8 + g];
            if (row < 0) continue;
            sum.write_row(out + (size_t)row * E, i, half, r->inverse());
            if (t == 0) lse[row] = r->lse();
        }
}

template <int E, int warps, int slices>
static void launch(osv_device *d, float *out, float *lse, const attention_inputs &in)
{
    enum { ROWS = warps * slices * SLICE };
    int chunks = attention_chunks(in.heads, ROWS);
    LAUNCH(d, in.work.query_tiles * in.heads.K * chunks, warps * WARP, tile<E>::bytes(ROWS + 2 * STEP),
           (forward<E, warps, slices>), in, out, lse, chunks);
}

void osv_attention_mma(osv_device *d, float *out, float *lse, const attention_inputs &in)
{
    switch (in.heads.E) {
    case 64: launch<64, 4, 2>(d, out, lse, in); break;
    case 128: launch<128, 4, 2>(d, out, lse, in); break;
    case 256: launch<256, 8, 1>(d, out, lse, in); break;
    default: break;
    }
}
