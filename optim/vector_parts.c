#include "optim/vector_parts.h"

#include <stdio.h>

int osv_vector_part_rows(osv_form form, osv_vector_part part, int *first)
{
    int rank = form.kind == OSV_FORM_AFFINE ? form.rank : 0;
    *first = part == OSV_PART_VECTOR ? 0 : part == OSV_PART_RIGHT ? 1 + rank : 1;
    if (part == OSV_PART_VECTOR) return 1;
    if (part == OSV_PART_OFFSET) return form.kind == OSV_FORM_CLAMP && form.offset;
    return rank;
}

void osv_vector_part_name(char name[OSV_VECTOR_NAME], osv_vector_part part, int layer)
{
    static const char *const text[] = {"vector", "offset", "left", "right"};
    if (layer < 0)
        snprintf(name, OSV_VECTOR_NAME, "%s", text[part]);
    else
        snprintf(name, OSV_VECTOR_NAME, "%s.%d", text[part], layer);
}
