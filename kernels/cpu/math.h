/* exp and tanh that vectorize: no table, no branch, no call. Written so that the compiler needs no relaxed
 * floating point: NaN gives NaN, infinities give their limits. libm's are as exact but scalar, and attention,
 * GLU and scores would spend most of their time in them. */
#ifndef OSV_KERNELS_CPU_MATH_H
#define OSV_KERNELS_CPU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

OSV_CPU_INLINE float osv_cpu_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

OSV_CPU_INLINE uint32_t osv_cpu_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* if ? a : b, by masking. Where ?: becomes a branch, the compiler moves arithmetic into its sides, and then
 * may not take it out again (it could trap), which ends vectorization. */
OSV_CPU_INLINE float osv_cpu_select(bool condition, float a, float b)
{
    uint32_t mask = -(uint32_t)condition;
    return osv_cpu_float((osv_cpu_bits(a) & mask) | (osv_cpu_bits(b) & ~mask));
}

/* e^x within 2 units in the last place, subnormal results included.
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial (minimax for the relative error, 3e-9); 2^n in two
 * factors, because neither 2^128 nor 2^-149 is a normal float. */
OSV_CPU_INLINE float osv_cpu_exp(float x)
{
    const float ROUND = 0x1.8p23f;          /* added and taken away: rounds to an integer */
    const float LN2_HIGH = 0x1.63p-1f;      /* 9 bits, so that n times it is exact */
    const float LN2_LOW = -0x1.bd0106p-13f; /* ln 2 - LN2_HIGH */
    float in = osv_cpu_select(x > 89, 89, x);
    in = osv_cpu_select(x < -104, -104, in);
    float shifted = in * 0x1.715476p0f + ROUND;
    float n = shifted - ROUND;
    float r = in - n * LN2_HIGH - n * LN2_LOW;
    float p = 0x1.6a2256p-10f;
    p = p * r + 0x1.123b02p-7f;
    p = p * r + 0x1.5558f8p-5f;
    p = p * r + 0x1.555490p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * r * r + r + 1;
    int32_t whole = (int32_t)(osv_cpu_bits(shifted) - osv_cpu_bits(ROUND)); /* any integer where x is NaN */
    int32_t half = whole >> 1;
    uint32_t low = ((uint32_t)half + 127) << 23;
    uint32_t high = ((uint32_t)whole - (uint32_t)half + 127) << 23;
    high &= -(uint32_t)(whole >=
                        -149); /* 0, and not by underflow: masked keys are many, subnormal results slow */
    return p * osv_cpu_float(low) * osv_cpu_float(high);
}

/* tanh x within 3 units in the last place: an odd polynomial near 0, where 1 - 2 / (e^2x + 1) cancels. */
OSV_CPU_INLINE float osv_cpu_tanh(float x)
{
    float size = osv_cpu_float(osv_cpu_bits(x) & 0x7fffffffu);
    float far = 1 - 2 / (osv_cpu_exp(2 * size) + 1);
    far = osv_cpu_float(osv_cpu_bits(far) | (osv_cpu_bits(x) & 0x80000000u));
    float u = x * x;
    float p = -0.0057049871f;
    p = p * u + 0.020639087f;
    p = p * u - 0.053739715f;
    p = p * u + 0.13331442f;
    p = p * u - 0.33333282f;
    float near = x + x * u * p;
    return osv_cpu_select(size < 0.625f, near, far);
}

/* 1 / (1 + e^-x) */
OSV_CPU_INLINE float osv_cpu_sigmoid(float x)
{
    return 1 / (1 + osv_cpu_exp(-x));
}

/* The largest of n numbers, -inf of none. NaN is passed over: who takes a maximum also takes a sum, where it
 * shows. Several running maxima, so that it vectorizes. */
OSV_CPU_INLINE float osv_cpu_largest(const float *x, int n)
{
    enum { LANES = 16 };
    float most[LANES], max = -INFINITY;
    for (int l = 0; l < LANES; l++) most[l] = -INFINITY;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (; i < n; i++) max = x[i] > max ? x[i] : max;
    for (int l = 0; l < LANES; l++) max = most[l] > max ? most[l] : max;
    return max;
}

/* The slope of cap tanh(x / cap) where it is y: 1 - (y / cap)^2, without cancelling near the cap. */
OSV_CPU_INLINE float osv_cpu_cap_slope(float y, float cap)
{
    return (cap - y) * (cap + y) / (cap * cap);
}

#endif
