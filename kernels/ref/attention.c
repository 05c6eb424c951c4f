#include "kernels/ref/ref.h"

#include <math.h>

/* Softmax attention (Vaswani et al. 2017) over the forest. For one query row and head,
 *     s_j = scale q.k_j, capped: c tanh(s_j / c);   p_j = exp(s_j - lse);   out = sum of p_j v_j
 * over the keys that its work list names and its position lets it see. */

static bool visible(const osv_attention *a, int query, int key)
{
    return key <= query && (a->window <= 0 || query - key < a->window);
}

static int kv_head(const osv_heads *heads, int h)
{
    return (heads->first + h) / heads->group - heads->first / heads->group;
}

/* sum over the head dim, both sides as a matrix product sees them */
static double dot(const osv_ops *o, const osv_real *a, const osv_real *b, int E)
{
    double sum = 0;
    for (int e = 0; e < E; e++) sum += osv_ref_round(o, a[e]) * osv_ref_round(o, b[e]);
    return sum;
}

/* s of a query and a key; *slope is ds / d(q.k) */
static double similarity(const osv_ops *o, const osv_attention *a, const osv_real *q, const osv_real *k,
                         double *slope)
{
    double s = a->scale * dot(o, q, k, a->heads.E);
    *slope = a->scale;
    if (a->softcap > 0) {
        double t = tanh(s / a->softcap);
        s = a->softcap * t;
        *slope *= 1 - t * t;
    }
    return s;
}

/* One query row and head. `score` has room for all keys of the ranges. */
static void attend(const osv_ops *o, osv_real *out, osv_real *lse, const osv_real *q, const osv_real *k,
                   const osv_real *v, int pos, const osv_kv_range *range, int ranges, int h,
                   const osv_attention *a, double *score)
{
    int E = a->heads.E, stride = a->heads.K * E;
    const osv_real *key = k + kv_head(&a->heads, h) * E, *value = v + kv_head(&a->heads, h) * E;
    double max = -INFINITY, slope;
    double *at = score;
    for (int i = 0; i < ranges; i++)
        for (int n = 0; n < range[i].count; n++, at++) {
            *at = -INFINITY;
            if (!visible(a, pos, range[i].pos + n)) continue;
            *at = similarity(o, a, q, key + (size_t)(range[i].slot + n) * stride, &slope);
            if (*at > max) max = *at;
        }
    double total = 0;
    for (double *p = score; p < at; p++) {
        *p = *p == -INFINITY ? 0 : exp(*p - max);
        total += *p;
    }
    *lse = (osv_real)(max + log(total));
    for (int e = 0; e < E; e++) {
        double sum = 0;
        const double *p = score;
        for (int i = 0; i < ranges; i++)
            for (int n = 0; n < range[i].count; n++, p++)
                if (*p != 0)
                    sum += osv_ref_round(o, *p) *
                           osv_ref_round(o, value[(size_t)(range[i].slot + n) * stride + e]);
        out[e] = (osv_real)(total == 0 ? 0 : sum / total); /* a row without keys has nothing to look at */
    }
}

void osv_ref_attention(osv_ops *o, osv_real *out, osv_real *lse, const osv_real *q, const osv_real *k,
                       const osv_real *v, const osv_worklist *work, const osv_attention *a)
{
    if (osv_ops_status(o)) return;
    int H = a->heads.H, E = a->heads.E;
    for (int t = 0; t < work->query_tiles; t++) {
        const osv_query_tile *tile = &work->query_tile[t];
        const osv_kv_range *range = work->kv_range + tile->first;
        size_t keys = 0;
        for (int i = 0; i < tile->ranges; i++) keys += (size_t)range[i].count;
        double *score = osv_ref_scratch(o, keys);
        if (!score) return;
        for (int r = tile->row; r < tile->row + tile->count; r++)
            for (int h = 0; h < H; h++) {
                size_t at = (size_t)r * H + h;
                attend(o, out + at * E, lse + at, q + at * E, k, v, work->pos[r], range, tile->ranges, h, a,
                       score);
            }
    }
}

/* What the gradients of one pair of query and key are made of:
 *     p, and ds = p (dout.v - delta) slope, the gradient of q.k, with delta = sum of p_j dout.v_j = dout.out
 */
typedef struct {
    double p, ds;
} pair;

static pair pair_dx(const osv_ops *o, const osv_attention *a, const osv_real *q, const osv_real *k,
                    const osv_real *v, const osv_real *dout, double lse, double delta)
{
    double slope, s = similarity(o, a, q, k, &slope);
    double p = exp(s - lse);
    double ds = p * (dot(o, dout, v, a->heads.E) - delta) * slope;
    return (pair){osv_ref_round(o, p), osv_ref_round(o, ds)};
}

