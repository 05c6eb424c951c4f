/* For developers of kernels: what every block computes in the first iteration, at the start vectors, and its
 * gradients, in two files, so that the first wrong block of a backend can be named.
 * scripts/first_wrong_block.py does that, by comparing them with transformers.
 *
 * activations.safetensors, all F32; l is the number of a block, N the number of blocks:
 * - base.x.<l> [rows, D]: input of block l in the unsteered pass, for the rows that have one (all for l = 0,
 *   else those active in block l - 1); <N>: the last block's output at the scored rows of base
 * - base.z [base R, V]: logits at these; both only where a loss is constant
 * - live.x.<l> [rows, D]: input of block l in the steered pass, l >= first_block, for the rows active in it,
 *   vector included; <N>: the last block's output (`narrow`: at the scored rows, else at all)
 * - live.dx.<l>: gradient of what is optimized with respect to live.x.<l>: of a row that sequences share, the
 *   sum over them
 * - live.z [R, V]: logits at the scored rows
 * - logp.<c> [tokens, V]: of completion c, if it matches distributions: their logarithms
 * - w [S]: d objective / d loss of each loss of the live pass
 * - loss [C]: of each completion
 * - v, dv [P, D]: the parameters, and the gradient with respect to them
 *
 * rows.json says which row is which; optim/dump_rows.h. */
#ifndef OSV_OPTIM_DUMP_H
#define OSV_OPTIM_DUMP_H

#include "optim/train.h"

/* What was written. */
typedef struct {
    int jobs;       /* the first ones, which training packs into the first bin */
    int base, live; /* rows */
    int tensors;
    size_t bytes;
} osv_dump_size;

/* As osv_run_check. */
int osv_dump_check(const char *path, bool force, osv_error *e);

/* One unsteered, one forward and one reverse pass of the first bin, recomputing what training would recompute
 * in t->memory; then the folder `path` is made and written, by rank 0 of several. `model`: its name, UTF-8.
 * Sequences have to share rows (osv_switches.share). */
int osv_dump(const osv_training *t, const char *path, bool force, const char *model, osv_dump_size *size);

#endif
