/* Greedy rows are limited by bandwidth: z is read once, a chunk of a row a block (chunk.cuh), from whose
 * maximum, its place and the exponentials below it the row's block makes id and logprob. The rest of that
 * block's work is for rows with a temperature alone, and limited by one multiprocessor's arithmetic: a row's
 * logits come from L2 once for the draw and 3 times, rarely 6, for each of top_k and top_p; exp and log are
 * double as kernels/sampling.h asks for.
 *
 * Nothing is sorted. Tokens are ordered by one whole number, (key of the logit, ~id), and what top_k and
 * top_p leave is all tokens from some number on: the cut, found digit by digit in histograms of what tokens
 * count, 1 each or their weights. Sums of whole numbers: atomic additions give the same bytes in any order.
 */
#include "kernels/sampling.h"

#include "kernels/cuda/chunk.cuh"

enum { MOST_THREADS = 1024, DIGIT = 11, BUCKETS = 1 << DIGIT, LEVELS = 6, KEY_LEVELS = 3 };

/* ---- the largest logit, lowest id among equals ---- */

typedef struct {
    float z;
    int id; /* INT32_MAX: none, z is -inf */
} token;

static inline __device__ token larger(token a, token b)
{
    return b.z > a.z || (b.z == a.z && b.id < a.id) ? b : a;
}

static inline __device__ token warp_largest(token x)
{
    for (int step = WARP / 2; step > 0; step /= 2) {
        float z = __shfl_xor_sync((unsigned)ALL_LANES, x.z, step);
        int id = __shfl_xor_sync((unsigned)ALL_LANES, x.id, step);
        x = larger(x, {z, id});
    }
    return x;
}

/* In all threads; ends with a barrier. */
static __device__ token block_largest(token x)
{
    SHARED(token, part, WARP);
    x = warp_largest(x);
    if (warp_lane() == 0) part[warp_index()] = x;
    __syncthreads();
    x = warp_lane() < block_warps() ? part[warp_lane()] : token{-INFINITY, INT32_MAX};
    x = warp_largest(x);
    __syncthreads();
    return x;
}

/* ---- chunks ---- */

/* others: sum of exp(z - first.z) over the chunk without `first`; 0 where all are -inf, NaN if one is. */
typedef struct {
    token first;
    float others;
} chunk_sum;

template <bool by_four>
static __global__ void sum_of_chunks(chunk_sum *out, const float *z, int V, int chunks)
{
    chunk own = own_chunk(V, chunks);
    float x[CHUNK_EACH], sum = 0;
    chunk_load<by_four>(x, z + (size_t)own.row * V + own.begin, own.n, -INFINITY);
    token first = {-INFINITY, INT32_MAX};
#pragma unroll
    for (int i = 0; i < CHUNK_EACH; i++)
        if (x[i] > first.z) first = {x[i], own.begin + chunk_column<by_four>(i)};
    first = block_largest(first);
    float from = first.id == INT32_MAX ? 0 : first.z; /* -inf - -inf is NaN */
#pragma unroll
    for (int i = 0; i < CHUNK_EACH; i++)
        if (own.begin + chunk_column<by_four>(i) != first.id) sum += expf(x[i] - from);
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = {first, sum};
}

/* ---- rows ---- */

typedef struct {
    token first;
    double log_sum; /* ln of the sum of exp(z - first.z) */
    bool possible;  /* the row has a softmax */
} row_sum;

/* For a warp. The first token's exponential, 1, is added last: the logarithm of a sure token keeps its
 * digits. */
static __device__ row_sum join(const chunk_sum *part, int chunks)
{
    token first = {-INFINITY, INT32_MAX};
    double others = 0;
    for (int i = warp_lane(); i < chunks; i += WARP) first = larger(first, part[i].first);
    first = warp_largest(first);
    for (int i = warp_lane(); i < chunks; i += WARP) {
        double sum = part[i].others + (part[i].first.id == first.id ? 0.0 : 1.0);
        others += exp((double)part[i].first.z - first.z) * sum;
    }
    others = warp_sum(others);
    return {first, log1p(others), isfinite(first.z) && !isnan(others)};
}

