/* Limited by bandwidth where rows are many: score_max and score_sum read z, score_dx and softcap read and
 * write it, a chunk of a row a block (chunk.cuh). A training step has few rows; then it is the latency of the
 * two launches. What the scores of a row need beside its columns is done in double, a block a row.
 *
 * For one score: c is the row's coldness, t its target, e_j = exp(c (z_j - max)), and from the reduced sums
 *     rest = sum of e_j over j != t,   a = c (z_t - max),   total = rest + exp(a)
 *     P = exp(a) / total,   Q = 1 - P = rest / total
 * Nothing is ever subtracted from a sum, so P and Q keep their digits however small they are: the columns
 * that are a target of the row stay out of what its chunks add up, and each score adds the others of them. */
#include "kernels/cuda/chunk.cuh"

enum { SOFTCAP_THREADS = 256, ROW_WARPS = 4 };

/* ---- softcap ---- */

static inline __device__ float capped(float z, float cap, float inverse)
{
    return cap * tanhf(z * inverse);
}

/* The slope of cap tanh(x / cap), 1 - tanh^2, where it is z. */
static inline __device__ float cap_slope(float z, float cap)
{
    return (cap - z) * (cap + z) / (cap * cap);
}

/* z [n], of which the first 4 `fours` are read in fours. */
static __global__ void softcap(float *z, float cap, float inverse, size_t fours, size_t n)
{
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x, step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = at; i < fours; i += step) {
        float4 a = load4(z + 4 * i);
        store4(z + 4 * i, make_float4(capped(a.x, cap, inverse), capped(a.y, cap, inverse),
                                      capped(a.z, cap, inverse), capped(a.w, cap, inverse)));
    }
    for (size_t i = 4 * fours + at; i < n; i += step) z[i] = capped(z[i], cap, inverse);
}

extern "C" void osv_cuda_softcap(osv_ops *o, float *z, double cap, size_t n)
{
    if (osv_ops_status(o)) return;
    size_t fours = osv_cuda_by_four(z, 0) ? n / 4 : 0;
    LAUNCH(osv_cuda_device(o), osv_cuda_grid(o, fours ? fours : n, SOFTCAP_THREADS), SOFTCAP_THREADS, 0,
           softcap, z, (float)cap, (float)(1 / cap), fours, n);
}

/* ---- maximum ---- */

/* most [R, chunks] */
template <bool by_four> static __global__ void max_of_chunks(float *most, const float *z, int V, int chunks)
{
    chunk own = own_chunk(V, chunks);
    float x[CHUNK_EACH], max = -INFINITY;
    chunk_load<by_four>(x, z + (size_t)own.row * V + own.begin, own.n, -INFINITY);
#pragma unroll
    for (int i = 0; i < CHUNK_EACH; i++) max = fmaxf(max, x[i]);
    max = block_max(max);
    if (threadIdx.x == 0) most[blockIdx.x] = max;
}

/* A warp a row. */
static __global__ void max_of_rows(float *max, const float *most, int R, int chunks)
{
    int r = (int)blockIdx.x * ROW_WARPS + warp_index();
    if (r >= R) return; /* the whole warp */
    float x = -INFINITY;
    for (int i = warp_lane(); i < chunks; i += WARP) x = fmaxf(x, most[(size_t)r * chunks + i]);
    x = warp_max(x);
    if (warp_lane() == 0) max[r] = x;
}

extern "C" void osv_cuda_score_max(osv_ops *o, float *max, const float *z, int R, int V)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int chunks = chunks_of(V), most_rows = rows_at_once(o, R, (size_t)chunks * sizeof(float));
    bool by_four = osv_cuda_by_four(z, V);
    for (int row = 0, rows; row < R; row += rows) {
        rows = R - row < most_rows ? R - row : most_rows;
        float *most = chunks > 1 ? (float *)((const osv_cuda *)o->state)->scratch : max + row;
        const float *from = z + (size_t)row * V;
        if (by_four)
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, max_of_chunks<true>, most, from, V, chunks);
        else
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, max_of_chunks<false>, most, from, V, chunks);
        if (chunks > 1)
            LAUNCH(d, (rows - 1) / ROW_WARPS + 1, ROW_WARPS * WARP, 0, max_of_rows, max + row, most, rows,
                   chunks);
    }
}

/* ---- the scores of a row ---- */

