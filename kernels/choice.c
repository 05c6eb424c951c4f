#include "kernels/choice.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const osv_token *x = a, *y = b;
    if (x->z != y->z) return x->z < y->z ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

void osv_choice_sort(osv_token *list, int n)
{
    qsort(list, (size_t)n, sizeof *list, compare);
}

static uint64_t weight_of(const osv_sampling *how, const osv_token *t, double max)
{
    return osv_sampling_weight(osv_sampling_exponent((double)t->z, max, (double)how->temperature));
}

int osv_choice_nucleus(const osv_sampling *how, const osv_token *list, int n, double max, uint64_t total)
{
    uint64_t share = osv_sampling_share((double)how->top_p, total), sum = 0;
    int kept = 0;
    while (sum < share && kept < n) sum += weight_of(how, &list[kept++], max);
    return sum < share ? n + 1 : kept;
}

int osv_choice_draw(const osv_sampling *how, const osv_token *list, int n, double max)
{
    int chosen = 0;
    double best = -INFINITY;
    for (int i = 0; i < n; i++) {
        uint32_t word[4];
        int id = list[i].id;
        osv_sampling_words(how, (uint32_t)id / 4, word);
        double value = osv_sampling_exponent((double)list[i].z, max, (double)how->temperature) +
                       osv_sampling_noise(word[id % 4]);
        if (value > best || (value == best && id < list[chosen].id)) {
            best = value;
            chosen = i;
        }
    }
    return chosen;
}

/* ---- ranks ---- */

static const osv_slice *slice_of(const osv_listed *from, int rank)
{
    return (const void *)((const char *)from->slice + (size_t)rank * from->stride);
}

/* What the slices come to together. */
typedef struct {
    double max;
    double others; /* sum of exp(z - max) without the first token's 1; NaN: there is no softmax */
    uint64_t weight;
} whole;

static whole join_slices(const osv_listed *from)
{
    whole w = {.max = -INFINITY};
    int first = 0;
    for (int r = 0; r < from->ranks; r++) {
        const osv_slice *s = slice_of(from, r);
        if ((double)s->first > w.max) w.max = (double)s->first, first = r;
    }
    for (int r = 0; r < from->ranks; r++) {
        const osv_slice *s = slice_of(from, r);
        w.others += (double)s->others + (r == first ? 0 : exp((double)s->first - w.max));
        w.weight += s->weight;
        if (isnan(s->first)) w.others = NAN;
    }
    if (!isfinite(w.max)) w.others = NAN;
    return w;
}

/* All that was listed -> list: its length. */
static int join_tokens(osv_token *list, const osv_listed *from)
{
    int n = 0;
    for (int r = 0; r < from->ranks; r++) {
        const osv_token *own = (const void *)((const char *)from->token + (size_t)r * from->stride);
        for (int i = 0; i < from->k && own[i].id >= 0; i++) list[n++] = own[i];
    }
    return n;
}

/* Sorts the list and cuts it off behind the first place where a rank might have more to say: *all is false
 * then. */
static int cut_tokens(osv_token *list, bool *all, const osv_listed *from)
{
    osv_token known; /* up to here the list is complete */
    int n = 0;
    *all = true;
    for (int r = 0, own; r < from->ranks; r++, n += own) {
        osv_listed one = *from;
        one.token = (const void *)((const char *)from->token + (size_t)r * from->stride);
        one.ranks = 1;
        own = join_tokens(list + n, &one);
        if (!slice_of(from, r)->more || own == 0) continue;
        osv_choice_sort(list + n, own);
        const osv_token *last = &list[n + own - 1];
        if (*all || compare(last, &known) < 0) known = *last;
        *all = false;
    }
    osv_choice_sort(list, n);
    while (!*all && compare(&known, &list[n - 1]) < 0) n--;
    return n;
}

/* Of a row whose first tokens were listed, those that top_k and top_p leave, sorted; 0: more are needed. */
static int truncate_tokens(osv_token *list, const osv_sampling *how, const osv_listed *from, const whole *w)
{
    bool all;
    int n = cut_tokens(list, &all, from);
    uint64_t total = w->weight;
    if (how->top_k > 0) {
        if (!all && n < how->top_k) return 0;
        if (n > how->top_k) n = how->top_k;
        total = 0;
        for (int i = 0; i < n; i++) total += weight_of(how, &list[i], w->max);
    }
    if (!(how->top_p < 1)) return n;
    int kept = osv_choice_nucleus(how, list, n, w->max, total);
    return kept > n ? 0 : kept;
}

bool osv_choice_join(int *id, osv_real *logprob, const osv_sampling *how, const osv_listed *from,
                     osv_token *list)
{
    whole w = join_slices(from);
    int n, chosen = 0;
    *id = -1;
    *logprob = (osv_real)NAN;
    if (isnan(w.others)) return true;
    if (osv_sampling_lists(how))
        n = truncate_tokens(list, how, from, &w);
    else
        n = join_tokens(list, from);
    if (n == 0) return false;
    if (how->temperature > 0)
        chosen = osv_choice_draw(how, list, n, w.max);
    else
        osv_choice_sort(list, n);
    *id = list[chosen].id;
    *logprob = (osv_real)((double)list[chosen].z - w.max - log1p(w.others));
    return true;
}
