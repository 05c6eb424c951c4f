/* How far a row of the residual stream is from where it is without a vector (osv_distances in kernels/ops.h),
 * and which way is farther. Shared by all fillings, in double; nothing here owns anything. Where nothing has
 * moved, no way is: the gradient is 0 there, whatever the power. */
#ifndef OSV_KERNELS_DISTANCE_H
#define OSV_KERNELS_DISTANCE_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

/* -|d|^power, from |d|^2 = square */
OSV_DEVICE_INLINE double osv_distance_loss(double square, double power)
{
    return square == 0 ? 0 : -pow(square, power / 2);
}

/* The factor of d in its gradient. */
OSV_DEVICE_INLINE double osv_distance_slope(double square, double power)
{
    return square == 0 ? 0 : -power * pow(square, power / 2 - 1);
}

#endif