/* The row of a block, and how its tokens are chosen. */
typedef struct {
    const float *z;
    int V;
    bool by_four;
    double max, temperature, top_p;
    int first_id; /* of the first column; columns go by the name of id below */
} logits;

/* An integer that orders as the floats do, 0 and -0 being one; and back. */
static inline __device__ uint32_t key_of(float z)
{
    uint32_t bits = __float_as_uint(z + 0.0f);
    return bits ^ ((bits >> 31 ? 0xffffffffu : 0) | 0x80000000u);
}

static inline __device__ float of_key(uint32_t key)
{
    return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key);
}

/* No two tokens have the same place; tokens before others have the larger one. */
static inline __device__ uint64_t place_of(float z, int id)
{
    return (uint64_t)key_of(z) << 32 | (uint32_t)~id;
}

/* f(z, id, n) for this thread's groups of up to four neighbours, z[0] being that of id, a multiple of 4. */
template <typename F> static inline __device__ void over_fours(const logits &r, F f)
{
    for (int id = 4 * (int)threadIdx.x; id < r.V; id += 4 * (int)blockDim.x) {
        int n = min(4, r.V - id);
        float z[4];
        if (r.by_four) {
            float4 a = load4(r.z + id);
            z[0] = a.x, z[1] = a.y, z[2] = a.z, z[3] = a.w;
        } else {
            for (int i = 0; i < 4; i++) z[i] = i < n ? r.z[id + i] : 0;
        }
        f(z, id, n);
    }
}

/* ---- what is left of a row ---- */

/* Sums of 64 bits in two halves: shared memory adds only 32 at once. The places of buckets leave gaps, so
 * that the lanes of a warp that goes over 64 buckets each meet different banks. */
enum { SLOTS = BUCKETS + BUCKETS / 64 };

typedef struct {
    unsigned *low, *high; /* [SLOTS], shared */
} histogram;

static inline __device__ int slot_of(unsigned bucket)
{
    return (int)(bucket + bucket / 64);
}

static inline __device__ void count(const histogram &h, unsigned bucket, uint64_t x)
{
    unsigned low = (unsigned)x, high = (unsigned)(x >> 32);
    int at = slot_of(bucket);
    if (low && atomicAdd(&h.low[at], low) + low < low) high++;
    if (high) atomicAdd(&h.high[at], high);
}

static inline __device__ uint64_t counted(const histogram &h, unsigned bucket)
{
    return (uint64_t)h.high[slot_of(bucket)] << 32 | h.low[slot_of(bucket)];
}

typedef struct {
    unsigned bucket;
    uint64_t left, inside; /* what is wanted of this bucket; what it holds */
} choice;

/* For a warp: from the last bucket down, the one in which the sum reaches `left`, or, where `left` is 0, the
 * share that top_p asks for. */
static __device__ choice choose_bucket(const histogram &h, uint64_t left, double top_p)
{
    enum { EACH = BUCKETS / WARP };
    unsigned last = (unsigned)(BUCKETS - 1 - EACH * warp_lane());
    uint64_t own = 0, total;
    for (unsigned i = 0; i < EACH; i++) own += counted(h, last - i);
    uint64_t until = own; /* with the lanes before */
    for (int step = 1; step < WARP; step *= 2) {
        uint64_t other = __shfl_up_sync((unsigned)ALL_LANES, until, step);
        if (warp_lane() >= step) until += other;
    }
    total = __shfl_sync((unsigned)ALL_LANES, until, WARP - 1);
    if (!left) left = osv_sampling_share(top_p, total);
    bool mine = until - own < left && left <= until;
    choice c = {0, left - (until - own), 0};
    if (mine)
        for (c.bucket = last; (c.inside = counted(h, c.bucket)) < c.left; c.bucket--) c.left -= c.inside;
    unsigned lane = 0;
    for (unsigned who = __ballot_sync((unsigned)ALL_LANES, mine); who > 1; who >>= 1) lane++;
    return {__shfl_sync((unsigned)ALL_LANES, c.bucket, (int)lane),
            __shfl_sync((unsigned)ALL_LANES, c.left, (int)lane),
            __shfl_sync((unsigned)ALL_LANES, c.inside, (int)lane)};
}

