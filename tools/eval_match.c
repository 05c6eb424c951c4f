#include "tools/eval_match.h"

#include <math.h>
#include <string.h>

static void trim(const char **text, size_t *bytes)
{
    static const char blank[] = " \t\n\v\f\r";
    while (*bytes && memchr(blank, **text, sizeof blank - 1)) ++*text, --*bytes;
    while (*bytes && memchr(blank, (*text)[*bytes - 1], sizeof blank - 1)) --*bytes;
}

bool eval_matches(eval_match how, const char *answer, size_t bytes, const char *expected)
{
    size_t length = strlen(expected);
    trim(&answer, &bytes);
    trim(&expected, &length);
    if (length > bytes) return false;
    switch (how) {
    case EVAL_EXACT: return length == bytes && memcmp(answer, expected, length) == 0;
    case EVAL_PREFIX: return memcmp(answer, expected, length) == 0;
    case EVAL_CONTAINS: return length == 0 || memmem(answer, bytes, expected, length);
    }
    return false;
}

bool eval_matches_any(eval_match how, const char *answer, size_t bytes, const json_t *expected)
{
    for (size_t i = 0; i < json_array_size(expected); i++)
        if (eval_matches(how, answer, bytes, json_string_value(json_array_get(expected, i)))) return true;
    return false;
}

/* Wilson's interval (Wilson 1927) for a share p = counted / n, z = 1.96:
 *
 *     (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
 *
 * Unlike p +- z sqrt(p (1 - p) / n) it stays within 0 .. 1 and does not shrink to a point at 0 and n of n. */
eval_share eval_wilson(int counted, int n)
{
    const double z = 1.959963984540054; /* 97.5 % of a normal distribution lie below */
    if (n == 0) return (eval_share){NAN, NAN, NAN};
    double p = (double)counted / n, z2 = z * z / n;
    double middle = p + z2 / 2, half = z * sqrt(p * (1 - p) / n + z2 / (4 * n)), whole = 1 + z2;
    double low = counted == 0 ? 0 : (middle - half) / whole,
           high = counted == n ? 1 : (middle + half) / whole;
    return (eval_share){100 * p, 100 * low, 100 * high};
}
