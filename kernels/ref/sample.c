#include "kernels/choice.h"
#include "kernels/ref/ref.h"

/* Of n tokens together. */
static uint64_t weight_of(const osv_sampling *how, const osv_token *list, int n, double max)
{
    uint64_t weight = 0;
    for (int i = 0; i < n; i++)
        weight +=
            osv_sampling_weight(osv_sampling_exponent((double)list[i].z, max, (double)how->temperature));
    return weight;
}

/* A token of the row z [V], of which `first` is the largest logit; list [V] is scratch. */
static int sample_row(const osv_sampling *how, const osv_real *z, int first, osv_token *list, int V)
{
    if (!(how->temperature > 0)) return first;
    int n = V;
    for (int j = 0; j < V; j++) list[j] = (osv_token){.z = z[j], .id = j};
    osv_choice_sort(list, V);
    if (how->top_k > 0 && how->top_k < n) n = how->top_k;
    if (how->top_p < 1)
        n = osv_choice_nucleus(how, list, n, (double)z[first], weight_of(how, list, n, (double)z[first]));
    return list[osv_choice_draw(how, list, n, (double)z[first])].id;
}

static int first_of(const osv_real *z, int V)
{
    int first = 0;
    for (int j = 1; j < V; j++)
        if (z[j] > z[first]) first = j;
    return first;
}

static osv_token *scratch_list(osv_ops *o, int V)
{
    return (void *)osv_ref_scratch(o,
                                   (size_t)V * ((sizeof(osv_token) + sizeof(double) - 1) / sizeof(double)));
}

/* logprob = z_id - max - ln(1 + the sum of the exponentials without the first token's, which is 1): so that
 * the logarithm of a sure token keeps its digits. */
void osv_ref_sample(osv_ops *o, int *id, osv_real *logprob, const osv_real *z, const osv_sampling *how, int R,
                    int V)
{
    if (osv_ops_status(o)) return;
    osv_token *list = scratch_list(o, V);
    if (!list) return;
    for (int r = 0; r < R; r++) {
        const osv_real *row = z + (size_t)r * V;
        int first = first_of(row, V);
        double others = isfinite(row[first]) ? 0 : NAN;
        for (int j = 0; j < V; j++)
            if (j != first) others += exp((double)row[j] - row[first]);
        id[r] = isnan(others) ? -1 : sample_row(&how[r], row, first, list, V);
        logprob[r] = (osv_real)(isnan(others) ? NAN : (double)row[id[r]] - row[first] - log1p(others));
    }
}

/* What may be chosen of a slice that is listed, its tokens sorted if need be: a number of them, from the
 * front.
 */
static int candidates_of(osv_token *list, const osv_sampling *how, double max, int k, int V)
{
    int best = 0;
    if (how->temperature > 0 && !osv_sampling_lists(how)) {
        best = osv_choice_draw(how, list, V, max);
        list[0] = list[best];
        return 1;
    }
    osv_choice_sort(list, V);
    if (!(how->temperature > 0)) return 1;
    return k < V ? k : V;
}

void osv_ref_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const osv_real *z,
                        const osv_real *max, const osv_sampling *how, int first_id, int k, int R, int V)
{
    if (osv_ops_status(o)) return;
    osv_token *list = scratch_list(o, V);
    if (!list) return;
    for (int r = 0; r < R; r++, z += V, token += k) {
        int first = first_of(z, V);
        double others = 0;
        for (int j = 0; j < V; j++) {
            if (j != first) others += exp((double)z[j] - (double)max[r]);
            list[j] = (osv_token){.z = z[j], .id = first_id + j};
        }
        bool by_weight = osv_sampling_lists(&how[r]) && how[r].top_k <= 0;
        slice[r] = (osv_slice){.first = z[first],
                               .others = (osv_real)others,
                               .weight = by_weight ? weight_of(&how[r], list, V, (double)max[r]) : 0};
        int n = candidates_of(list, &how[r], (double)max[r], k, V);
        slice[r].more = n < V;
        for (int i = 0; i < k; i++) token[i] = i < n ? list[i] : (osv_token){.id = -1};
    }
}