/* dq = sum over keys of ds k, `sum` [E] */
static void query_dx(const osv_ops *o, osv_real *dq, const osv_real *q, const osv_real *k, const osv_real *v,
                     const osv_real *dout, double lse, double delta, int pos, const osv_kv_range *range,
                     int ranges, int h, const osv_attention *a, double *sum)
{
    int E = a->heads.E, stride = a->heads.K * E;
    for (int e = 0; e < E; e++) sum[e] = 0;
    for (int i = 0; i < ranges; i++)
        for (int n = 0; n < range[i].count; n++) {
            if (!visible(a, pos, range[i].pos + n)) continue;
            size_t at = (size_t)(range[i].slot + n) * stride + kv_head(&a->heads, h) * E;
            pair g = pair_dx(o, a, q, k + at, v + at, dout, lse, delta);
            for (int e = 0; e < E; e++) sum[e] += g.ds * osv_ref_round(o, k[at + e]);
        }
    for (int e = 0; e < E; e++) dq[e] = (osv_real)sum[e];
}

/* dk = sum over queries and their heads of ds q, dv = the same of p dout, for one key and kv head.
 * `sum` [2, E] */
static void key_dx(const osv_ops *o, osv_real *dk, osv_real *dv, const osv_real *q, const osv_real *k,
                   const osv_real *v, const osv_real *dout, const osv_real *lse, const osv_real *delta,
                   int pos, const osv_kv_tile *tile, int head, const osv_worklist *work,
                   const osv_attention *a, double *sum)
{
    int H = a->heads.H, E = a->heads.E;
    double *sum_k = sum, *sum_v = sum + E;
    for (int e = 0; e < 2 * E; e++) sum[e] = 0;
    for (int r = tile->row; r < tile->row + tile->rows; r++) {
        if (!visible(a, work->pos[r], pos)) continue;
        for (int h = 0; h < H; h++) {
            if (kv_head(&a->heads, h) != head) continue;
            size_t row = (size_t)r * H + h, at = row * E;
            pair g = pair_dx(o, a, q + at, k, v, dout + at, lse[row], delta[row]);
            for (int e = 0; e < E; e++) {
                sum_k[e] += g.ds * osv_ref_round(o, q[at + e]);
                sum_v[e] += g.p * osv_ref_round(o, dout[at + e]);
            }
        }
    }
    for (int e = 0; e < E; e++) {
        dk[e] = (osv_real)sum_k[e];
        dv[e] = (osv_real)sum_v[e];
    }
}

void osv_ref_attention_dx(osv_ops *o, osv_real *dq, osv_real *dk, osv_real *dv, osv_real *delta,
                          const osv_real *dout, const osv_real *q, const osv_real *k, const osv_real *v,
                          const osv_real *out, const osv_real *lse, const osv_worklist *work,
                          const osv_attention *a)
{
    if (osv_ops_status(o)) return;
    int H = a->heads.H, K = a->heads.K, E = a->heads.E;
    double *sum = osv_ref_scratch(o, 2 * (size_t)E);
    if (!sum) return;
    for (size_t row = 0; row < (size_t)work->rows * H; row++) {
        double product = 0;
        for (int e = 0; e < E; e++) product += (double)dout[row * E + e] * out[row * E + e];
        delta[row] = (osv_real)product;
    }
    for (int t = 0; t < work->query_tiles; t++) {
        const osv_query_tile *tile = &work->query_tile[t];
        for (int r = tile->row; r < tile->row + tile->count; r++)
            for (int h = 0; h < H; h++) {
                size_t row = (size_t)r * H + h, at = row * E;
                query_dx(o, dq + at, q + at, k, v, dout + at, lse[row], delta[row], work->pos[r],
                         work->kv_range + tile->first, tile->ranges, h, a, sum);
            }
    }
    for (int t = 0; t < work->kv_tiles; t++) {
        const osv_kv_tile *tile = &work->kv_tile[t];
        for (int n = 0; n < tile->count; n++)
            for (int head = 0; head < K; head++) {
                int slot = tile->slot + n;
                size_t at = ((size_t)slot * K + head) * E;
                size_t live = ((size_t)(slot - work->live_slot) * K + head) * E;
                key_dx(o, dk + live, dv + live, q, k + at, v + at, dout, lse, delta, tile->pos + n, tile,
                       head, work, a, sum);
            }
    }
}
