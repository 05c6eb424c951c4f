/* Where to steer: what one forward and one reverse pass of the unsteered model say about every block.
 *
 * x is the residual stream that enters a block, dx the gradient of what a job optimizes with respect to it.
 * To first order a vector that is added at the job's steered tokens changes that by v . dv, dv being the sum
 * of their dx, each with its token's sign: the gradient that training at that block would start with. */
#ifndef OSV_OPTIM_SCAN_H
#define OSV_OPTIM_SCAN_H

#include "optim/train.h"

/* A token of a job's completions, their last ones excepted, on which nothing depends. What completions begin
 * with alike stands here once. */
typedef struct {
    int id, pos;
    int sign; /* the vector is added with this sign, or not: 0 */
} osv_scan_token;

/* One token at one block. */
typedef struct {
    double residual;  /* |x| */
    double gradient;  /* |dx|, the sum over the completions that share the token */
    double alignment; /* cosine of x and -dx: above 0, what lowers the loss lengthens x; 0 where there is no
                         dx */
} osv_scan_point;

/* One block. */
typedef struct {
    double residual;  /* median |x| of the steered tokens: the first one of a text is often far longer */
    double shared;    /* |dv| */
    double apart;     /* root of the sum of their |dx|^2: the same, had each of them a vector of its own */
    double alignment; /* of -dv and sign x, mean over the steered tokens */
} osv_scan_block;

typedef struct {
    double loss; /* sum over completions, nats */
    int tokens, N;
    osv_scan_token *token; /* [tokens] */
    osv_scan_point *point; /* [N, tokens] */
    osv_scan_block *block; /* [N] */
    double *dv;            /* [N, D] */
} osv_scan;

/* out [t->jobs], for osv_scan_free also after a failure. Of a job count its completions and what is
 * optimized; its layers, form and start vector do not. */
int osv_scan_jobs(osv_scan *out, const osv_training *t);
void osv_scan_free(osv_scan *s);

/* What a step into the best direction at block l lowers the loss by, to first order, each token having a
 * vector of its own, for a step as long as the residual stream. */
double osv_scan_gain(const osv_scan *s, int l);

/* Of the blocks layer[0 .. layers) those to train at, best first: with at least four fifths of the best one's
 * gain, OSV_SCAN_MOST of them at most. Returns how many. */
enum { OSV_SCAN_MOST = 3 };
int osv_scan_suggest(const osv_scan *s, const int *layer, int layers, int suggested[OSV_SCAN_MOST]);

#endif