/* The scores of `rows` rows from `row` on. */
static osv_scores some_scores(const osv_scores *scores, int row, int rows)
{
    osv_scores some = *scores;
    some.R = rows;
    some.first += row;
    some.coldness += row;
    some.eps += row;
    return some;
}

/* Column of the target of score s in this slice. */
static inline __device__ int target_of(const osv_scores &scores, int s)
{
    return scores.target[s] - scores.first_id;
}

/* True for the first of its row's scores, the first of which is `first`, that have the target of s. */
static inline __device__ bool starts_target(const osv_scores &scores, int s, int first)
{
    return s == first || scores.target[s - 1] != scores.target[s];
}

/* The first of the scores [low, high) of one row whose target is not before `column`. */
static __device__ int find_score(const osv_scores &scores, int low, int high, int column)
{
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (target_of(scores, middle) < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct {
    double target, others;
} slope;

/* For a warp: f(x(s), target of s) in all lanes for the scores s in [first, last), in order; each x(s) is
 * made by one lane. */
template <typename X, typename F>
static inline __device__ void each_score(const osv_scores &scores, int first, int last, X x, F f)
{
    for (int at = first; at < last; at += WARP) {
        int s = at + warp_lane(), target = s < last ? scores.target[s] : 0, n = min((int)WARP, last - at);
        slope own = {0, 0};
        if (s < last) own = x(s);
        for (int i = 0; i < n; i++) {
            slope one = {__shfl_sync((unsigned)ALL_LANES, own.target, i),
                         __shfl_sync((unsigned)ALL_LANES, own.others, i)};
            f(one, __shfl_sync((unsigned)ALL_LANES, target, i));
        }
    }
}

/* ---- sums ---- */

/* skip[j] becomes 1 where a score of [from, to) has its target at column j of the chunk, else 0. */
static __device__ void mark_targets(unsigned char *skip, const osv_scores &scores, int from, int to,
                                    int begin)
{
    for (int j = (int)threadIdx.x; j < CHUNK; j += (int)blockDim.x) skip[j] = 0;
    __syncthreads();
    for (int s = from + (int)threadIdx.x; s < to; s += (int)blockDim.x)
        if (starts_target(scores, s, from)) skip[target_of(scores, s) - begin] = 1;
    __syncthreads();
}

/* part [R, chunks]: sums of the exponentials of columns that are nobody's target */
template <bool by_four>
static __global__ void sum_of_chunks(float *part, const float *z, const float *max, osv_scores scores, int V,
                                     int chunks)
{
    SHARED(unsigned char, skip, CHUNK);
    chunk own = own_chunk(V, chunks);
    float x[CHUNK_EACH], c = scores.coldness[own.row], most = max[own.row], sum = 0;
    chunk_load<by_four>(x, z + (size_t)own.row * V + own.begin, own.n, 0);
    int first = scores.first[own.row], last = scores.first[own.row + 1];
    if (first == last) return; /* the whole block */
    int from = find_score(scores, first, last, own.begin);
    int to = find_score(scores, from, last, own.begin + own.n);
    if (from < to) mark_targets(skip, scores, from, to, own.begin);
#pragma unroll
    for (int i = 0; i < CHUNK_EACH; i++) {
        int j = chunk_column<by_four>(i);
        if (j < own.n && !(from < to && skip[j])) sum += expf(c * (x[i] - most));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

/* A block a row, a lane a score. */
static __global__ void sum_of_rows(float *sum, const float *part, const float *z, const float *max,
                                   osv_scores scores, int V, int chunks)
{
    int r = (int)blockIdx.x, first = scores.first[r], last = scores.first[r + 1];
    double c = scores.coldness[r], most = max[r];
    z += (size_t)r * V;
    auto here = [&](int s) { return target_of(scores, s) >= 0 && target_of(scores, s) < V; };
    auto exponent = [&](int s) { return here(s) ? c * ((double)z[target_of(scores, s)] - most) : 0; };
    for (int at = first + warp_index() * WARP; at < last; at += ROW_WARPS * WARP) {
        int s = at + warp_lane(), own = s < last ? scores.target[s] : 0;
        double rest = 0;
        for (int i = warp_lane(); i < chunks; i += WARP) rest += part[(size_t)r * chunks + i];
        rest = warp_sum(rest);
        each_score(
            scores, first, last,
            [&](int i) -> slope {
                return {0, here(i) && starts_target(scores, i, first) ? exp(exponent(i)) : 0};
            },
            [&](slope e, int target) {
                if (target != own) rest += e.others;
            });
        if (s < last) {
            sum[2 * (size_t)s] = (float)rest;
            sum[2 * (size_t)s + 1] = (float)exponent(s);
        }
    }
}

extern "C" void osv_cuda_score_sum(osv_ops *o, float *sum, const float *z, const float *max,
                                   const osv_scores *scores, int V)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int R = scores->R, chunks = chunks_of(V), most_rows = rows_at_once(o, R, (size_t)chunks * sizeof(float));
    bool by_four = osv_cuda_by_four(z, V);
    float *part = (float *)((const osv_cuda *)o->state)->scratch;
    for (int row = 0, rows; row < R; row += rows) {
        rows = R - row < most_rows ? R - row : most_rows;
        osv_scores some = some_scores(scores, row, rows);
        const float *from = z + (size_t)row * V;
        if (by_four)
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, sum_of_chunks<true>, part, from, max + row, some, V,
                   chunks);
        else
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, sum_of_chunks<false>, part, from, max + row, some,
                   V, chunks);
        LAUNCH(d, rows, ROW_WARPS * WARP, 0, sum_of_rows, sum, part, from, max + row, some, V, chunks);
    }
}

/* ---- loss ---- */

typedef struct {
    double total, P, Q;
    double a;
} probability;

static inline __device__ probability from_sums(const float *sum)
{
    double rest = sum[0], a = sum[1], e = exp(a), total = rest + e;
    return {total, e / total, rest / total, a};
}

/* ln(P + eps): near 1 by the complement, and with eps = 0 without exp(a), which underflows long before ln P
 * is anything unusual. */
static inline __device__ double log_target(const probability &p, double eps)
{
    if (p.P > 0.5) return log1p(eps - p.Q);
    return eps > 0 ? log(p.P + eps) : p.a - log(p.total);
}

/* ln(1 - P + eps) */
static inline __device__ double log_rest(const probability &p, double eps)
{
    return p.Q > 0.5 ? log1p(eps - p.P) : log(p.Q + eps);
}

/* A warp a row. */
static __global__ void losses(float *loss, const float *sum, osv_scores scores)
{
    int r = (int)blockIdx.x * ROW_WARPS + warp_index();
    if (r >= scores.R) return; /* the whole warp */
    double eps = scores.eps[r];
    for (int s = scores.first[r] + warp_lane(); s < scores.first[r + 1]; s += WARP) {
        probability p = from_sums(sum + 2 * (size_t)s);
        double value = NAN;
        switch ((osv_score_kind)scores.kind[s]) {
        case OSV_PROMOTE: value = -log_target(p, eps); break;
        case OSV_NEGATED: value = log_target(p, eps); break;
        case OSV_ONE_MINUS: value = -log_rest(p, eps); break;
        }
        loss[s] = (float)value;
    }
}

extern "C" void osv_cuda_score(osv_ops *o, float *loss, const float *sum, const osv_scores *scores)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), (scores->R + ROW_WARPS - 1) / ROW_WARPS, ROW_WARPS * WARP, 0, losses, loss,
           sum, *scores);
}

