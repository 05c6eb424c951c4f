#include "tests/golden_check.h"

#include <criterion/criterion.h>
#include <math.h>

double golden_distance(const double *a, const double *b, int n)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < n; i++) difference += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
    return sqrt(difference / norm);
}

double golden_cosine(const double *a, const double *b, int n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    return ab / sqrt(aa * bb);
}

int golden_list(double *out, const json_t *list)
{
    int n = (int)json_array_size(list);
    for (int i = 0; i < n; i++) out[i] = json_number_value(json_array_get(list, (size_t)i));
    return n;
}

void golden_check_numbers(const char *who, const json_t *golden, const char *key, const double *got, int n,
                          double tolerance)
{
    const json_t *list = json_object_get(golden, key);
    cr_assert_geq((int)json_array_size(list), n, "%s: %s", who, key);
    for (int i = 0; i < n; i++) {
        double want = json_number_value(json_array_get(list, (size_t)i));
        cr_assert(fabs(got[i] - want) <= tolerance * fabs(want), "%s: %s[%d] is %.9g, golden %.9g", who, key,
                  i, got[i], want);
    }
}

void golden_check_losses(const char *who, const char *what, const double *losses, const json_t *golden,
                         double tolerance, double slack)
{
    size_t i;
    json_t *x;
    cr_assert(json_array_size(golden) > 0);
    json_array_foreach(golden, i, x)
    {
        double want = json_number_value(x), allowed = tolerance * fabs(want) + slack;
        cr_assert(fabs(losses[i] - want) <= allowed, "%s: %s[%zu] is %.9g, golden %.9g", who, what, i,
                  losses[i], want);
    }
}
