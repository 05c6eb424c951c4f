#include "kernels/sampling.h"

#include <stdlib.h>

#include "kernels/ref/ref.h"

typedef struct {
    double z;
    int id;
} token;

/* Larger logits first, lower ids first among equals. */
static int compare(const void *a, const void *b)
{
    const token *x = a, *y = b;
    if (x->z != y->z) return x->z < y->z ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The fewest of n sorted tokens that hold top_p of their weight. */
static int nucleus(const token *list, int n, double max, double temperature, double top_p)
{
    uint64_t total = 0, sum = 0;
    for (int i = 0; i < n; i++)
        total += osv_sampling_weight(osv_sampling_exponent(list[i].z, max, temperature));
    uint64_t share = osv_sampling_share(top_p, total);
    int kept = 0;
    while (sum < share) sum += osv_sampling_weight(osv_sampling_exponent(list[kept++].z, max, temperature));
    return kept;
}

/* The largest of x + noise. */
static int choose(const osv_sampling *how, const token *list, int n, double max)
{
    int chosen = -1;
    double best = -INFINITY;
    for (int i = 0; i < n; i++) {
        uint32_t word[4];
        int id = list[i].id;
        osv_sampling_words(how, (uint32_t)id / 4, word);
        double value = osv_sampling_exponent(list[i].z, max, how->temperature) +
                       osv_sampling_noise(word[id % 4]);
        if (value > best || (value == best && id < chosen)) {
            best = value;
            chosen = id;
        }
    }
    return chosen;
}

/* A token of the row z [V], of which `first` is the largest logit; list [V] is scratch. */
static int sample_row(const osv_sampling *how, const osv_real *z, int first, token *list, int V)
{
    if (!(how->temperature > 0)) return first;
    int n = V;
    for (int j = 0; j < V; j++) list[j] = (token){.z = z[j], .id = j};
    qsort(list, (size_t)V, sizeof *list, compare);
    if (how->top_k > 0 && how->top_k < n) n = how->top_k;
    if (how->top_p < 1) n = nucleus(list, n, z[first], how->temperature, how->top_p);
    return choose(how, list, n, z[first]);
}

/* logprob = z_id - max - ln(1 + the sum of the exponentials without the first token's, which is 1): so that
 * the logarithm of a sure token keeps its digits. */
void osv_ref_sample(osv_ops *o, int *id, osv_real *logprob, const osv_real *z, const osv_sampling *how, int R,
                    int V)
{
    if (osv_ops_status(o)) return;
    token *list = (token *)(void *)osv_ref_scratch(o, (size_t)V * (sizeof *list / sizeof(double)));
    if (!list) return;
    for (int r = 0; r < R; r++) {
        const osv_real *row = z + (size_t)r * V;
        int first = 0;
        for (int j = 1; j < V; j++)
            if (row[j] > row[first]) first = j;
        double others = isfinite(row[first]) ? 0 : NAN;
        for (int j = 0; j < V; j++)
            if (j != first) others += exp((double)row[j] - row[first]);
        id[r] = isnan(others) ? -1 : sample_row(&how[r], row, first, list, V);
        logprob[r] = (osv_real)(isnan(others) ? NAN : (double)row[id[r]] - row[first] - log1p(others));
    }
}