/* ---- gradient ---- */

/* x / (x + eps); 1, its limit, where x has underflowed and eps = 0. */
static inline __device__ double damp(double x, double eps)
{
    return eps > 0 ? x / (x + eps) : 1;
}

/* The gradient of one loss, times w, is `target` at its target and `others` e_j at any other column j. With
 * p_j = e_j / total, dP/dz_t = c P Q and dP/dz_j = -c P p_j:
 *     promote    target = -c P / (P + eps) Q,   others = c P / (P + eps) / total;   negated: minus both
 *     one minus  target = c P Q / (Q + eps),    others = -c P / (Q + eps) / total */
static __device__ slope slope_of(const float *sum, const float *w, const osv_scores &scores, int r, int s)
{
    probability p = from_sums(sum + 2 * (size_t)s);
    double c = scores.coldness[r], eps = scores.eps[r], factor = c * w[s];
    double promote = factor * damp(p.P, eps);
    switch ((osv_score_kind)scores.kind[s]) {
    case OSV_PROMOTE: return {-promote * p.Q, promote / p.total};
    case OSV_NEGATED: return {promote * p.Q, -promote / p.total};
    case OSV_ONE_MINUS: break;
    }
    bool alone = p.Q + eps == 0; /* every other e_j is 0, and with it the gradient there */
    return {factor * p.P * damp(p.Q, eps), alone ? 0 : -factor * p.P / (p.Q + eps) / p.total};
}

