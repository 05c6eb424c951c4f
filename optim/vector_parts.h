/* The tensors of a vector file: which rows of a block's parameters each holds, and its name. */
#ifndef OSV_OPTIM_VECTOR_PARTS_H
#define OSV_OPTIM_VECTOR_PARTS_H

#include "kernels/ops.h"

/* In the order of the rows of a form (kernels/ops.h). */
typedef enum { OSV_PART_VECTOR, OSV_PART_OFFSET, OSV_PART_LEFT, OSV_PART_RIGHT, OSV_PARTS } osv_vector_part;

/* Rows of the part, the first of them being *first; 0: the form has no such part. */
int osv_vector_part_rows(osv_form form, osv_vector_part part, int *first);

enum { OSV_VECTOR_NAME = 24 };
/* "left", or "left.12" where layer >= 0. */
void osv_vector_part_name(char name[OSV_VECTOR_NAME], osv_vector_part part, int layer);

#endif