static inline __device__ uint64_t weight_of(const logits &r, float z)
{
    return osv_sampling_weight(osv_sampling_exponent(z, r.max, r.temperature));
}

/* Of the tokens whose place is not below `cut`, keeps the first `top_k`, or, where that is 0, those that
 * top_p leaves: the new cut. At each level the tokens with the digits found so far go to buckets by their
 * next digit. When all digits of the key are known, tokens are equal and count alike; which of them stay
 * their ids say, if not all do. */
static __device__ uint64_t find_cut(const logits &r, uint64_t cut, int top_k)
{
    SHARED(unsigned, low, SLOTS);
    SHARED(unsigned, high, SLOTS);
    SHARED(choice, chosen, 1);
    histogram h = {low, high};
    uint64_t found = 0, left = (uint64_t)top_k;
    bool weights = top_k == 0;
    int shift = 64;
    for (int level = 0; level < LEVELS; level++) {
        int bits = level % KEY_LEVELS == KEY_LEVELS - 1 ? 32 - (KEY_LEVELS - 1) * DIGIT : DIGIT;
        int above = shift;
        shift -= bits;
        if (level == KEY_LEVELS && r.V <= 1 << (32 - DIGIT)) { /* ids that all begin with the same digit */
            found = found << bits | ((1u << bits) - 1);
            continue;
        }
        for (int i = (int)threadIdx.x; i < SLOTS; i += (int)blockDim.x) low[i] = high[i] = 0;
        __syncthreads();
        over_fours(r, [&](const float z[4], int id, int n) {
            for (int i = 0; i < n; i++) {
                uint64_t place = place_of(z[i], id + i);
                if (place < cut || (level > 0 && place >> above != found)) continue;
                count(h, (unsigned)(place >> shift) & ((1u << bits) - 1), weights ? weight_of(r, z[i]) : 1);
            }
        });
        __syncthreads();
        if (warp_index() == 0) {
            choice c = choose_bucket(h, left, r.top_p);
            if (warp_lane() == 0) chosen[0] = c;
        }
        __syncthreads();
        choice c = chosen[0];
        found = found << bits | c.bucket;
        left = c.left;
        if (level == KEY_LEVELS - 1) {
            uint64_t each = weights ? weight_of(r, of_key((uint32_t)found)) : 1;
            left = (left + each - 1) / each;
            weights = false;
            if (left * each == c.inside) { /* all of them */
                uint64_t all = found << 32;
                return all > cut ? all : cut;
            }
        }
    }
    return found;
}

/* ---- the draw ---- */

/* No word's noise is larger: -ln(-ln u) <= -ln(1 - u), and 1 - u = (~word + 1/2) 2^-32 >= 2^-bound. */
static inline __device__ double largest_noise(uint32_t word)
{
    uint32_t high = ~word >> 8; /* a float holds it exactly, and says its highest bit */
    int bound = high ? 24 - ((int)(__float_as_uint((float)high) >> 23) - 127) : 33;
    return bound * 0.69314718056; /* ln 2, rounded up */
}

typedef struct {
    double value;
    int id;
} drawn;

static inline __device__ drawn better(drawn a, drawn b)
{
    return b.value > a.value || (b.value == a.value && b.id < a.id) ? b : a;
}

static inline __device__ drawn warp_best(drawn x)
{
    for (int step = WARP / 2; step > 0; step /= 2) {
        double value = __shfl_xor_sync((unsigned)ALL_LANES, x.value, step);
        int id = __shfl_xor_sync((unsigned)ALL_LANES, x.id, step);
        x = better(x, {value, id});
    }
    return x;
}

/* The words that ids are drawn by, four ids at a time. */
typedef struct {
    uint32_t block, word[4];
} words;

