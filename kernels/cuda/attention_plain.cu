/* Attention in fp32 without tensor cores, for --dtype f32 and for head sizes that attention_mma.cu has no
 * kernel for: online softmax (Milakov & Gimelshein 2018) over steps of keys (Dao et al. 2022).
 *
 * Limited by reads of shared memory: 256 threads as 16 x 16, each with a 2 x 2 part of a tile of 32 rows and
 * 32 items, 4 numbers of the head at a time. Heads beyond 256 have tiles of 16, whose steps come in two
 * parts.
 *
 *     E up to                          64     128     256     512
 *     registers, forward               64      64      80     101
 *                dq                    64      74      99     108
 *                dk, dv                80     100     128     128   (12 to 84 bytes of spills at 512)
 *     shared memory, forward, KiB      32      56     104     100
 *                    dx                45      77     141     133
 *
 * (the larger number of sm_80 and sm_90)
 */
#include "kernels/cuda/attention.cuh"

enum { SIDE = 16, THREADS = SIDE * SIDE };

/* Numbers between rows in shared memory: whole groups of 4, and 4 more, so that rows start in other banks. */
static inline __host__ __device__ int stride_of(int E)
{
    return (E + 3) / 4 * 4 + 4;
}

/* A thread's place in the square of threads. */
struct place {
    int x, y;
};

static inline __device__ place here()
{
    return {(int)threadIdx.x % SIDE, (int)threadIdx.x / SIDE};
}

/* R rows of E numbers into shared memory, a warp a row; zeros where there is none and up to a whole group
 * of 4. */
template <int R> static inline __device__ void load_rows(float *to, const float *from, const int *at, int E)
{
    int ld = stride_of(E), whole = ld - 4;
    for (int r = warp_index(); r < R; r += THREADS / WARP)
        for (int e = warp_lane(); e < whole; e += WARP)
            to[r * ld + e] = at[r] >= 0 && e < E ? from[(size_t)at[r] * E + e] : 0;
}

/* s[i, j] = row y + 16 i of a . row x + 16 j of b */
template <int M> static inline __device__ void dots(float s[M][M], const float *a, const float *b, int E)
{
    int ld = stride_of(E);
    place t = here();
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++) s[i][j] = 0;
    for (int e = 0; e < E; e += 4) {
        float4 u[M], w[M];
#pragma unroll
        for (int i = 0; i < M; i++) {
            u[i] = load4(a + (t.y + SIDE * i) * ld + e);
            w[i] = load4(b + (t.x + SIDE * i) * ld + e);
        }
#pragma unroll
        for (int i = 0; i < M; i++)
#pragma unroll
            for (int j = 0; j < M; j++)
                s[i][j] += u[i].x * w[j].x + u[i].y * w[j].y + u[i].z * w[j].z + u[i].w * w[j].w;
    }
}

/* A thread's part of R rows of sums: rows y + 16 i, columns 4 (x + 16 n) .. + 3. */
template <int M, int N> struct sums {
    float4 x[M][N];

    __device__ void clear()
    {
        for (int i = 0; i < M; i++)
            for (int n = 0; n < N; n++) x[i][n] = make_float4(0, 0, 0, 0);
    }

    __device__ void scale_row(int i, float factor)
    {
        for (int n = 0; n < N; n++)
            x[i][n] =
                make_float4(factor * x[i][n].x, factor * x[i][n].y, factor * x[i][n].z, factor * x[i][n].w);
    }

    /* += p b: p [R, R], rows R + 4 numbers apart, b [R, E] */
    __device__ void add(const float *p, const float *b, int E)
    {
        enum { R = M * SIDE };
        int ld = stride_of(E);
        place t = here();
        for (int k = 0; k < R; k++) {
            float factor[M];
#pragma unroll
            for (int i = 0; i < M; i++) factor[i] = p[(t.y + SIDE * i) * (R + 4) + k];
#pragma unroll
            for (int n = 0; n < N; n++) {
                int e = 4 * (t.x + SIDE * n);
                if (e >= E) continue;
                float4 w = load4(b + k * ld + e);
#pragma unroll
                for (int i = 0; i < M; i++) {
                    x[i][n].x += factor[i] * w.x;
                    x[i][n].y += factor[i] * w.y;
                    x[i][n].z += factor[i] * w.z;
                    x[i][n].w += factor[i] * w.w;
                }
            }
        }
    }

    /* Row i to E numbers at `to`. */
    __device__ void write_row(float *to, int i, int E, float factor) const
    {
        for (int n = 0; n < N; n++) {
            int e = 4 * (here().x + SIDE * n);
            float part[4] = {x[i][n].x, x[i][n].y, x[i][n].z, x[i][n].w};
            for (int m = 0; m < 4 && e + m < E; m++) to[e + m] = factor * part[m];
        }
    }
};

/* Over the 16 threads of a row of the square. */
static inline __device__ float row_max(float x)
{
    for (int step = SIDE / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync((unsigned)ALL_LANES, x, step));
    return x;
}

