/* What is optimized of a completion (osv_objective in kernels/ops.h): its slope. Shared by all fillings, in
 * double; nothing here owns anything. */
#ifndef OSV_KERNELS_OBJECTIVE_H
#define OSV_KERNELS_OBJECTIVE_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

/* d objective / d L[c] at L[c] = total; of_partner: the partner's L, where there is one. */
OSV_DEVICE_INLINE double osv_objective_slope(const osv_objective *o, int c, double total, double of_partner)
{
    double weight = o->weight[c], target = o->target[c];
    int partner = o->partner[c];
    if (partner >= 0) {
        double beta = o->beta[c];
        double m = beta * (o->reference[c] - total) + o->beta[partner] * (o->reference[partner] - of_partner);
        return weight * beta / (1 + exp(m));
    }
    return isnan(target) ? weight : 2 * weight * (total - target);
}

#endif
