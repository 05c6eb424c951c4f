#include "kernels/ref/ref.h"

#include <math.h>

/* In this file, for one score: c is the row's coldness, t its target, e_j = exp(c (z_j - max)), and from the
 * two reduced sums
 *     rest = sum of e_j over j != t,   a = c (z_t - max),   total = rest + exp(a)
 *     P = exp(a) / total,   Q = 1 - P = rest / total
 * Both are quotients of sums of positive numbers, so each keeps its digits however small it is. */
typedef struct {
    double total, P, Q;
    double log_total;
    double a;
} probability;

static probability from_sums(const osv_real *sum)
{
    double rest = sum[0], a = sum[1], total = rest + exp(a);
    return (probability){
        .total = total, .P = exp(a) / total, .Q = rest / total, .log_total = log(total), .a = a};
}

/* ln(P + eps). Near 1 through the complement; with eps = 0 without exp, which underflows long before ln P is
 * anything unusual. */
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

/* x / (x + eps); 1, its limit, where x has underflowed and eps = 0. */
static double damp(double x, double eps)
{
    return eps > 0 ? x / (x + eps) : 1;
}

/* z = cap tanh(z / cap) */
void osv_ref_softcap(osv_ops *o, osv_real *z, double cap, size_t n)
{
    if (osv_ops_status(o)) return;
    for (size_t i = 0; i < n; i++) z[i] = (osv_real)(cap * tanh(z[i] / cap));
}

void osv_ref_score_max(osv_ops *o, osv_real *max, const osv_real *z, int R, int V)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < R; r++) {
        max[r] = -INFINITY; /* of an empty slice; NaN shows up in score_sum */
        for (int j = 0; j < V; j++)
            if (z[(size_t)r * V + j] > max[r]) max[r] = z[(size_t)r * V + j];
    }
}

/* sum[s] = {rest, a}, this slice's share of them */
void osv_ref_score_sum(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                       const osv_scores *scores, int V)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < scores->R; r++) {
        const osv_real *row = z + (size_t)r * V;
        double coldness = scores->coldness[r];
        for (int s = scores->first[r]; s < scores->first[r + 1]; s++) {
            int target = scores->target[s] - scores->first_id;
            double rest = 0, a = 0;
            for (int j = 0; j < V; j++) {
                double exponent = coldness * ((double)row[j] - max[r]);
                if (j == target)
                    a = exponent;
                else
                    rest += exp(exponent);
            }
            sum[2 * (size_t)s] = (osv_real)rest;
            sum[2 * (size_t)s + 1] = (osv_real)a;
        }
    }
}

void osv_ref_score(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_scores *scores)
{
    if (osv_ops_status(o)) return;
    for (int r = 0; r < scores->R; r++)
        for (int s = scores->first[r]; s < scores->first[r + 1]; s++) {
            probability p = from_sums(sum + 2 * (size_t)s);
            double eps = scores->eps[r], value = NAN;
            switch ((osv_score_kind)scores->kind[s]) {
            case OSV_PROMOTE: value = -log_target(&p, eps); break;
            case OSV_NEGATED: value = log_target(&p, eps); break;
            case OSV_ONE_MINUS: value = -log_rest(&p, eps); break;
            }
            loss[s] = (osv_real)value;
        }
}

/* The derivative of one loss by z_j. With p_j = e_j / total,
 *     dP/dz_t = c P Q,   dP/dz_j = -c P p_j for j != t
 * so every kind is slope (c Q at the target, -c p_j elsewhere), where slope = P dloss/dP is
 *     promote -P / (P + eps),   negated P / (P + eps),   one minus P / (Q + eps)
 * For one minus, P goes to 1 where Q vanishes: there Q / (Q + eps) and p_j / (Q + eps) are the quotients that
 * stay finite. */
static double score_slope(const probability *p, osv_score_kind kind, double coldness, double eps, bool target,
                          double share)
{
    switch (kind) {
    case OSV_PROMOTE: return -damp(p->P, eps) * coldness * (target ? p->Q : -share);
    case OSV_NEGATED: return damp(p->P, eps) * coldness * (target ? p->Q : -share);
    case OSV_ONE_MINUS:
        if (target) return p->P * coldness * damp(p->Q, eps);
        return share == 0 ? 0 : -p->P * coldness * share / (p->Q + eps);
    }
    return NAN;
}

void osv_ref_score_dx(osv_ops *o, osv_real *z, const osv_real *max, const osv_real *sum, const osv_real *w,
                      const osv_scores *scores, int V)
{
    if (osv_ops_status(o)) return;
    double cap = scores->softcap;
    double *dz = osv_ref_scratch(o, (size_t)V);
    if (!dz) return;
    for (int r = 0; r < scores->R; r++) {
        osv_real *row = z + (size_t)r * V;
        double coldness = scores->coldness[r], eps = scores->eps[r];
        for (int j = 0; j < V; j++) dz[j] = 0;
        for (int s = scores->first[r]; s < scores->first[r + 1]; s++) {
            probability p = from_sums(sum + 2 * (size_t)s);
            for (int j = 0; j < V; j++) {
                double share = exp(coldness * ((double)row[j] - max[r])) / p.total;
                bool target = j == scores->target[s] - scores->first_id;
                dz[j] += w[s] *
                         score_slope(&p, (osv_score_kind)scores->kind[s], coldness, eps, target, share);
            }
        }
        for (int j = 0; j < V; j++) {
            /* back through cap tanh(x / cap), whose slope is 1 - tanh^2 */
            double t = cap > 0 ? row[j] / cap : 0;
            row[j] = (osv_real)(dz[j] * (1 - t * t));
        }
    }
}
