/* What changes from one iteration of a bin to the next. It lies in one piece, so that a recorded graph begins
 * with one copy of it. */
#ifndef OSV_OPTIM_TURN_H
#define OSV_OPTIM_TURN_H

#include "engine/batch.h"
#include "engine/bump.h"
#include "optim/state.h"

typedef struct {
    size_t bytes;            /* of the piece, */
    osv_adam_params *params; /* which begins here: [P] of the rows of parameters */
    osv_noise *noise;        /* [P] likewise */
    osv_real *weight;        /* [C] of the completions, as in osv_objective */
    osv_adam_params *bound;  /* [C] of their multipliers */
} osv_turn;

/* In the memory of a device or of the host. */
void osv_turn_place(osv_turn *out, osv_bump *memory, const osv_batch *batch);

/* Of the host's: what the next step of a job is given, whose parameters and completions begin at these places
 * of the batch. */
void osv_turn_fill(const osv_turn *turn, const osv_job *job, const osv_job_state *state, int param,
                   int completion);

#endif
