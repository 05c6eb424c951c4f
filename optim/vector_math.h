/* Vectors in files, compared and put together: sums in double. */
#ifndef OSV_OPTIM_VECTOR_MATH_H
#define OSV_OPTIM_VECTOR_MATH_H

double osv_vector_dot(const float *a, const float *b, int D);
double osv_vector_norm(const float *a, int D);
/* Of the angle between them; NaN where one is zero. */
double osv_vector_cosine(const float *a, const float *b, int D);

/* sum += weight a, each [D] */
void osv_vector_add(double *sum, double weight, const float *a, int D);

#endif
