/* One batch on one model: the unsteered pass once, then forward and backward as often as the optimizer likes.
 *
 *     osv_step_open -> osv_prefix -> { osv_forward -> (objective fills w) -> osv_backward } ... ->
 * osv_step_close
 *
 * A step owns its device memory and borrows model, batch, ops and communicator, which must outlive it. Calls
 * enqueue ops and return; what they hit is in the ops' sticky error. */
#ifndef OSV_ENGINE_STEP_H
#define OSV_ENGINE_STEP_H

#include "engine/block.h"

typedef struct {
    osv_engine engine;
    const osv_batch *batch;
    osv_switches on;
    osv_buffers buffer;
    void *memory;
    size_t bytes;
} osv_step;

int osv_step_open(osv_step **out, osv_ops *ops, osv_comm *comm, const osv_model *model,
                  const osv_batch *batch, const osv_switches *switches);
void osv_step_close(osv_step *s);

/* engine/prefix.c: unsteered activations at the start layers, frozen keys and values, constant losses. */
void osv_prefix(osv_step *s);

/* engine/forward.c: losses at the parameters p [batch.P, D] -> s->buffer.loss. */
void osv_forward(osv_step *s, const osv_real *p);

/* engine/backward.c: from s->buffer.w -> the first batch.P rows of dp [batch.G, D]; overwrites what forward
 * saved. Blocks of which only the input was kept are computed once more. */
void osv_backward(osv_step *s, const osv_real *p, osv_real *dp);

/* engine/distance.c: x, unsteered, enters block l: the rows that are held against it are kept. */
void osv_distance_keep(const osv_step *s, const osv_real *x, int l);
/* The losses of what enters block l, before it is steered there. */
void osv_distance(const osv_step *s, int l);
/* Adds to scratch.dx their gradients, from s->buffer.w. */
void osv_distance_dx(const osv_step *s, int l);

/* engine/steer.c: the residual stream enters block l here. */
void osv_steer(const osv_step *s, const osv_real *p, int l);
/* scratch.dx, the gradient of what entered block l -> that before it was steered, and dp of its sites. */
void osv_steer_dx(const osv_step *s, osv_real *dp, const osv_real *p, int l);
/* What later blocks gave to parameters that they share is added. */
void osv_steer_sum(const osv_step *s, osv_real *dp);

#endif
