/* Which rows of a pass are held against where they are without a vector, and at which block. */
#ifndef OSV_ENGINE_DISTANCES_H
#define OSV_ENGINE_DISTANCES_H

#include "engine/batch.h"

/* One distance that a completion asks for. */
typedef struct {
    int layer, row, place; /* at block_input:layer; place: which entry of completion_score it is */
    double power;          /* the same for all of a row */
} osv_asked_distance;

/* Fills distances and distance_first of a pass; sorts `asked`. What is asked twice is one loss. first_id:
 * losses of the pass that come before these. */
int osv_distances_build(osv_pass *p, osv_asked_distance *asked, int count, int N, int *completion_score,
                        int first_id, osv_error *e);

#endif