static inline __device__ uint32_t word_of(words *w, const osv_sampling &how, uint32_t id)
{
    if (w->block != id / 4) osv_sampling_words(&how, w->block = id / 4, w->word);
    uint32_t even = id & 2 ? w->word[2] : w->word[0], odd = id & 2 ? w->word[3] : w->word[1];
    return id & 1 ? odd : even; /* an index would put the words into local memory */
}

/* The largest x + noise from the cut on, in thread 0. Logarithms are taken only of tokens that may still
 * win. */
static __device__ int draw(const logits &r, const osv_sampling &how, uint64_t cut)
{
    SHARED(drawn, part, WARP);
    drawn best = {-INFINITY, INT32_MAX};
    double most = largest_noise(UINT32_MAX);
    words w = {UINT32_MAX, {0}}; /* no block: ids are below 2^31 */
    over_fours(r, [&](const float z[4], int id, int n) {
        for (int i = 0; i < n; i++) {
            if (place_of(z[i], id + i) < cut) continue;
            double x = osv_sampling_exponent(z[i], r.max, r.temperature);
            if (x + most < best.value) continue;
            uint32_t word = word_of(&w, how, (uint32_t)(r.first_id + id + i));
            if (x + largest_noise(word) < best.value) continue;
            drawn other = {x + osv_sampling_noise(word), id + i};
            if (other.value > best.value) best = other;
        }
    });
    best = warp_best(best);
    if (warp_lane() == 0) part[warp_index()] = best;
    __syncthreads();
    best = warp_lane() < block_warps() ? part[warp_lane()] : drawn{-INFINITY, INT32_MAX};
    return warp_best(best).id;
}

static __global__ void __launch_bounds__(MOST_THREADS)
    sample_rows(int *id, float *logprob, const float *z, const osv_sampling *how, const chunk_sum *part,
                int V, int chunks, bool by_four)
{
    SHARED(row_sum, sum, 1);
    int r = (int)blockIdx.x;
    if (warp_index() == 0) {
        row_sum whole = join(part + (size_t)r * chunks, chunks);
        if (warp_lane() == 0) sum[0] = whole;
    }
    __syncthreads();
    int chosen = sum[0].possible ? sum[0].first.id : -1;
    osv_sampling own = how[r];
    z += (size_t)r * V;
    if (sum[0].possible && own.temperature > 0) {
        logits all = {z, V, by_four, sum[0].first.z, own.temperature, own.top_p, 0};
        uint64_t cut = 0;
        if (own.top_k > 0 && own.top_k < V) cut = find_cut(all, cut, own.top_k);
        if (own.top_p < 1) cut = find_cut(all, cut, 0);
        chosen = draw(all, own, cut);
    }
    if (threadIdx.x > 0) return;
    id[r] = chosen;
    logprob[r] = chosen < 0 ? NAN : (float)((double)z[chosen] - sum[0].first.z - sum[0].log_sum);
}

/* ---- slices of rows ---- */

/* Tokens from the cut on -> out [k], thread by thread; behind them none. At most k. */
static __device__ void list_tokens(osv_token *out, const logits &r, uint64_t cut, int k)
{
    SHARED(int, before, WARP + 1); /* tokens of the warps before each */
    int own = 0;
    over_fours(r, [&](const float z[4], int id, int n) {
        for (int i = 0; i < n; i++) own += place_of(z[i], id + i) >= cut;
    });
    int until = own; /* of the warp, with the lanes before */
    for (int step = 1; step < WARP; step *= 2) {
        int other = __shfl_up_sync((unsigned)ALL_LANES, until, step);
        if (warp_lane() >= step) until += other;
    }
    if (warp_lane() == WARP - 1) before[warp_index() + 1] = until;
    __syncthreads();
    if (threadIdx.x == 0) {
        before[0] = 0;
        for (int i = 1; i <= block_warps(); i++) before[i] += before[i - 1];
    }
    __syncthreads();
    int at = before[warp_index()] + until - own;
    over_fours(r, [&](const float z[4], int id, int n) {
        for (int i = 0; i < n; i++)
            if (place_of(z[i], id + i) >= cut) out[at++] = {z[i], r.first_id + id + i};
    });
    for (int i = before[block_warps()] + (int)threadIdx.x; i < k; i += (int)blockDim.x) out[i] = {0, -1};
}

