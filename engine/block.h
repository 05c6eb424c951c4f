/* One block, and the head, over the packed tokens of a pass: what the unsteered pass, training and decoding
 * share. */
#ifndef OSV_ENGINE_BLOCK_H
#define OSV_ENGINE_BLOCK_H

#include "engine/plan.h"
#include "kernels/comm.h"

/* What every pass over a model needs. */
typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    const osv_model *model;              /* placed */
    const osv_real *rope[OSV_MAX_ROPES]; /* [positions, rot] each, engine/rope.h */
} osv_engine;

/* Embeddings of the pass's tokens -> x [T, D]. */
void osv_embed(const osv_engine *g, const osv_device_pass *p, osv_real *x);

/* One block over the active rows of a pass: a->x -> x_out. x_out NULL: what the reverse pass needs of it is
 * computed again, no more. */
void osv_block_forward(const osv_engine *g, const osv_device_pass *p, int l, const osv_activations *a,
                       osv_real *x_out);
/* scratch.dx (of a narrow last block: scratch.dxq), the gradient of the block's output -> scratch.dx, that of
 * its input. */
void osv_block_dx(const osv_engine *g, const osv_device_pass *p, int l, const osv_activations *a);

/* scratch.x_out, the output of the last block -> logits at the scored rows, in scratch.z. */
void osv_logits(const osv_engine *g, const osv_device_pass *p);
/* Logits -> losses [S]. */
void osv_losses(const osv_engine *g, const osv_device_pass *p, osv_real *loss);
/* w [S] -> the gradient of the last block's output, in scratch.dxq where that is narrow, else in scratch.dx.
 */
void osv_head_dx(const osv_engine *g, const osv_device_pass *p, const osv_real *w);

#endif
