/* The choice of a token, exactly: the numbers that have to come out alike in every filling, so that all of
 * them choose the same ids. All inline, for C and CUDA; nothing here owns anything.
 *
 * For a row z [V] of logits with the maximum max, -0 and 0 being equal, and "first" meaning the larger logit
 * and then the lower id:
 *
 *     1. Nothing is chosen from a row that has no softmax (NaN or +inf in it, or nothing above -inf).
 *     2. temperature t <= 0: the first token is chosen.
 *     3. top_k > 0 leaves the first k tokens.
 *     4. top_p < 1 leaves, of those, the fewest first ones whose weights add up to the share top_p of the
 *        weights of all of those; at least one. A weight is exp(x), x = (z - max) / t, as a whole number:
 *        sums of whole numbers do not depend on their order.
 *     5. Of what is left the largest x + noise is chosen, in double, the lowest id among equals.
 *     6. The noise of token id is -ln(-ln u), where u is made of word id % 4 of Philox with the key seed and
 *        the counter {id / 4, place, stream, 0}: it depends neither on the row's place nor on other rows.
 *
 * exp and log of another library may round the last bit otherwise; then a draw differs only where two tokens
 * are equal to about 1e-15. u has 32 bits: tokens less likely than 2^-32 are as good as never chosen. */
#ifndef OSV_KERNELS_SAMPLING_H
#define OSV_KERNELS_SAMPLING_H

#include <math.h>

#include "kernels/ops.h"
#include "kernels/philox.h"

/* x */
OSV_DEVICE_INLINE double osv_sampling_exponent(double z, double max, double temperature)
{
    return (z - max) / temperature;
}

/* exp(x) in units of 2^-39, cut off: a vocabulary of 2^24 cannot overflow the sum, one of 2^18 loses less
 * than 1e-6 of it. 0 for NaN, which -inf with an infinite temperature gives. */
OSV_DEVICE_INLINE uint64_t osv_sampling_weight(double x)
{
    return x > -28 ? (uint64_t)(exp(x) * 549755813888.0) : 0;
}

/* The weight that top_p asks for, of `total`. */
OSV_DEVICE_INLINE uint64_t osv_sampling_share(double top_p, uint64_t total)
{
    double share = ceil(top_p * (double)total);
    if (!(share > 1)) return 1;
    return share < (double)total ? (uint64_t)share : total;
}

/* Is it not enough for a choice to know each slice's best token? */
OSV_DEVICE_INLINE bool osv_sampling_lists(const osv_sampling *how)
{
    return how->temperature > 0 && (how->top_k > 0 || how->top_p < 1);
}

/* The words of tokens 4 block .. 4 block + 3. */
OSV_DEVICE_INLINE void osv_sampling_words(const osv_sampling *how, uint32_t block, uint32_t word[4])
{
    const uint32_t key[2] = {how->seed[0], how->seed[1]}, counter[4] = {block, how->place, how->stream, 0};
    osv_philox(counter, key, word);
}

OSV_DEVICE_INLINE double osv_sampling_noise(uint32_t word)
{
    return -log(-log(osv_philox_uniform(word)));
}

#endif
