/* rows.json of a dump: all that is needed to know which row of its tensors is which, and what was optimized.
 *
 * - format, model, family, backend, hardware, dtype ("f32", "bf16"), blocks, width, vocabulary
 * - first_block; frozen: base rows 0 .. frozen - 1; narrow: the live pass's last block has outputs at scored
 *   rows alone
 * - jobs: [{name, layer}], the vector is added to what enters block `layer`
 * - base, live: {id, pos, parent: one number a row; scored: rows that have logits; active: rows in each
 *   block}; parent: -1 none, in `live` -2 - r is row r of base; live also {base_row: the unsteered twin; job;
 *   sign}
 * - completions: [{job, ids, prompt, ..}], prompt being the tokens before the first scored one, with
 *   - steer: one sign a token
 *   - kind: promote -ln(P + eps) | one-minus -ln(1 - P + eps) | negated +ln(P + eps) | kl KL(p || P) |
 *     reverse-kl KL(P || p), p being that of the tensor logp.<number of the completion>
 *   - coldness: P = softmax(coldness z); eps; scale: of the sum of its tokens' losses
 *   - weight: of what is optimized; target: that is (loss - target)^2, null: the loss
 *   - rows: where each token but the last is, >= 0: that row of live, -1 - r: row r of base
 *   - scores: of its scored tokens, an index of `w`, or beyond: a constant loss */
#ifndef OSV_OPTIM_DUMP_ROWS_H
#define OSV_OPTIM_DUMP_ROWS_H

#include <jansson.h>

#include "engine/batch.h"
#include "optim/train.h"

/* batch: of all of t's jobs in order. */
int osv_dump_rows(json_t **out, const osv_training *t, const osv_batch *batch, const char *model);

#endif
