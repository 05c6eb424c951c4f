#include "optim/random.h"

#include <math.h>
#include <stdint.h>

#include "kernels/philox.h"

/* FNV-1a of the name, so that jobs of one run draw different directions. */
static uint64_t name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

void osv_random_direction(osv_real *x, int D, double norm, unsigned long long seed, const char *name,
                          unsigned number)
{
    uint64_t h = name_hash(name);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    double sum = 0;
    for (int i = 0; i < D; i += 4) {
        uint32_t bits[4];
        osv_philox((const uint32_t[4]){(uint32_t)i / 4, number, (uint32_t)h, (uint32_t)(h >> 32)}, key, bits);
        for (int k = 0; k < 4 && i + k < D; k++) { /* Box & Muller 1958, two pairs */
            double radius = sqrt(-2 * log(osv_philox_uniform(bits[k & ~1])));
            double angle = 6.283185307179586476925286766559 * osv_philox_uniform(bits[k | 1]);
            double gauss = radius * (k & 1 ? sin(angle) : cos(angle));
            x[i + k] = (osv_real)gauss;
            sum += gauss * gauss;
        }
    }
    for (int i = 0; i < D; i++) x[i] = (osv_real)((double)x[i] * norm / sqrt(sum));
}

void osv_random_noise(osv_noise *n, unsigned long long seed, const char *name)
{
    uint64_t h = name_hash(name);
    n->seed[0] = (uint32_t)seed, n->seed[1] = (uint32_t)(seed >> 32);
    n->name[0] = (uint32_t)h, n->name[1] = (uint32_t)(h >> 32);
}

/* A number that no direction has: a job has fewer rows. */
enum { SIGNS = 0x7fffffff };

int osv_random_sign(unsigned long long seed, const char *name, unsigned number)
{
    uint64_t h = name_hash(name);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t bits[4];
    osv_philox((const uint32_t[4]){number, SIGNS, (uint32_t)h, (uint32_t)(h >> 32)}, key, bits);
    return bits[0] & 1 ? 1 : -1;
}
