#include <math.h>
#include <string.h>

#include "kernels/cpu/math.h"

/* Rows of logits are long and often few, so an item is a row's block of BLOCK columns; a row's blocks are
 * then put together in order. For one score: c is the row's coldness, t its target,
 * e_j = exp(c (z_j - max)), and from the reduced sums
 *     rest = sum of e_j over j != t,   a = c (z_t - max),   total = rest + exp(a)
 *     P = exp(a) / total,   Q = 1 - P = rest / total
 * Nothing is ever subtracted from a sum, so P and Q keep their digits however small they are. */

enum { BLOCK = 4096 }; /* columns of an item */

/* ---- softcap ---- */

OSV_CPU_CLONES
static void cap_block(float *z, float cap, float inverse, int n)
{
    for (int i = 0; i < n; i++) z[i] = cap * osv_cpu_tanh(z[i] * inverse);
}

void osv_cpu_softcap(osv_ops *o, float *z, double cap, size_t n)
{
    if (osv_cpu_failed(o)) return;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, n))
    for (size_t at = 0; at < n; at += BLOCK)
        cap_block(z + at, (float)cap, (float)(1 / cap), (int)(n - at < BLOCK ? n - at : BLOCK));
}

/* ---- maximum ---- */

OSV_CPU_CLONES
static float max_block(const float *z, int n)
{
    return osv_cpu_largest(z, n);
}

void osv_cpu_score_max(osv_ops *o, float *max, const float *z, int R, int V)
{
    int blocks = osv_cpu_blocks(V, BLOCK);
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)R * blocks * sizeof(float))) return;
    const osv_cpu *cpu = o->state;
    float *most = cpu->partial; /* [R, blocks] */
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)R *V))
    for (int item = 0; item < R * blocks; item++) {
        int at = item % blocks * BLOCK;
        most[item] = max_block(z + (size_t)(item / blocks) * V + at, osv_cpu_min(BLOCK, V - at));
    }
    for (int r = 0; r < R; r++) max[r] = max_block(most + (size_t)r * blocks, blocks);
}

/* ---- sums ---- */

/* sum of exp(c (z - max)) */
OSV_CPU_CLONES
static double exp_block(const float *z, float c, float max, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)osv_cpu_exp(c * (z[i] - max));
    return sum;
}

/* The first score of row r whose target is not before column `col` of this slice. */
static int find_score(const osv_scores *scores, int r, int col)
{
    int low = scores->first[r], high = scores->first[r + 1];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (scores->target[middle] - scores->first_id < col)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* One past the last score with the same row and target as s; `end` is the row's end. */
static int same_target(const osv_scores *scores, int s, int end)
{
    int target = scores->target[s];
    while (s < end && scores->target[s] == target) s++;
    return s;
}

/* Sum of the exponentials of row r in the columns [begin, end), its targets left out. z is the row. */
static double others(const float *z, float max, const osv_scores *scores, int r, int begin, int end)
{
    double sum = 0;
    int at = begin, last = scores->first[r + 1];
    float c = scores->coldness[r];
    for (int s = find_score(scores, r, begin); s < last; s = same_target(scores, s, last)) {
        int target = scores->target[s] - scores->first_id;
        if (target >= end) break;
        sum += exp_block(z + at, c, max, target - at);
        at = target + 1;
    }
    return sum + exp_block(z + at, c, max, end - at);
}

/* The sums of row r, of which `rest` is the sum over all columns that are nobody's target: to the rest of a
 * score come the other targets of the row, those before it and those after it. */
static void sum_row(float *sum, const float *z, float max, double rest, const osv_scores *scores, int r,
                    int V)
{
    int first = scores->first[r], last = scores->first[r + 1];
    float c = scores->coldness[r];
    double before = 0, after = 0;
    for (int s = first; s < last;) {
        int target = scores->target[s] - scores->first_id, end = same_target(scores, s, last);
        bool here = target >= 0 && target < V;
        float a = here ? c * (z[target] - max) : 0;
        for (int i = s; i < end; i++) {
            sum[2 * (size_t)i] = (float)before;
            sum[2 * (size_t)i + 1] = a;
        }
        if (here) before += osv_cpu_exp(a);
        s = end;
    }
    for (int s = last - 1; s >= first;) {
        int target = scores->target[s] - scores->first_id, begin = s;
        while (begin >= first && scores->target[begin] == scores->target[s]) begin--;
        for (int i = s; i > begin; i--)
            sum[2 * (size_t)i] = (float)(rest + ((double)sum[2 * (size_t)i] + after));
        if (target >= 0 && target < V) after += osv_cpu_exp(sum[2 * (size_t)s + 1]);
        s = begin;
    }
}

void osv_cpu_score_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_scores *scores,
                       int V)
{
    int R = scores->R, blocks = osv_cpu_blocks(V, BLOCK);
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)R * blocks * sizeof(double))) return;
    const osv_cpu *cpu = o->state;
    double *part = cpu->partial; /* [R, blocks] */
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)R *V))
    for (int item = 0; item < R * blocks; item++) {
        int r = item / blocks, at = item % blocks * BLOCK;
        part[item] = others(z + (size_t)r * V, max[r], scores, r, at, osv_cpu_min(at + BLOCK, V));
    }
    for (int r = 0; r < R; r++) {
        double rest = 0;
        for (int b = 0; b < blocks; b++) rest += part[(size_t)r * blocks + b];
        sum_row(sum, z + (size_t)r * V, max[r], rest, scores, r, V);
    }
}

/* ---- loss ---- */

typedef struct {
    double total, P, Q;
    double log_total;
    double a;
} probability;

static probability from_sums(const float *sum)
{
    double rest = sum[0], a = sum[1], e = exp(a), total = rest + e;
    return (probability){.total = total, .P = e / total, .Q = rest / total, .log_total = log(total), .a = a};
}

