/* Formats of weights: every value of the 16-bit ones, and rounding to bf16 at its edges. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/weight.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

Test(weight, bf16_is_the_upper_half)
{
    cr_expect_eq(osv_float_from_bf16(0x3f80), 1.0f);
    cr_expect_eq(osv_float_from_bf16(0xc000), -2.0f);
    cr_expect_eq(osv_float_from_bf16(0x0001), 0x1p-133f); /* subnormal */
    cr_expect(isinf(osv_float_from_bf16(0x7f80)));
    cr_expect(isnan(osv_float_from_bf16(0x7fc0)));
    cr_expect(signbit(osv_float_from_bf16(0x8000)) && osv_float_from_bf16(0x8000) == 0);
}

Test(weight, bf16_there_and_back)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        float x = osv_float_from_bf16((unsigned short)bits);
        unsigned short back = osv_bf16_from_float(x);
        if (isnan(x))
            cr_assert(isnan(osv_float_from_bf16(back)), "%04x", bits);
        else
            cr_assert_eq(back, bits, "%04x became %04x", bits, back);
    }
}

Test(weight, bf16_rounds_to_nearest_even)
{
    static const struct {
        uint32_t from;
        unsigned short to;
    } cases[] = {
        {0x3f808000, 0x3f80}, /* a tie: down to even */
        {0x3f818000, 0x3f82}, /* a tie: up to even */
        {0x3f807fff, 0x3f80}, /* just below and just above a tie */
        {0x3f808001, 0x3f81}, /* */
        {0xbf818000, 0xbf82}, /* the same with a sign */
        {0x3fffffff, 0x4000}, /* carries into the exponent */
        {0x7f7fffff, 0x7f80}, /* the largest float becomes infinity */
        {0x7f7f7fff, 0x7f7f}, /* the largest that does not */
        {0xff7fffff, 0xff80}, /* */
        {0x7f800000, 0x7f80}, /* infinities stay */
        {0xff800000, 0xff80}, /* */
        {0x00000001, 0x0000}, /* the smallest float vanishes */
        {0x80000001, 0x8000}, /* */
        {0x00018000, 0x0002}, /* subnormals round as others do */
        {0x00008000, 0x0000}, /* */
        {0x80000000, 0x8000}, /* minus zero */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(osv_bf16_from_float(from_bits(cases[i].from)), cases[i].to, "%08x became %04x",
                     cases[i].from, osv_bf16_from_float(from_bits(cases[i].from)));
}

/* Payloads that the lower half alone carries must not round away to infinity, nor round up to zero. */
Test(weight, bf16_keeps_nan)
{
    static const uint32_t nan[] = {0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000, 0x7f80ffff};
    for (size_t i = 0; i < sizeof nan / sizeof *nan; i++) {
        unsigned short bits = osv_bf16_from_float(from_bits(nan[i]));
        cr_expect(isnan(osv_float_from_bf16(bits)), "%08x became %04x", nan[i], bits);
        cr_expect_eq(bits >> 15, nan[i] >> 31);
    }
}

/* Every f16 by its definition (IEEE 754): (-1)^s 2^(e - 15) 1.f, or 2^-14 0.f where e = 0. */
Test(weight, every_f16)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
        double sign = bits >> 15 ? -1 : 1, expected;
        float x = osv_float_from_f16((unsigned short)bits);
        if (exponent == 0x1f && fraction) {
            cr_assert(isnan(x), "%04x", bits);
            continue;
        }
        if (exponent == 0x1f)
            expected = sign * (double)INFINITY;
        else if (exponent == 0)
            expected = sign * ldexp(fraction, -24);
        else
            expected = sign * ldexp(1024 + fraction, exponent - 25);
        cr_assert_eq(x, expected, "%04x is %g", bits, (double)x);
        cr_assert_eq(signbit(x) != 0, bits >> 15 != 0, "%04x", bits);
    }
    cr_expect_eq(osv_float_from_f16(0x0001), 0x1p-24f);
    cr_expect_eq(osv_float_from_f16(0x03ff), 0x1.ff8p-15f);
    cr_expect_eq(osv_float_from_f16(0x7bff), 65504.0f);
}

Test(weight, elements_of_a_matrix)
{
    const float single[] = {1, 2, 3, 4, 5, 6};
    const unsigned short half[] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};
    const unsigned short brain[] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0};
    const osv_weight w[] = {{single, OSV_F32, 2, 3}, {half, OSV_F16, 2, 3}, {brain, OSV_BF16, 2, 3}};
    for (int i = 0; i < 3; i++) {
        for (size_t row = 0; row < 2; row++)
            for (size_t col = 0; col < 3; col++)
                cr_expect_eq(osv_weight_get(&w[i], row, col), (double)(3 * row + col + 1), "%s",
                             osv_format_name(w[i].format));
        cr_expect_eq(osv_format_bytes(w[i].format), i == 0 ? 4 : 2);
    }
    cr_expect_str_eq(osv_format_name(OSV_BF16), "BF16");
}
