#include "kernels/sampling.h"

#include <string.h>

#include "kernels/cpu/math.h"

/* A row is an item; see kernels/sampling.h for what is chosen. Nothing is sorted: what top_k and top_p leave
 * is found by its last token, digit by digit of the logits, in histograms of what the tokens count: 1 each
 * for top_k, their weights for top_p. */

enum { DIGIT = 11, BUCKETS = 1 << DIGIT, LEVELS = 3 };
static const int digit_shift[LEVELS] = {21, 10, 0}, digit_bits[LEVELS] = {DIGIT, DIGIT, 10};

/* Tokens of a row, ids rising. */
typedef struct {
    const float *z;
    const int *id; /* NULL: 0, 1, 2, ... */
    int n;
    int first_id; /* what is to be added to ids */
} tokens;

/* What tokens count, and what the ones to keep have to count together. */
typedef struct {
    uint64_t count; /* 1 each, up to this, where it is not 0; else */
    double max, temperature, top_p;
} measure;

/* Keeps the tokens with larger keys, and the first `equal` ones with this key. */
typedef struct {
    uint32_t key;
    int equal;
} cut;

/* An integer that orders as the floats do, 0 and -0 being one. */
OSV_CPU_INLINE uint32_t key_of(float z)
{
    uint32_t bits = osv_cpu_bits(z + 0.0f);
    return bits ^ (-(bits >> 31) | 0x80000000u);
}

OSV_CPU_INLINE float of_key(uint32_t key)
{
    return osv_cpu_float(key >> 31 ? key ^ 0x80000000u : ~key);
}

OSV_CPU_INLINE uint64_t count_of(const measure *m, float z)
{
    return m->count ? 1 : osv_sampling_weight(osv_sampling_exponent(z, m->max, m->temperature));
}

/* At each level, the tokens that have the digits found so far go to buckets by their next digit; the sum of
 * the buckets from the largest down says in which of them the last token to keep is. */
static cut find_cut(const measure *m, const tokens *t, uint64_t *bucket)
{
    uint32_t found = 0;
    uint64_t left = m->count; /* still to be kept */
    for (int level = 0; level < LEVELS; level++) {
        int shift = digit_shift[level], bits = digit_bits[level];
        memset(bucket, 0, BUCKETS * sizeof *bucket);
        for (int i = 0; i < t->n; i++) {
            uint32_t key = key_of(t->z[i]) >> shift;
            if (key >> bits == found) bucket[key & ((1u << bits) - 1)] += count_of(m, t->z[i]);
        }
        if (level == 0 && !m->count) {
            uint64_t total = 0;
            for (int b = 0; b < BUCKETS; b++) total += bucket[b];
            left = osv_sampling_share(m->top_p, total);
        }
        uint32_t b = (1u << bits) - 1;
        for (; bucket[b] < left; b--) left -= bucket[b];
        found = found << bits | b;
    }
    uint64_t each = count_of(m, of_key(found)); /* tokens of one key count alike */
    return (cut){found, (int)((left + each - 1) / each)};
}

/* Leaves in `t` what m keeps, as a copy in z and id [n]; t may be there already. */
static void keep(const measure *m, tokens *t, float *z, int *id, uint64_t *bucket)
{
    cut c = find_cut(m, t, bucket);
    int kept = 0;
    for (int i = 0; i < t->n; i++) {
        uint32_t key = key_of(t->z[i]);
        if (key < c.key || (key == c.key && c.equal == 0)) continue;
        c.equal -= key == c.key;
        z[kept] = t->z[i];
        id[kept++] = t->id ? t->id[i] : i;
    }
    *t = (tokens){z, id, kept, t->first_id};
}

/* No word's noise is larger: -ln(-ln u) <= -ln(1 - u), and 1 - u = (~word + 1/2) 2^-32 >= 2^-bound. */
OSV_CPU_INLINE double largest_noise(uint32_t word)
{
    int bound = ~word ? __builtin_clz(~word) + 1 : 33;
    return bound * 0.69314718056; /* ln 2, rounded up */
}

/* Index of the largest of x + noise. Logarithms are taken only of tokens that may still win. */
static int choose(const osv_sampling *how, const tokens *t, double max)
{
    double best = -INFINITY, most = largest_noise(UINT32_MAX);
    uint32_t block = UINT32_MAX, word[4] = {0}; /* no block: ids are below 2^31 */
    int chosen = 0;
    for (int i = 0; i < t->n; i++) {
        double x = osv_sampling_exponent(t->z[i], max, how->temperature);
        if (x + most < best) continue;
        uint32_t id = (uint32_t)(t->first_id + (t->id ? t->id[i] : i));
        if (id / 4 != block) {
            block = id / 4;
            osv_sampling_words(how, block, word);
        }
        if (x + largest_noise(word[id % 4]) < best) continue;
        double value = x + osv_sampling_noise(word[id % 4]);
        if (value > best) {
            best = value;
            chosen = i;
        }
    }
    return chosen;
}

