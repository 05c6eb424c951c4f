/* Who looks at whom in attention, from the forest of a pass: query tiles with their K/V ranges, K/V tiles
 * with their query rows. */
#ifndef OSV_ENGINE_WORKLIST_H
#define OSV_ENGINE_WORKLIST_H

#include "engine/batch.h"

/* Rows of `p` have the slots slot0 + row; rows of `base`, to which p's first tokens may hang, have the slots
 * that are their rows. Only the rows query[0 .. queries) ask (rising; NULL: all), and q holds these rows
 * alone. Host arrays, released by osv_worklist_free. */
int osv_worklist_build(osv_worklist *w, const osv_pass *p, int slot0, const osv_pass *base, const int *query,
                       int queries, osv_error *e);
void osv_worklist_free(osv_worklist *w);

/* The keys from the root to `row`, itself included: *range is malloc'ed [*ranges], root first. For tokens
 * that are appended behind it. */
int osv_path_ranges(osv_kv_range **range, int *ranges, const osv_pass *p, int row, osv_error *e);

#endif