static inline __device__ float row_sum(float x)
{
    for (int step = SIDE / 2; step > 0; step /= 2) x += __shfl_xor_sync((unsigned)ALL_LANES, x, step);
    return x;
}

/* ---- forward ---- */

template <int M, int N>
static __global__ void __launch_bounds__(THREADS)
    forward(attention_inputs in, float *out, float *lse, int chunks)
{
    enum { R = M * SIDE };
    int E = in.heads.E, ld = stride_of(E);
    SHARED_DYNAMIC(float, q);
    float *k = q + R * ld, *v = k + R * ld, *p = v + R * ld;
    SHARED(step_table, step, 1);
    SHARED(item_table<R>, row, 1);
    query_block b = query_block_of(in, chunks, R);
    if (b.rows.count <= 0) return;
    if (threadIdx.x < R) {
        item x = b.rows.at((int)threadIdx.x);
        row->at[threadIdx.x] = x.at;
        row->pos[threadIdx.x] = x.pos;
    }
    if (warp_index() == 0) write_step(step, look_ahead<false>(&b.keys, NULL));
    __syncthreads();
    load_rows<R>(q, in.q, row->at, E);

    place t = here();
    sums<M, N> sum;
    running state[M];
    sum.clear();
    for (int i = 0; i < M; i++) state[i] = {-INFINITY, 0};
    while (step->state != NONE) {
        for (int part = 0; part < STEP; part += R) {
            load_rows<R>(k, in.k, step->at + part, E);
            load_rows<R>(v, in.v, step->at + part, E);
            __syncthreads();
            float s[M][M];
            dots<M>(s, q, k, E);
            scores_of<M * M>(&s[0][0], in);
#pragma unroll
            for (int i = 0; i < M; i++) {
                float most = -INFINITY, total = 0;
#pragma unroll
                for (int j = 0; j < M; j++) {
                    bool sees =
                        visible(row->pos[t.y + SIDE * i], step->pos[part + t.x + SIDE * j], in.window);
                    if (!sees) s[i][j] = -INFINITY;
                    most = fmaxf(most, s[i][j]);
                }
                sum.scale_row(i, state[i].rise(row_max(most)));
#pragma unroll
                for (int j = 0; j < M; j++) {
                    float x = power_of_2(s[i][j] - running::finite(state[i].max));
                    p[(t.y + SIDE * i) * (R + 4) + t.x + SIDE * j] = x;
                    total += x;
                }
                state[i].total += row_sum(total);
            }
            __syncthreads();
            sum.add(p, v, E);
            __syncthreads();
        }
        if (warp_index() == 0) write_step(step, look_ahead<false>(&b.keys, NULL));
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < M; i++) {
        int at = row->at[t.y + SIDE * i];
        if (at < 0) continue;
        sum.write_row(out + (size_t)at * E, i, E, state[i].inverse());
        if (t.x == 0) lse[at] = state[i].lse();
    }
}

/* ---- backward: the same walk for both sides ---- */

/* sum_1 = sum of ds step_1 (dq, or dk), and where the rows are keys sum_2 = sum of p step_2 (dv). `row` has
 * been written, without a barrier. */
template <int M, int N, bool keys, typename Stream>
static inline __device__ void walk(sums<M, N> *sum_1, sums<M, N> *sum_2, const attention_inputs &in,
                                   const attention_gradients &g, const sides &from,
                                   const item_table<M * SIDE> *row, Stream *stream)
{
    enum { R = M * SIDE };
    int E = in.heads.E, ld = stride_of(E);
    SHARED_DYNAMIC(float, rows_1);
    float *rows_2 = rows_1 + R * ld, *step_1 = rows_2 + R * ld, *step_2 = step_1 + R * ld;
    float *p = step_2 + R * ld, *ds = p + R * (R + 4);
    SHARED(step_table, step, 1);
    if (warp_index() == 0) write_step(step, look_ahead<keys>(stream, &g));
    __syncthreads();
    load_rows<R>(rows_1, from.rows_1, row->at, E);
    load_rows<R>(rows_2, from.rows_2, row->at, E);
    sum_1->clear();
    sum_2->clear();

    place t = here();
    while (step->state != NONE) {
        for (int part = 0; part < STEP; part += R) {
            load_rows<R>(step_1, from.step_1, step->at + part, E);
            load_rows<R>(step_2, from.step_2, step->at + part, E);
            __syncthreads();
            float s[M][M], dp[M][M];
            dots<M>(s, rows_1, step_1, E);
            dots<M>(dp, rows_2, step_2, E);
            scores_of<M * M>(&s[0][0], in);
#pragma unroll
            for (int i = 0; i < M; i++)
#pragma unroll
                for (int j = 0; j < M; j++) {
                    int r = t.y + SIDE * i, c = t.x + SIDE * j, at = r * (R + 4) + c;
                    int query = keys ? step->pos[part + c] : row->pos[r];
                    int key = keys ? row->pos[r] : step->pos[part + c];
                    pair_gradient x = {0, 0};
                    if (visible(query, key, in.window))
                        x = pair_dx(in, s[i][j], dp[i][j], keys ? step->lse[part + c] : row->lse[r],
                                    keys ? step->delta[part + c] : row->delta[r]);
                    ds[at] = x.ds;
                    if (keys) p[at] = x.p;
                }
            __syncthreads();
            sum_1->add(ds, step_1, E);
            if (keys) sum_2->add(p, step_2, E);
            __syncthreads();
        }
        if (warp_index() == 0) write_step(step, look_ahead<keys>(stream, &g));
        __syncthreads();
    }
}

