/* Hands out pieces of one allocation from the front. Without memory it only counts, so a layout is one
 * function that runs twice. */
#ifndef OSV_ENGINE_BUMP_H
#define OSV_ENGINE_BUMP_H

#include <stddef.h>

#include "kernels/ops.h"

enum { OSV_ALIGN = 256 };

typedef struct {
    char *memory; /* NULL: count */
    size_t used;
    osv_ops *o; /* for osv_put; NULL: nothing is copied */
} osv_bump;

static inline void *osv_take(osv_bump *b, size_t count, size_t size)
{
    size_t at = b->used;
    b->used = (at + count * size + OSV_ALIGN - 1) / OSV_ALIGN * OSV_ALIGN;
    return b->memory ? b->memory + at : NULL;
}

/* A copy of a host array. */
static inline void *osv_put(osv_bump *b, const void *host, size_t count, size_t size)
{
    void *p = osv_take(b, count, size);
    if (b->o && count > 0) b->o->copy(b->o, p, host, count * size, OSV_TO_DEVICE);
    return p;
}

#endif
