/* "promote_from_beam" of a datapoint: a completion that beam search is to find when there are weights. */
#ifndef OSV_LOADER_BEAM_WISH_H
#define OSV_LOADER_BEAM_WISH_H

#include "loader/target.h"

typedef struct {
    osv_ids prompt; /* whose likeliest continuation is wanted; empty: the datapoint's own */
    osv_ids minus;  /* what is wanted is likelier there than under this one; empty: than anything else */
} osv_beam_wish;

/* `value` is true, or {"prompt": .. or "messages": .., "minus": {"prompt": ..}, "times": 1}, all of them
 * optional; "times" is a target: that multiple of the unsteered loss under the same prompt. The wish is
 * released by osv_beam_wish_free, also after a failure. */
int osv_beam_wish_read(osv_beam_wish *wish, osv_target *target, const json_t *value,
                       const osv_prompt_options *options, const char *where, osv_error *e);
void osv_beam_wish_free(osv_beam_wish *wish);

#endif