/* The one with this id, as thread 0 knows it; -1: none. */
static __device__ void list_one(osv_token *out, const logits &r, int id, int k)
{
    for (int i = (int)threadIdx.x; i < k; i += (int)blockDim.x)
        out[i] = i == 0 && id >= 0 ? osv_token{r.z[id], r.first_id + id} : osv_token{0, -1};
}

static __global__ void __launch_bounds__(MOST_THREADS)
    candidates_of_rows(osv_slice *slice, osv_token *out, const float *z, const float *max,
                       const osv_sampling *how, int first_id, int k, int V, bool by_four)
{
    size_t row = blockIdx.x;
    osv_sampling own = how[row];
    logits r = {z + row * V, V, by_four, max[row], own.temperature, own.top_p, first_id};
    bool lists = osv_sampling_lists(&own), weighs = lists && own.top_k <= 0;
    out += row * k;
    token first = {-INFINITY, INT32_MAX};
    over_fours(r, [&](const float z4[4], int id, int n) {
        for (int i = 0; i < n; i++) first = larger(first, {z4[i], id + i});
    });
    first = block_largest(first);
    if (first.id == INT32_MAX) first = {r.z[0], 0}; /* all are -inf, or none is a number */
    float others = 0;
    uint64_t weight = 0;
    over_fours(r, [&](const float z4[4], int id, int n) {
        for (int i = 0; i < n; i++) {
            if (id + i != first.id) others += expf(z4[i] - max[row]);
            if (weighs) weight += weight_of(r, z4[i]);
        }
    });
    others = block_sum(others);
    weight = block_sum(weight);
    bool possible = isfinite(max[row]) && !isnan(others) && !isnan(first.z);
    int more = lists ? k < V : V > 1, chosen = possible ? first.id : -1;
    if (threadIdx.x == 0) slice[row] = {first.z, others, weight, more};
    if (lists) {
        list_tokens(out, r, more ? find_cut(r, 0, k) : 0, k);
        return;
    }
    if (possible && own.temperature > 0) {
        int drawn_id = draw(r, own, 0);
        if (drawn_id != INT32_MAX) chosen = drawn_id; /* else all are -inf here */
    }
    list_one(out, r, chosen, k);
}

static unsigned row_threads(int V)
{
    unsigned fours = ((unsigned)V + 3) / 4;
    return fours < MOST_THREADS ? (fours + WARP - 1) / WARP * WARP : (unsigned)MOST_THREADS;
}

extern "C" void osv_cuda_sample(osv_ops *o, int *id, float *logprob, const float *z, const osv_sampling *how,
                                int R, int V)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    int chunks = chunks_of(V), most_rows = rows_at_once(o, R, (size_t)chunks * sizeof(chunk_sum));
    chunk_sum *part = (chunk_sum *)((const osv_cuda *)o->state)->scratch;
    bool by_four = osv_cuda_by_four(z, V);
    for (int row = 0, rows; row < R; row += rows) {
        rows = R - row < most_rows ? R - row : most_rows;
        const float *from = z + (size_t)row * V;
        if (by_four)
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, sum_of_chunks<true>, part, from, V, chunks);
        else
            LAUNCH(d, rows * chunks, chunk_threads(V), 0, sum_of_chunks<false>, part, from, V, chunks);
        LAUNCH(d, rows, row_threads(V), 0, sample_rows, id + row, logprob + row, from, how + row, part, V,
               chunks, by_four);
    }
}

extern "C" void osv_cuda_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const float *z,
                                    const float *max, const osv_sampling *how, int first_id, int k, int R,
                                    int V)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), R, row_threads(V), 0, candidates_of_rows, slice, token, z, max, how, first_id,
           k, V, osv_cuda_by_four(z, V));
}
