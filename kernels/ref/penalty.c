#include "kernels/penalty.h"

#include <math.h>

#include "kernels/ref/ref.h"

static double dot(const osv_real *a, const osv_real *b, int D)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)a[d] * b[d];
    return sum;
}

/* gram[i, j] = row i . row j of a factor [rank, D] */
static void make_gram(osv_real *gram, const osv_real *factor, int rank, int D)
{
    for (int i = 0; i < rank; i++)
        for (int j = 0; j < rank; j++)
            gram[i * rank + j] = (osv_real)dot(factor + (size_t)i * D, factor + (size_t)j * D, D);
}

/* Of a job's v together, and of its maps. */
typedef struct {
    double vector, map;
} lengths;

static lengths measure(const osv_real *p, const osv_penalty *c, const osv_real *gram, int D)
{
    double vector = 0, map = 0;
    for (int b = 0; b < c->blocks; b++) {
        const osv_real *v = p + osv_penalty_v(c, b, D);
        vector += dot(v, v, D);
        map += dot(gram + osv_penalty_gram(c, b, 0), gram + osv_penalty_gram(c, b, 1), c->rank * c->rank);
    }
    return (lengths){sqrt(vector), map > 0 ? sqrt(map) : 0};
}

/* Of v at one block; returns what it costs by itself. */
static double vector_dp(osv_real *dv, const osv_real *v, const osv_penalty *c, double all, int D)
{
    double own = sqrt(dot(v, v, D)), sum = 0;
    double factor = (own > 0 ? c->group / own : 0) + (all > 0 ? c->norm / all : 0);
    for (int d = 0; d < D; d++) {
        double sign = v[d] > 0 ? 1 : v[d] < 0 ? -1 : 0;
        dv[d] = (osv_real)(dv[d] + c->l1 * sign + factor * v[d]);
        sum += fabs((double)v[d]);
    }
    return c->l1 * sum + c->group * own;
}

/* `other` is the gram of the other factor. */
static void factor_dp(osv_real *dp, const osv_real *factor, const osv_real *other, const osv_penalty *c,
                      double map, int D)
{
    for (int i = 0; map > 0 && i < c->rank; i++)
        for (int d = 0; d < D; d++) {
            double sum = 0;
            for (int j = 0; j < c->rank; j++)
                sum += (double)other[i * c->rank + j] * factor[(size_t)j * D + d];
            dp[(size_t)i * D + d] = (osv_real)(dp[(size_t)i * D + d] + c->norm / map * sum);
        }
}

void osv_ref_penalty(osv_ops *o, osv_real *dp, osv_real *cost, const osv_real *p, const osv_penalty *penalty,
                     osv_real *gram, int rows, int D, int J)
{
    if (osv_ops_status(o)) return;
    (void)rows;
    for (int j = 0; j < J; j++) {
        const osv_penalty *c = &penalty[j];
        size_t factor = (size_t)c->rank * D;
        for (int b = 0; b < c->blocks; b++) {
            const osv_real *left = p + osv_penalty_v(c, b, D) + D;
            make_gram(gram + osv_penalty_gram(c, b, 0), left, c->rank, D);
            make_gram(gram + osv_penalty_gram(c, b, 1), left + factor, c->rank, D);
        }
        lengths of = measure(p, c, gram, D);
        double sum = c->norm * (of.vector + of.map);
        for (int b = 0; b < c->blocks; b++) {
            size_t v = osv_penalty_v(c, b, D), left = v + D, right = left + factor;
            sum += vector_dp(dp + v, p + v, c, of.vector, D);
            factor_dp(dp + left, p + left, gram + osv_penalty_gram(c, b, 1), c, of.map, D);
            factor_dp(dp + right, p + right, gram + osv_penalty_gram(c, b, 0), c, of.map, D);
        }
        cost[j] = (osv_real)sum;
    }
}
