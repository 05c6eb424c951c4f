/* The draws of noise (osv_noise in kernels/ops.h), the same in every filling. Shared by all fillings, in
 * double; nothing here owns anything. */
#ifndef OSV_KERNELS_NOISE_H
#define OSV_KERNELS_NOISE_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

/* Component d of the standard normal draw number `place` (Box & Muller 1958); 0 of those before the first.
 * The counter's second word keeps clear of what optim/random.h draws by the same key. */
OSV_DEVICE_INLINE double osv_noise_normal(const osv_noise *n, int place, int D, int d)
{
    if (place < 0) return 0;
    uint32_t quads = (uint32_t)(D + 3) / 4, bits[4];
    const uint32_t counter[4] = {n->row * quads + (uint32_t)d / 4, 0x80000000u | (uint32_t)place, n->name[0],
                                 n->name[1]};
    const uint32_t key[2] = {n->seed[0], n->seed[1]};
    osv_philox(counter, key, bits);
    int pair = d % 4 / 2 * 2;
    double radius = sqrt(-2 * log(osv_philox_uniform(bits[pair])));
    double angle = 6.283185307179586476925286766559 * osv_philox_uniform(bits[pair + 1]);
    return radius * (d % 2 ? sin(angle) : cos(angle));
}

/* Component d of the k-th draw, before anything is taken away from it. */
OSV_DEVICE_INLINE double osv_noise_draw(const osv_noise *n, int k, int D, int d)
{
    double drawn = osv_noise_normal(n, n->place + k, D, d);
    if (n->kind == OSV_NOISE_ANTI) drawn -= osv_noise_normal(n, n->place + k - 1, D, d);
    return n->scale * drawn;
}

/* How much of the gradient g is taken away, from draw.g and |g|^2. */
OSV_DEVICE_INLINE double osv_noise_along(osv_noise_kind kind, double draw_g, double gg)
{
    bool tangent = kind == OSV_NOISE_TANGENT || (kind == OSV_NOISE_NO_GAIN && draw_g < 0);
    return tangent && gg > 0 ? draw_g / gg : 0;
}

#endif
