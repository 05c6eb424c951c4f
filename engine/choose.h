/* The next token of rows whose logits are split over ranks: each rank lists what may be chosen of its slice
 * (osv_ops.candidates), the lists go to all, and all choose alike (kernels/choice.h). Borrows what it is
 * opened with. */
#ifndef OSV_ENGINE_CHOOSE_H
#define OSV_ENGINE_CHOOSE_H

#include "engine/block.h"

typedef struct {
    int ranks, V_most;
    size_t tokens;   /* that a rank can list at once: of one row all it has, of many some each */
    size_t bytes;    /* of what a rank tells, at most */
    osv_real *max;   /* [rows] device */
    char *all;       /* [ranks, bytes] device */
    char *host;      /* the same */
    osv_token *list; /* scratch of all that was listed of a row */
} osv_chooser;

/* For at most `rows` rows; takes its device memory from b, and host memory that osv_chooser_close frees. One
 * rank needs none: osv_ops.sample does all of it. */
int osv_chooser_open(osv_chooser *c, const osv_model *m, int rows, osv_error *e);
void osv_chooser_lay_out(osv_chooser *c, osv_bump *b, int rows);
void osv_chooser_close(osv_chooser *c);

/* z [n, shard.V] device; how [n] on the device, and the same on the host; id, logprob [n] host. Waits. */
int osv_choose(osv_chooser *c, const osv_engine *g, const osv_real *z, const osv_sampling *how,
               const osv_sampling *host_how, int n, int *id, osv_real *logprob);

/* All of a row, z [shard.V] device -> logits [V] host, on every rank. Waits. */
int osv_whole_row(osv_chooser *c, const osv_engine *g, const osv_real *z, osv_real *logits);

#endif
