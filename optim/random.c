#include "optim/random.h"

#include <math.h>

void osv_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* FNV-1a of the name, so that jobs of one run draw different directions. */
static uint64_t name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* Uniform in (0, 1), never 0. */
static double uniform(uint32_t bits)
{
    return (bits + 0.5) / 4294967296.0;
}

void osv_random_direction(osv_real *x, int D, double norm, unsigned long long seed, const char *name)
{
    uint64_t h = name_hash(name);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    double sum = 0;
    for (int i = 0; i < D; i += 4) {
        uint32_t bits[4];
        osv_philox((const uint32_t[4]){(uint32_t)i / 4, 0, (uint32_t)h, (uint32_t)(h >> 32)}, key, bits);
        for (int k = 0; k < 4 && i + k < D; k++) { /* Box & Muller 1958, two pairs */
            double radius = sqrt(-2 * log(uniform(bits[k & ~1])));
            double angle = 6.283185307179586476925286766559 * uniform(bits[k | 1]);
            double gauss = radius * (k & 1 ? sin(angle) : cos(angle));
            x[i + k] = (osv_real)gauss;
            sum += gauss * gauss;
        }
    }
    for (int i = 0; i < D; i++) x[i] = (osv_real)((double)x[i] * norm / sqrt(sum));
}
