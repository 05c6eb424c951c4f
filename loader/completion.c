/* One completion: ids, mask and text. */
#include <stdlib.h>
#include <string.h>

#include "loader/datapoints.h"

int osv_completion_fill(osv_completion *c, const osv_datapoint *p, const int *prompt, int prompt_count,
                        const int *ids, int count, const char *where, osv_error *e)
{
    int all = prompt_count + count;
    int *own = malloc((size_t)all * sizeof *own);
    signed char *steer = malloc((size_t)all * sizeof *steer);
    int status = own && steer ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
    if (!status) status = osv_positions_mask(p->positions, prompt_count, all, steer, where, e);
    if (status) {
        free(own);
        free(steer);
        return status;
    }
    memcpy(own, prompt, (size_t)prompt_count * sizeof *own);
    memcpy(own + prompt_count, ids, (size_t)count * sizeof *own);
    for (int i = 0; p->negative && i < all; i++) steer[i] = (signed char)-steer[i];
    free(c->ids);
    free(c->steer);
    c->ids = own;
    c->steer = steer;
    c->count = all;
    c->prompt = c->scored = prompt_count;
    return OSV_OK;
}

int osv_completion_show(osv_completion *c, const osv_tokenizer *tokenizer, osv_error *e)
{
    free(c->text);
    c->text = NULL;
    if (!tokenizer) return OSV_OK;
    return osv_tokenizer_decode(tokenizer, c->ids + c->prompt, c->count - c->prompt, false, &c->text, NULL,
                                e);
}
