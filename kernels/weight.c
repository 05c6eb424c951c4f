#include "kernels/weight.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

size_t osv_format_bytes(osv_format format)
{
    return format == OSV_F32 ? 4 : 2;
}

const char *osv_format_name(osv_format format)
{
    static const char *const name[] = {[OSV_F32] = "F32", [OSV_F16] = "F16", [OSV_BF16] = "BF16"};
    return name[format];
}

unsigned short osv_bf16_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (unsigned short)((bits >> 16) | 0x40); /* NaN: keep it quiet */
    bits += 0x7fffu + ((bits >> 16) & 1);
    return (unsigned short)(bits >> 16);
}

float osv_float_from_bf16(unsigned short bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

float osv_float_from_f16(unsigned short bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = (bits >> 10) & 0x1fu;
    uint32_t fraction = bits & 0x3ffu;
    uint32_t wide;
    if (exponent == 0x1f) {
        wide = sign | 0x7f800000u | fraction << 13;
    } else if (exponent != 0) {
        wide = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float x = ldexpf((float)fraction, -24); /* subnormal, or zero */
        return sign ? -x : x;
    }
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

double osv_weight_get(const osv_weight *w, size_t row, size_t col)
{
    size_t i = row * (size_t)w->cols + col;
    switch (w->format) {
    case OSV_F32: return ((const float *)w->data)[i];
    case OSV_F16: return osv_float_from_f16(((const unsigned short *)w->data)[i]);
    case OSV_BF16: return osv_float_from_bf16(((const unsigned short *)w->data)[i]);
    }
    return NAN;
}
