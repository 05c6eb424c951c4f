/* The entries of osv_ops that a family fills, by name: for saying which are missing. */
#ifndef OSV_KERNELS_CUDA_ENTRIES_H
#define OSV_KERNELS_CUDA_ENTRIES_H

#include <string.h>

#include "kernels/ops.h"

/* clang-format off */
#define OSV_ENTRIES(X) \
    X(embed) X(matmul) X(matmul_dx) X(bias) X(rmsnorm) X(rmsnorm_dx) X(residual_add) X(rope) \
    X(attention) X(attention_dx) X(glu) X(glu_dx) \
    X(softcap) X(score_max) X(score_sum) X(score) X(score_dx) X(objective) X(sample) \
    X(apply_add) X(apply_clamp) X(apply_add_dv) X(adam) X(norm) \
    X(gather_rows) X(scatter_rows)
/* clang-format on */

/* The name of the first missing entry from number *at on, which is moved behind it; NULL: no more. */
static inline const char *osv_entry_missing(const osv_ops *o, int *at)
{
    int number = 0;
#define OSV_ENTRY(name)                \
    if (number++ >= *at && !o->name) { \
        *at = number;                  \
        return #name;                  \
    }
    OSV_ENTRIES(OSV_ENTRY)
#undef OSV_ENTRY
    return NULL;
}

/* True unless `name` is an entry that is missing. */
static inline bool osv_entry_there(const osv_ops *o, const char *name)
{
    int at = 0;
    for (const char *missing; (missing = osv_entry_missing(o, &at));)
        if (strcmp(missing, name) == 0) return false;
    return true;
}

#endif
