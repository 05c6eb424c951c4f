/* Numbers against golden ones: of JSON lists and tensors, NaN-safe. */
#ifndef OSV_TESTS_GOLDEN_CHECK_H
#define OSV_TESTS_GOLDEN_CHECK_H

#include <jansson.h>

/* Norm of the difference over norm of b. */
double golden_distance(const double *a, const double *b, int n);
double golden_cosine(const double *a, const double *b, int n);

/* Returns how many. */
int golden_list(double *out, const json_t *list);

/* The first n of a list of numbers. */
void golden_check_numbers(const char *who, const json_t *golden, const char *key, const double *got, int n,
                          double tolerance);

/* Losses, one a completion. A small suppress loss is about P, whose relative error is the absolute error of a
 * logit: in fp32 it is known to 1e-6 absolute rather than to 1e-5 of itself (transformers' own differ from
 * the oracle by 4e-7): `slack`. The sum has no such excuse. */
void golden_check_losses(const char *who, const char *what, const double *losses, const json_t *golden,
                         double tolerance, double slack);

#endif