OSV_CPU_CLONES
static float max_of(const float *z, int n)
{
    return osv_cpu_largest(z, n);
}

/* sum of exp(z - max) */
OSV_CPU_CLONES
static double exp_sum(const float *z, float max, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)osv_cpu_exp(z[i] - max);
    return sum;
}

/* A token of the row z [V], of which `first` is the largest logit. */
static int sample_row(const osv_ops *o, const osv_sampling *how, const float *z, int first, int V)
{
    if (!(how->temperature > 0)) return first;
    uint64_t *bucket = osv_cpu_mine(o);
    float *kept_z = (float *)(bucket + BUCKETS);
    int *kept_id = (int *)(kept_z + V);
    tokens t = {z, NULL, V, 0};
    if (how->top_k > 0 && how->top_k < V)
        keep(&(measure){.count = (uint64_t)how->top_k}, &t, kept_z, kept_id, bucket);
    if (how->top_p < 1)
        keep(&(measure){.max = z[first], .temperature = how->temperature, .top_p = how->top_p}, &t, kept_z,
             kept_id, bucket);
    int chosen = choose(how, &t, z[first]);
    return t.id ? t.id[chosen] : chosen;
}

static size_t scratch_bytes(int V)
{
    return BUCKETS * sizeof(uint64_t) + (size_t)V * (sizeof(float) + sizeof(int));
}

/* The first token's exponential, 1, is added to those of the others last: the logarithm of a sure token keeps
 * its digits. */
void osv_cpu_sample(osv_ops *o, int *id, float *logprob, const float *z, const osv_sampling *how, int R,
                    int V)
{
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, scratch_bytes(V))) return;
#pragma omp parallel for schedule(static, 1) num_threads(osv_cpu_threads(o, (size_t)R *V))
    for (int r = 0; r < R; r++) {
        const float *row = z + (size_t)r * V;
        float max = max_of(row, V);
        id[r] = -1;
        logprob[r] = NAN;
        if (!isfinite(max)) continue;
        int first = 0;
        while (row[first] != max) first++;
        double others = exp_sum(row, max, first) + exp_sum(row + first + 1, max, V - first - 1);
        if (isnan(others)) continue;
        id[r] = sample_row(o, &how[r], row, first, V);
        logprob[r] = (float)((double)row[id[r]] - max - log1p(others));
    }
}

/* ---- slices ---- */

static uint64_t weight_of(const float *z, const measure *m, int V)
{
    uint64_t weight = 0;
    for (int i = 0; i < V; i++) weight += count_of(m, z[i]);
    return weight;
}

/* What may be chosen of the row z [V], which has no token before `first`. */
static tokens candidates_of(const osv_ops *o, const osv_sampling *how, const float *z, int first, double max,
                            int first_id, int k, int V)
{
    uint64_t *bucket = osv_cpu_mine(o);
    float *kept_z = (float *)(bucket + BUCKETS);
    int *kept_id = (int *)(kept_z + V);
    tokens t = {z, NULL, V, first_id};
    if (osv_sampling_lists(how)) {
        if (k < V) keep(&(measure){.count = (uint64_t)k}, &t, kept_z, kept_id, bucket);
        return t;
    }
    if (how->temperature > 0) first = choose(how, &t, max);
    kept_id[0] = first;
    return (tokens){z + first, kept_id, 1, first_id};
}

void osv_cpu_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const float *z, const float *max,
                        const osv_sampling *how, int first_id, int k, int R, int V)
{
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, scratch_bytes(V))) return;
#pragma omp parallel for schedule(static, 1) num_threads(osv_cpu_threads(o, (size_t)R *V))
    for (int r = 0; r < R; r++) {
        const float *row = z + (size_t)r * V;
        osv_token *out = token + (size_t)r * k;
        float largest = max_of(row, V);
        int first = 0;
        while (first < V - 1 && row[first] != largest) first++;
        double others = exp_sum(row, max[r], first) + exp_sum(row + first + 1, max[r], V - first - 1);
        measure m = {.max = max[r], .temperature = how[r].temperature};
        bool by_weight = osv_sampling_lists(&how[r]) && how[r].top_k <= 0;
        slice[r] = (osv_slice){
            .first = row[first], .others = (float)others, .weight = by_weight ? weight_of(row, &m, V) : 0};
        tokens t = {.n = 0};
        if (!isnan(others)) t = candidates_of(o, &how[r], row, first, max[r], first_id, k, V);
        slice[r].more = t.n < V;
        for (int i = 0; i < k; i++)
            out[i] = i < t.n ? (osv_token){t.z[i], first_id + (t.id ? t.id[i] : i)} : (osv_token){.id = -1};
    }
}
