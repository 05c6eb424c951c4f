#include "optim/form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"

bool osv_form_parse(osv_form *f, const char *text)
{
    static const struct {
        const char *name;
        osv_form form;
    } table[] = {{"add", {.kind = OSV_FORM_ADD}},
                 {"add-norm", {.kind = OSV_FORM_ADD_NORM}},
                 {"clamp", {.kind = OSV_FORM_CLAMP, .clamp = 1}},
                 {"ablate", {.kind = OSV_FORM_CLAMP}},
                 {"affine", {.kind = OSV_FORM_AFFINE}}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        *f = table[i].form;
        if (strcmp(text, table[i].name) == 0) return true;
    }
    char *end = NULL;
    if (strncmp(text, "clamp:", 6) != 0 || !strchr("+-.0123456789", text[6])) return false;
    *f = (osv_form){.kind = OSV_FORM_CLAMP, .clamp = strtod(text + 6, &end)};
    return end > text + 6 && *end == '\0' && isfinite(f->clamp);
}

const char *osv_form_name(osv_form f)
{
    if (f.kind == OSV_FORM_CLAMP) return f.clamp == 0 && !f.offset ? "ablate" : "clamp";
    return f.kind == OSV_FORM_AFFINE ? "affine" : f.kind == OSV_FORM_ADD_NORM ? "add-norm" : "add";
}

const char *osv_form_show(char text[OSV_FORM_ROOM], osv_form f)
{
    const char *name = osv_form_name(f);
    if (strcmp(name, "clamp") != 0) return name;
    snprintf(text, OSV_FORM_ROOM, "clamp:%g", f.clamp);
    return text;
}

void osv_form_scale(osv_form f, osv_real *to, const osv_real *from, double scale, int D)
{
    int rows = osv_form_params(f), rank = osv_form_rank(f);
    for (int k = 0; k < rows; k++) {
        bool scaled = k == 0 || (rank > 0 && k <= rank); /* v, left */
        for (int d = 0; d < D; d++)
            to[k * D + d] = (osv_real)((scaled ? scale : 1) * (double)from[k * D + d]);
    }
}