/* ln(P + eps): near 1 by the complement, and with eps = 0 without exp(a), which underflows long before ln P
 * is anything unusual. */
static double log_target(const probability *p, double eps)
{
    if (p->P > 0.5) return log1p(eps - p->Q);
    return eps > 0 ? log(p->P + eps) : p->a - p->log_total;
}

/* ln(1 - P + eps) */
static double log_rest(const probability *p, double eps)
{
    return p->Q > 0.5 ? log1p(eps - p->P) : log(p->Q + eps);
}

void osv_cpu_score(osv_ops *o, float *loss, const float *sum, const osv_scores *scores)
{
    if (osv_cpu_failed(o)) return;
    for (int r = 0; r < scores->R; r++)
        for (int s = scores->first[r]; s < scores->first[r + 1]; s++) {
            probability p = from_sums(sum + 2 * (size_t)s);
            double eps = scores->eps[r], value = NAN;
            switch ((osv_score_kind)scores->kind[s]) {
            case OSV_PROMOTE: value = -log_target(&p, eps); break;
            case OSV_NEGATED: value = log_target(&p, eps); break;
            case OSV_ONE_MINUS: value = -log_rest(&p, eps); break;
            }
            loss[s] = (float)value;
        }
}

/* ---- gradient ---- */

/* x / (x + eps); 1, its limit, where x has underflowed and eps = 0. */
static double damp(double x, double eps)
{
    return eps > 0 ? x / (x + eps) : 1;
}

/* Of one loss, times w: the gradient is `target` at its target and `others` e_j at any other column j. With
 * p_j = e_j / total, dP/dz_t = c P Q and dP/dz_j = -c P p_j:
 *     promote    target = -c P / (P + eps) Q,   others = c P / (P + eps) / total;   negated: minus both
 *     one minus  target = c P Q / (Q + eps),    others = -c P / (Q + eps) / total */
typedef struct {
    double target, others;
} slope;

static slope slope_of(const float *sum, osv_score_kind kind, double c, double eps, double w)
{
    probability p = from_sums(sum);
    double promote = w * c * damp(p.P, eps);
    switch (kind) {
    case OSV_PROMOTE: return (slope){-promote * p.Q, promote / p.total};
    case OSV_NEGATED: return (slope){promote * p.Q, -promote / p.total};
    case OSV_ONE_MINUS: break;
    }
    bool alone = p.Q + eps == 0; /* every other e_j is 0, and with it the gradient there */
    return (slope){w * c * p.P * damp(p.Q, eps), alone ? 0 : -w * c * p.P / (p.Q + eps) / p.total};
}

/* z = factor exp(c (z - max)), through the softcap */
OSV_CPU_CLONES
static void dx_block(float *z, float factor, float c, float max, float cap, int n)
{
    if (cap > 0)
        for (int i = 0; i < n; i++)
            z[i] = factor * osv_cpu_exp(c * (z[i] - max)) * osv_cpu_cap_slope(z[i], cap);
    else
        for (int i = 0; i < n; i++) z[i] = factor * osv_cpu_exp(c * (z[i] - max));
}

/* Sum of the slopes of the scores [first, last), all of row r. */
static slope sum_slopes(const float *sum, const float *w, const osv_scores *scores, int r, int first,
                        int last)
{
    slope total = {0, 0};
    for (int s = first; s < last; s++) {
        slope one = slope_of(sum + 2 * (size_t)s, (osv_score_kind)scores->kind[s], scores->coldness[r],
                             scores->eps[r], w[s]);
        total.target += one.target;
        total.others += one.others;
    }
    return total;
}

/* Columns [begin, end) of row r; `others` of all its scores. At a target the scores that have it have their
 * own slope, the others theirs. */
static void dx_row(float *z, float max, const float *sum, const float *w, const osv_scores *scores, int r,
                   double others, int begin, int end)
{
    int at = begin, last = scores->first[r + 1];
    float c = scores->coldness[r], cap = (float)scores->softcap;
    for (int s = find_score(scores, r, begin), next; s < last; s = next) {
        int target = scores->target[s] - scores->first_id;
        if (target >= end) break;
        next = same_target(scores, s, last);
        slope own = sum_slopes(sum, w, scores, r, s, next);
        double e = exp((double)c * ((double)z[target] - max));
        float back = cap > 0 ? osv_cpu_cap_slope(z[target], cap) : 1;
        dx_block(z + at, (float)others, c, max, cap, target - at);
        z[target] = (float)(own.target + e * (others - own.others)) * back;
        at = target + 1;
    }
    dx_block(z + at, (float)others, c, max, cap, end - at);
}

void osv_cpu_score_dx(osv_ops *o, float *z, const float *max, const float *sum, const float *w,
                      const osv_scores *scores, int V)
{
    int R = scores->R, blocks = osv_cpu_blocks(V, BLOCK);
    if (osv_cpu_failed(o) || !osv_cpu_partial(o, (size_t)R * sizeof(double))) return;
    const osv_cpu *cpu = o->state;
    double *others = cpu->partial; /* [R] */
    for (int r = 0; r < R; r++)
        others[r] = sum_slopes(sum, w, scores, r, scores->first[r], scores->first[r + 1]).others;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)R *V))
    for (int item = 0; item < R * blocks; item++) {
        int r = item / blocks, at = item % blocks * BLOCK, end = osv_cpu_min(at + BLOCK, V);
        float *row = z + (size_t)r * V;
        if (scores->first[r] < scores->first[r + 1])
            dx_row(row, max[r], sum, w, scores, r, others[r], at, end);
        else
            memset(row + at, 0, (size_t)(end - at) * sizeof *row);
    }
}
