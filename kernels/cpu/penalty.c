#include "kernels/penalty.h"

#include <math.h>

#include "kernels/cpu/cpu.h"

OSV_CPU_CLONES
static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

OSV_CPU_CLONES
static double absolutes(const float *v, int D)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++) sum += fabs((double)v[d]);
    return sum;
}

/* out += b y */
OSV_CPU_CLONES
static void add_scaled(float *restrict out, double b, const float *restrict y, int D)
{
#pragma omp simd
    for (int d = 0; d < D; d++) out[d] = (float)(out[d] + b * y[d]);
}

OSV_CPU_CLONES
static void add_sign(float *restrict out, double l1, const float *restrict v, int D)
{
    for (int d = 0; d < D; d++) out[d] = (float)(out[d] + (v[d] > 0 ? l1 : v[d] < 0 ? -l1 : 0));
}

/* Of a job's v together, and of its maps; made anew for every row: few numbers, and in the cache. */
typedef struct {
    double vector, map;
} lengths;

static lengths measure(const float *p, const osv_penalty *c, const float *gram, int D)
{
    double vector = 0, map = 0;
    for (int b = 0; b < c->blocks; b++) {
        const float *v = p + osv_penalty_v(c, b, D);
        vector += dot(v, v, D);
        map += dot(gram + osv_penalty_gram(c, b, 0), gram + osv_penalty_gram(c, b, 1), c->rank * c->rank);
    }
    return (lengths){sqrt(vector), map > 0 ? sqrt(map) : 0};
}

static void make_gram(float *gram, const float *p, const osv_penalty *c, osv_penalty_row row, int D)
{
    float *out = gram + osv_penalty_gram(c, row.block, row.factor) + (size_t)row.i * c->rank;
    for (int j = 0; j < c->rank; j++) out[j] = (float)dot(p + row.at, p + row.from + (size_t)j * D, D);
}

static void add_gradient(float *dp, const float *p, const osv_penalty *c, osv_penalty_row row,
                         const float *gram, int D)
{
    const float *x = p + row.at;
    float *out = dp + row.at;
    lengths of = measure(p, c, gram, D);
    if (row.factor < 0) {
        double own = sqrt(dot(x, x, D));
        double factor = (own > 0 ? c->group / own : 0) + (of.vector > 0 ? c->norm / of.vector : 0);
        add_sign(out, c->l1, x, D);
        add_scaled(out, factor, x, D);
    } else if (of.map > 0) {
        const float *other = gram + osv_penalty_gram(c, row.block, !row.factor) + (size_t)row.i * c->rank;
        for (int j = 0; j < c->rank; j++)
            add_scaled(out, c->norm / of.map * other[j], p + row.from + (size_t)j * D, D);
    }
}

static double cost_of(const float *p, const osv_penalty *c, const float *gram, int D)
{
    lengths of = measure(p, c, gram, D);
    double sum = c->norm * (of.vector + of.map);
    for (int b = 0; b < c->blocks; b++) {
        const float *v = p + osv_penalty_v(c, b, D);
        sum += c->l1 * absolutes(v, D) + c->group * sqrt(dot(v, v, D));
    }
    return sum;
}

/* An item is a row of a job's parameters. */
void osv_cpu_penalty(osv_ops *o, float *dp, float *cost, const float *p, const osv_penalty *penalty,
                     float *gram, int rows, int D, int J)
{
    if (osv_cpu_failed(o)) return;
    int threads = osv_cpu_threads(o, (double)J * rows * D);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int item = 0; item < J * rows; item++) {
        const osv_penalty *c = &penalty[item / rows];
        osv_penalty_row row = osv_penalty_row_of(c, item % rows, D);
        if (row.exists && row.factor >= 0) make_gram(gram, p, c, row, D);
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int item = 0; item < J * rows; item++) {
        const osv_penalty *c = &penalty[item / rows];
        osv_penalty_row row = osv_penalty_row_of(c, item % rows, D);
        if (row.exists) add_gradient(dp, p, c, row, gram, D);
        if (item % rows == 0) cost[item / rows] = (float)cost_of(p, c, gram, D);
    }
}
