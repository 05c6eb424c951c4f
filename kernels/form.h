/* The algebra of the forms in which a vector meets the residual stream (osv_form in kernels/ops.h), for a
 * row x with the sign s = +1 or -1 and the gradient g of what comes out: all of it are sums of a few vectors
 * with factors that depend on a few dot products. Shared by all fillings, in double; nothing here owns
 * anything.
 *
 * clamp, a = v.(x - mu) / |v|^2 and h = g.v / |v|^2 (the gradient of |v|^2 included):
 *     out = x + (clamp s - a) v     dv = (clamp s - a) g - h (x - mu) + 2 a h v     dx = g - h v
 * (the last term of dv is that of |v|^2)
 * add_norm, y = x + s v, b = |x| / |y| and h = g.y / |y|^2:
 *     out = b y                     dv = s b (g - h y)          dx = b (g - h y) + h b |y|^2 / |x|^2 x
 */
#ifndef OSV_KERNELS_FORM_H
#define OSV_KERNELS_FORM_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

OSV_DEVICE_INLINE int osv_form_rank(osv_form f)
{
    return f.kind == OSV_FORM_AFFINE ? f.rank : 0;
}

/* Rows of parameters: v, an offset, left and right. */
OSV_DEVICE_INLINE int osv_form_params(osv_form f)
{
    return 1 + (f.kind == OSV_FORM_CLAMP && f.offset ? 1 : 0) + 2 * osv_form_rank(f);
}

/* Numbers of scratch that the ops apply need for each row. */
OSV_DEVICE_INLINE int osv_form_coefs(osv_form f)
{
    return 3 + 2 * osv_form_rank(f);
}

/* Where a job's matrices of rank rows begin, behind its v. */
OSV_DEVICE_INLINE const osv_real *osv_form_left(const osv_real *v, int D)
{
    return v + D;
}

OSV_DEVICE_INLINE const osv_real *osv_form_right(osv_form f, const osv_real *v, int D)
{
    return v + (size_t)(1 + osv_form_rank(f)) * (size_t)D;
}

/* Of x, v, g, and the offset m (0 where there is none). */
typedef struct {
    double xx, xv, vv, gx, gv, mv;
} osv_form_dots;

/* g * (gradient) + x * (row, less the offset in dv of a clamp) + v * (vector) */
typedef struct {
    double g, x, v;
} osv_form_sum;

/* |x + s v|^2, or 0 where the form leaves the row alone. */
OSV_DEVICE_INLINE double osv_form_length2(osv_form_dots d, int s)
{
    double yy = d.xx + 2 * s * d.xv + d.vv;
    return d.xx > 0 && yy > 0 ? yy : 0;
}

/* The gradient of x is not what comes in. */
OSV_DEVICE_INLINE bool osv_form_has_dx(osv_form f)
{
    return f.kind != OSV_FORM_ADD || f.cut;
}

/* What comes out; g is 0. */
OSV_DEVICE_INLINE osv_form_sum osv_form_out(osv_form f, int s, osv_form_dots d)
{
    osv_form_sum sum = {0, 1, (double)s};
    if (f.kind == OSV_FORM_CLAMP) sum.v = d.vv == 0 ? 0 : f.clamp * s - (d.xv - d.mv) / d.vv;
    if (f.kind == OSV_FORM_ADD_NORM) {
        double yy = osv_form_length2(d, s);
        sum.x = yy > 0 ? sqrt(d.xx / yy) : 1;
        sum.v = yy > 0 ? sum.x * s : 0;
    }
    return sum;
}

OSV_DEVICE_INLINE osv_form_sum osv_form_dv(osv_form f, int s, osv_form_dots d)
{
    osv_form_sum sum = {(double)s, 0, 0}, none = {0, 0, 0};
    if (f.kind == OSV_FORM_CLAMP) {
        if (d.vv == 0) return none;
        double a = (d.xv - d.mv) / d.vv, h = d.gv / d.vv;
        sum.g = f.clamp * s - a;
        sum.x = -h;
        sum.v = f.constant_norm ? 0 : 2 * a * h;
    }
    if (f.kind == OSV_FORM_ADD_NORM) {
        double yy = osv_form_length2(d, s);
        if (!(yy > 0)) return none;
        double b = sqrt(d.xx / yy), h = (d.gx + s * d.gv) / yy;
        sum.g = s * b;
        sum.x = -s * b * h;
        sum.v = -b * h;
    }
    return sum;
}

OSV_DEVICE_INLINE osv_form_sum osv_form_dx(osv_form f, int s, osv_form_dots d)
{
    osv_form_sum sum = {1, 0, 0};
    if (f.kind == OSV_FORM_CLAMP && d.vv != 0) sum.v = -d.gv / d.vv;
    if (f.kind == OSV_FORM_ADD_NORM) {
        double yy = osv_form_length2(d, s);
        if (!(yy > 0)) return sum;
        double b = sqrt(d.xx / yy), h = (d.gx + s * d.gv) / yy;
        sum.g = b;
        sum.x = b * h * (yy / d.xx - 1);
        sum.v = -s * b * h;
    }
    return sum;
}

#endif
