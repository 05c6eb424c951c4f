#include "optim/turn.h"

#include "optim/adam.h"
#include "optim/noise.h"
#include "optim/objective.h"

void osv_turn_place(osv_turn *out, osv_bump *memory, const osv_batch *batch)
{
    size_t from = memory->used;
    out->params = osv_take(memory, (size_t)batch->P, sizeof *out->params);
    out->noise = osv_take(memory, (size_t)batch->P, sizeof *out->noise);
    out->weight = osv_take(memory, (size_t)batch->C, sizeof *out->weight);
    out->bound = osv_take(memory, (size_t)batch->C, sizeof *out->bound);
    out->bytes = memory->used - from;
}

void osv_turn_fill(const osv_turn *turn, const osv_job *job, const osv_job_state *state, int param,
                   int completion)
{
    bool rests = state->stopped != OSV_RUNNING;
    int step = state->steps - state->from + 1;
    for (int row = 0; row < osv_job_rows(job); row++) {
        turn->params[param + row] = osv_adam_step(job, row, step, rests);
        turn->noise[param + row] = osv_noise_of(job, row, state->steps);
    }
    for (int c = 0; c < job->completions; c++) {
        turn->weight[completion + c] = (osv_real)osv_weight_of(job, c, state->steps);
        turn->bound[completion + c] = osv_multiplier_params(job, step, rests);
    }
}
