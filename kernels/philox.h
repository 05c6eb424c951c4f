/* Philox4x32-10 (Salmon et al. 2011): random numbers without a state. Four words are a function of a key and
 * a counter and of nothing else, so what is drawn depends neither on an order nor on a batch. All inline, for
 * C and CUDA; nothing here owns anything. */
#ifndef OSV_KERNELS_PHILOX_H
#define OSV_KERNELS_PHILOX_H

#include <stdint.h>

/* On the host, and on the device where there is one. */
#ifdef __CUDACC__
#define OSV_DEVICE_INLINE static inline __host__ __device__
#else
#define OSV_DEVICE_INLINE static inline
#endif

OSV_DEVICE_INLINE void osv_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
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

/* A word as a number in (0, 1), exactly: neither end is ever reached. */
OSV_DEVICE_INLINE double osv_philox_uniform(uint32_t word)
{
    return (word + 0.5) / 4294967296.0;
}

#endif
