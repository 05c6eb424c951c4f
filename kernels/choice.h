/* The choice of a token from a list, on the host: what ref does with a row of logits, and what ranks do with
 * what each of them has listed of its slice of one. In every digit: kernels/sampling.h. */
#ifndef OSV_KERNELS_CHOICE_H
#define OSV_KERNELS_CHOICE_H

#include "kernels/sampling.h"

/* Larger logits first, lower ids first among equals. */
void osv_choice_sort(osv_token *list, int n);

/* How many of n sorted tokens top_p leaves of a row whose weights add up to `total`; more than n where those
 * do not hold its share. */
int osv_choice_nucleus(const osv_sampling *how, const osv_token *list, int n, double max, uint64_t total);

/* Index of the largest x + noise among n > 0 tokens. */
int osv_choice_draw(const osv_sampling *how, const osv_token *list, int n, double max);

/* What osv_ops.candidates has listed of one row on every rank: rank r's slice and tokens [k] lie r * stride
 * bytes after rank 0's. */
typedef struct {
    const osv_slice *slice;
    const osv_token *token;
    size_t stride;
    int ranks, k;
} osv_listed;

/* False: it takes more tokens a rank to tell. `list` [ranks * k] is scratch. */
bool osv_choice_join(int *id, osv_real *logprob, const osv_sampling *how, const osv_listed *from,
                     osv_token *list);

#endif
