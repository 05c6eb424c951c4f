/* A trie of tokens -> the rows of a pass. */
#ifndef OSV_ENGINE_FOREST_H
#define OSV_ENGINE_FOREST_H

#include "engine/batch.h"
#include "engine/trie.h"

/* Rows in preorder, bucket by bucket (rising); a node whose parent is in another bucket is a root here. Fills
 * the pass's T, id, pos, end and segment, allocates parent (the caller's to fill), and sets row[node].
 * bucket, row [t->count] */
int osv_forest_rows(osv_pass *p, const osv_trie *t, const long *bucket, int *row, osv_error *e);

/* Releases all host arrays of a pass. */
void osv_pass_free(osv_pass *p);

#endif
