#include "optim/vector_math.h"

#include <math.h>

double osv_vector_dot(const float *a, const float *b, int D)
{
    double sum = 0;
    for (int i = 0; i < D; i++) sum += (double)a[i] * b[i];
    return sum;
}

double osv_vector_norm(const float *a, int D)
{
    return sqrt(osv_vector_dot(a, a, D));
}

double osv_vector_cosine(const float *a, const float *b, int D)
{
    /* one root for both, so that a vector and itself have exactly 1; rounding may go beyond it elsewhere */
    double cosine = osv_vector_dot(a, b, D) / sqrt(osv_vector_dot(a, a, D) * osv_vector_dot(b, b, D));
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

void osv_vector_add(double *sum, double weight, const float *a, int D)
{
    for (int i = 0; i < D; i++) sum[i] += weight * (double)a[i];
}
