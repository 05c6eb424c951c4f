/* Which rows of a pass have logits, and what is asked of them. */
#ifndef OSV_ENGINE_SCORES_H
#define OSV_ENGINE_SCORES_H

#include "engine/batch.h"

/* One loss: of a target id, or of a distribution. */
typedef struct {
    int row, place; /* place: which entry of completion_score it is */
    double coldness, eps;
    int target, kind;
    const osv_real *logp; /* [vocabulary], or NULL: of the target */
    bool reverse;
} osv_asked;

/* Fills R, scored, scores and distributions of a pass; sorts `asked`. every_row: rows that nobody asks have
 * logits too. first_id: losses of other passes that come before this one's. */
int osv_scores_build(osv_pass *p, osv_asked *asked, int count, bool every_row, int *completion_score,
                     int first_id, osv_error *e);

#endif