template <int M, int N>
static __global__ void __launch_bounds__(THREADS)
    queries_dx(attention_inputs in, attention_gradients g, int chunks)
{
    enum { R = M * SIDE };
    SHARED(item_table<R>, row, 1);
    query_block b = query_block_of(in, chunks, R);
    if (b.rows.count <= 0) return;
    write_queries<R>(row, b.rows, g);
    sums<M, N> dq, none;
    walk<M, N, false>(&dq, &none, in, g, {in.q, g.dout, in.k, in.v}, row, &b.keys);
#pragma unroll
    for (int i = 0; i < M; i++) {
        int at = row->at[here().y + SIDE * i], E = in.heads.E;
        if (at >= 0) dq.write_row(g.dq + (size_t)at * E, i, E, in.scale);
    }
}

template <int M, int N>
static __global__ void __launch_bounds__(THREADS)
    keys_dx(attention_inputs in, attention_gradients g, int chunks)
{
    enum { R = M * SIDE };
    SHARED(item_table<R>, row, 1);
    key_block b = key_block_of(in, chunks, R);
    if (b.rows.count <= 0) return;
    if (threadIdx.x < R) {
        item x = b.rows.at((int)threadIdx.x);
        row->at[threadIdx.x] = x.at;
        row->pos[threadIdx.x] = x.pos;
    }
    sums<M, N> dk, dv;
    walk<M, N, true>(&dk, &dv, in, g, {in.k, in.v, in.q, g.dout}, row, &b.queries);
#pragma unroll
    for (int i = 0; i < M; i++) {
        int at = row->at[here().y + SIDE * i] - b.rows.live * b.rows.K, E = in.heads.E;
        if (row->at[here().y + SIDE * i] < 0) continue;
        dk.write_row(g.dk + (size_t)at * E, i, E, in.scale);
        dv.write_row(g.dv + (size_t)at * E, i, E, 1);
    }
}

/* ---- launches ---- */

/* Of `rows` rows of E numbers each and `squares` of R x R. */
static size_t shared_bytes(int rows, int squares, int R, int E)
{
    return ((size_t)rows * stride_of(E) + (size_t)squares * R * (R + 4)) * sizeof(float);
}

template <int M, int N>
static void launch_forward(osv_device *d, float *out, float *lse, const attention_inputs &in)
{
    enum { R = M * SIDE };
    int chunks = attention_chunks(in.heads, R);
    LAUNCH(d, in.work.query_tiles * in.heads.K * chunks, THREADS, shared_bytes(3 * R, 1, R, in.heads.E),
           (forward<M, N>), in, out, lse, chunks);
}

template <int M, int N>
static void launch_dx(osv_device *d, const attention_inputs &in, const attention_gradients &g)
{
    enum { R = M * SIDE };
    int K = in.heads.K, chunks = attention_chunks(in.heads, R), parts = OSV_TILE / R;
    size_t bytes = shared_bytes(4 * R, 2, R, in.heads.E);
    LAUNCH(d, in.work.query_tiles * K * chunks, THREADS, bytes, (queries_dx<M, N>), in, g, chunks);
    LAUNCH(d, in.work.kv_tiles * K * parts, THREADS, bytes, (keys_dx<M, N>), in, g, parts);
}

void osv_attention_plain(osv_device *d, float *out, float *lse, const attention_inputs &in)
{
    if (in.heads.E <= 64)
        launch_forward<2, 1>(d, out, lse, in);
    else if (in.heads.E <= 128)
        launch_forward<2, 2>(d, out, lse, in);
    else if (in.heads.E <= 256)
        launch_forward<2, 4>(d, out, lse, in);
    else
        launch_forward<1, 8>(d, out, lse, in);
}

void osv_attention_plain_dx(osv_device *d, const attention_inputs &in, const attention_gradients &g)
{
    if (in.heads.E <= 64)
        launch_dx<2, 1>(d, in, g);
    else if (in.heads.E <= 128)
        launch_dx<2, 2>(d, in, g);
    else if (in.heads.E <= 256)
        launch_dx<2, 4>(d, in, g);
    else
        launch_dx<1, 8>(d, in, g);
}
