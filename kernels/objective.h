/* What is optimized of a completion (osv_objective in kernels/ops.h): its slope. Shared by all fillings, in
 * double; nothing here owns anything. */
#ifndef OSV_KERNELS_OBJECTIVE_H
#define OSV_KERNELS_OBJECTIVE_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

/* The slack of a completion with a bound, at L = total. */
OSV_DEVICE_INLINE double osv_multiplier_slack(const osv_multiplier *x, double bound, double total)
{
    return !isnan(x->slack) ? (double)x->slack : total < bound ? sqrt(bound - total) : 0;
}

/* A step of Adamax: x goes down the gradient g, or up where lr is negative. */
OSV_DEVICE_INLINE void osv_adamax(osv_real *x, osv_real *m, osv_real *u, double g, double lr,
                                  const osv_adam_params *p)
{
    double mean = (double)p->beta1 * (double)*m + (1 - (double)p->beta1) * g;
    double most = (double)p->beta2 * (double)*u, now = fabs(g) + (double)p->eps;
    if (now > most) most = now;
    *m = (osv_real)mean;
    *u = (osv_real)most;
    *x = (osv_real)((double)*x - lr / (double)p->correction1 * mean / most);
}

/* Of the multiplier of completion c, at L[c] = total. */
OSV_DEVICE_INLINE void osv_multiplier_step(const osv_objective *o, int c, double total,
                                           const osv_adam_params *p)
{
    osv_multiplier *x = &o->multiplier[c];
    double bound = (double)o->bound[c], weight = (double)o->weight[c];
    double slack = osv_multiplier_slack(x, bound, total), lambda = (double)x->lambda;
    double violation = total - bound + slack * slack;
    x->slack = (osv_real)slack;
    osv_adamax(&x->lambda, &x->lambda_m, &x->lambda_u, weight * violation, -(double)p->lr, p);
    osv_adamax(&x->slack, &x->slack_m, &x->slack_u, weight * (lambda + violation) * 2 * slack, (double)p->lr,
               p);
    if (x->lambda < 0) x->lambda = 0;
}

/* d objective / d L[c] at L[c] = total; of_partner: the partner's L, where there is one. */
OSV_DEVICE_INLINE double osv_objective_slope(const osv_objective *o, int c, double total, double of_partner)
{
    double weight = o->weight[c], target = o->target[c], bound = o->bound[c];
    int partner = o->partner[c];
    if (partner >= 0) {
        double beta = o->beta[c];
        double m = beta * (o->reference[c] - total) + o->beta[partner] * (o->reference[partner] - of_partner);
        return weight * beta / (1 + exp(m));
    }
    if (!isnan(bound)) {
        const osv_multiplier *x = &o->multiplier[c];
        double slack = osv_multiplier_slack(x, bound, total);
        return weight * ((double)x->lambda + total - bound + slack * slack);
    }
    return isnan(target) ? weight : 2 * weight * (total - target);
}

#endif
