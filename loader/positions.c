/* The position grammar, "all", "prompt:-20:", "completion:3" -> a mask. */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapoints.h"

typedef enum { ALL, PROMPT, COMPLETION } part;

typedef struct {
    part part;
    bool single;             /* one position, `first` */
    bool has_first, has_end; /* of a slice */
    long first, end;
} positions;

/* An integer of any length; what does not fit is as good as the nearest that does. Returns what follows it.
 */
static const char *read_integer(const char *s, bool *has, long *value)
{
    const char *digits = *s == '-' ? s + 1 : s;
    if (!isdigit((unsigned char)*digits)) return s;
    char *end;
    *value = strtol(s, &end, 10);
    if (*value > INT_MAX) *value = INT_MAX;
    if (*value < -INT_MAX) *value = -INT_MAX;
    *has = true;
    return end;
}

static bool parse(positions *p, const char *spec)
{
    static const char *const name[] = {[ALL] = "all", [PROMPT] = "prompt", [COMPLETION] = "completion"};
    size_t length = strcspn(spec, ":");
    *p = (positions){0};
    int found = -1;
    for (int i = ALL; i <= COMPLETION; i++)
        if (strlen(name[i]) == length && memcmp(spec, name[i], length) == 0) found = i;
    if (found < 0) return false;
    p->part = (part)found;
    const char *s = spec + length;
    if (*s == '\0') return true;
    s = read_integer(s + 1, &p->has_first, &p->first);
    if (*s == '\0') {
        p->single = p->has_first;
        return p->single; /* "all:" names nothing */
    }
    if (*s != ':') return false;
    s = read_integer(s + 1, &p->has_end, &p->end);
    return *s == '\0';
}

static int fail_grammar(int status, const char *spec, const char *where, osv_error *e)
{
    return OSV_FAIL(e, status,
                    "%s: \"%.80s\" is no position; write all, prompt or completion, or a slice of one such "
                    "as prompt:-20:, "
                    "all:3:9 or prompt:-1",
                    where, spec);
}

int osv_positions_check(const char *spec, const char *where, osv_error *e)
{
    positions p;
    return parse(&p, spec) ? OSV_OK : fail_grammar(OSV_USAGE, spec, where, e);
}

/* A bound of a slice as Python takes it: negative from the end, then into [0, n]. */
static long bound(long i, long n)
{
    if (i < 0) i += n;
    return i < 0 ? 0 : i > n ? n : i;
}

int osv_positions_mask(const char *spec, int prompt, int count, signed char *mask, const char *where,
                       osv_error *e)
{
    positions p;
    if (!parse(&p, spec)) return fail_grammar(OSV_BAD_INPUT, spec, where, e);
    long from = p.part == COMPLETION ? prompt : 0, to = p.part == PROMPT ? prompt : count;
    long n = to - from, first = 0, end = n;
    if (p.single) {
        first = p.first < 0 ? p.first + n : p.first;
        end = first + 1;
        if (first < 0 || first >= n)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: position \"%.80s\" does not exist: it counts in %ld tokens", where, spec, n);
    } else {
        if (p.has_first) first = bound(p.first, n);
        if (p.has_end) end = bound(p.end, n);
    }
    memset(mask, 0, (size_t)count);
    for (long i = first; i < end; i++) mask[from + i] = 1;
    return OSV_OK;
}
