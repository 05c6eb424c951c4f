/* Reading a weight as floats, element by element, in loops that vectorize. */
#ifndef OSV_KERNELS_CPU_WIDEN_H
#define OSV_KERNELS_CPU_WIDEN_H

#include "kernels/cpu/math.h"

OSV_CPU_INLINE float osv_cpu_from_bf16(uint16_t bits)
{
    return osv_cpu_float((uint32_t)bits << 16);
}

/* Exact, without subnormal arithmetic: the exponent moves from bias 15 to bias 127, infinities and NaN move
 * on to 255, subnormals are integers times 2^-24. */
OSV_CPU_INLINE float osv_cpu_from_f16(uint16_t bits)
{
    uint32_t size = bits & 0x7fffu;
    uint32_t wide = (size << 13) + (112u << 23);
    wide += size >= 0x7c00 ? 112u << 23 : 0;
    float small = (float)(int32_t)size * 0x1p-24f;
    wide = osv_cpu_bits(osv_cpu_select(size < 0x0400, small, osv_cpu_float(wide)));
    return osv_cpu_float(wide | (uint32_t)(bits & 0x8000u) << 16);
}

/* data[i]. Called with a constant format from functions made for it, so that loops hold one of the three. */
OSV_CPU_INLINE float osv_cpu_load(const void *data, osv_format format, size_t i)
{
    switch (format) {
    case OSV_F32: return ((const float *)data)[i];
    case OSV_F16: return osv_cpu_from_f16(((const uint16_t *)data)[i]);
    case OSV_BF16: break;
    }
    return osv_cpu_from_bf16(((const uint16_t *)data)[i]);
}

/* The address of w[row, col]. */
OSV_CPU_INLINE const void *osv_cpu_at(const osv_weight *w, size_t row, size_t col)
{
    size_t i = row * (size_t)w->cols + col;
    return (const char *)w->data + i * (w->format == OSV_F32 ? 4 : 2);
}

/* Starts reading `count` numbers, from column `col`, of the rows [begin, end) of w: runs that are too short,
 * or too far apart in time, for the hardware to see what comes next. */
OSV_CPU_INLINE void osv_cpu_fetch(const osv_weight *w, int begin, int end, int col, int count)
{
    size_t bytes = (size_t)count * (w->format == OSV_F32 ? 4 : 2);
    for (int row = begin; row < end; row++) {
        const char *at = osv_cpu_at(w, (size_t)row, (size_t)col);
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 2);
    }
}

#endif