/* Of the columns that are nobody's target: dz = others e_j = sign exp(c (z_j - max) + log). Written so, a
 * factor that 1 / Q makes larger than any float does no harm. */
typedef struct {
    float log, sign;
} factor;

/* What all scores of a row do together, and dz at the columns that are targets: the scores of that target
 * have their slope at it, all other scores of the row theirs beside it. No difference of sums: one score may
 * outweigh the others by any factor. A block a row, a lane a score. */
static __global__ void dx_of_rows(factor *out, float *z, const float *max, const float *sum, const float *w,
                                  osv_scores scores, int V)
{
    int r = (int)blockIdx.x, first = scores.first[r], last = scores.first[r + 1];
    double c = scores.coldness[r], most = max[r];
    float cap = (float)scores.softcap;
    z += (size_t)r * V;
    for (int at = first + warp_index() * WARP; at < last; at += ROW_WARPS * WARP) {
        int s = at + warp_lane(), own = s < last ? scores.target[s] : 0;
        double here = 0, beside = 0, all = 0;
        each_score(
            scores, first, last, [&](int i) { return slope_of(sum, w, scores, r, i); },
            [&](slope one, int target) {
                all += one.others;
                if (target == own)
                    here += one.target;
                else
                    beside += one.others;
            });
        if (s == first) out[r] = {(float)log(fabs(all)), all < 0 ? -1.0f : 1.0f};
        int column = own - scores.first_id;
        if (s >= last || column < 0 || column >= V || !starts_target(scores, s, first)) continue;
        float x = z[column], dz = (float)(here + exp(c * ((double)x - most)) * beside);
        z[column] = cap > 0 ? dz * cap_slope(x, cap) : dz;
    }
}

/* The other columns; at targets z is dz already. */
template <bool by_four>
static __global__ void __launch_bounds__(CHUNK_THREADS, by_four ? 4 : 3)
    dx_of_chunks(float *z, const float *max, const factor *others, osv_scores scores, int V, int chunks)
{
    SHARED(unsigned char, skip, CHUNK);
    chunk own = own_chunk(V, chunks);
    float x[CHUNK_EACH], c = scores.coldness[own.row], most = max[own.row], cap = (float)scores.softcap;
    z += (size_t)own.row * V + own.begin;
    chunk_load<by_four>(x, z, own.n, 0);
    int first = scores.first[own.row], last = scores.first[own.row + 1];
    if (first == last) {
#pragma unroll
        for (int i = 0; i < CHUNK_EACH; i++) x[i] = 0;
        chunk_store<by_four>(z, x, own.n);
        return; /* the whole block */
    }
    factor f = others[own.row];
    int from = find_score(scores, first, last, own.begin);
    int to = find_score(scores, from, last, own.begin + own.n);
    if (from < to) mark_targets(skip, scores, from, to, own.begin);
#pragma unroll
    for (int i = 0; i < CHUNK_EACH; i++) {
        if (from < to && skip[chunk_column<by_four>(i)]) continue;
        float dz = f.sign * expf(fmaf(c, x[i] - most, f.log));
        x[i] = cap > 0 ? dz * cap_slope(x[i], cap) : dz;
    }
    chunk_store<by_four>(z, x, own.n);
}

extern "C" void osv_cuda_score_dx(osv_ops *o, float *z, const float *max, const float *sum, const float *w,
                                  const osv_scores *scores, int V)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int R = scores->R, chunks = chunks_of(V), most_rows = rows_at_once(o, R, sizeof(factor));
    factor *others = (factor *)((const osv_cuda *)o->state)->scratch;
    bool by_four = osv_cuda_by_four(z, V);
    for (int row = 0, rows; row < R; row += rows) {
        rows = R - row < most_rows ? R - row : most_rows;
        osv_scores some = some_scores(scores, row, rows);
        float *at = z + (size_t)row * V;
        LAUNCH(d, rows, ROW_WARPS * WARP, 0, dx_of_rows, others, at, max + row, sum, w, some, V);
        if (by_four)
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, dx_of_chunks<true>, at, max + row, others, some, V,
                   chunks);
        else
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, dx_of_chunks<false>, at, max + row, others, some, V,
                   chunks);
    }
}
