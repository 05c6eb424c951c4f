#include "loader/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool osv_target_parse(osv_target *t, const char *text)
{
    const char *end = text + strspn(text, "+-.0123456789eE");
    char *read;
    *t = (osv_target){.kind = OSV_TARGET_UNSTEERED, .x = 1};
    if (strcmp(text, "unsteered") == 0) return true;
    t->x = strtod(text, &read);
    return end > text && read == end && strcmp(end, "x") == 0 && isfinite(t->x) && t->x > 0;
}
