/* The forms in which a vector meets the residual stream (osv_form in kernels/ops.h), by name: "add",
 * "add-norm", "clamp", "ablate", "affine". */
#ifndef OSV_OPTIM_FORM_H
#define OSV_OPTIM_FORM_H

#include "kernels/ops.h"

/* "add", "add-norm", "clamp" (to 1), "clamp:C", "ablate", "affine" (of rank 0: the caller knows it). false:
 * none of these. */
bool osv_form_parse(osv_form *f, const char *text);

/* "clamp" whatever it is clamped to; "ablate" for a clamp to 0. */
const char *osv_form_name(osv_form f);

enum { OSV_FORM_ROOM = 40 };
/* With the number: "clamp:0.5". */
const char *osv_form_show(char text[OSV_FORM_ROOM], osv_form f);

/* Parameters times a scale, as a user means it: v and an affine map M = left^T right, not the offset of a
 * clamp. to, from [osv_form_params(f), D] */
void osv_form_scale(osv_form f, osv_real *to, const osv_real *from, double scale, int D);

#endif
