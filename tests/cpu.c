/* What only the cpu filling has to show: how weights are placed, memory, and NaN on all its ways. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"

static osv_error error;

static osv_ops *must_open(osv_dtype dtype)
{
    osv_ops *o;
    error = (osv_error){0};
    cr_assert_eq(osv_cpu_open(&o, dtype, 2, &error), OSV_OK, "%s", error.text);
    return o;
}

Test(cpu, f32_weights_stay_where_they_are)
{
    osv_ops *o = must_open(OSV_DTYPE_F32);
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    osv_weight w = {data, OSV_F32, 2, 3};
    o->place(o, &w);
    cr_expect_eq(w.data, data);
    o->close(o);
}

Test(cpu, bf16_rounds_matrices_alone)
{
    osv_ops *o = must_open(OSV_DTYPE_BF16);
    static const float data[4] = {1.00390625f, -3.3e38f, NAN, 0x1p-140f};
    static const uint16_t half[4] = {0x3c01, 0x0001, 0xfc00, 0x7e01}; /* 1 + 2^-10, 2^-24, -inf, NaN */
    osv_weight matrix = {data, OSV_F32, 2, 2}, norm = {data, OSV_F32, 1, 4}, f16 = {half, OSV_F16, 2, 2};
    osv_weight there = {half, OSV_BF16, 2, 2};
    o->place(o, &matrix);
    o->place(o, &norm);
    o->place(o, &f16);
    o->place(o, &there);
    cr_expect_eq(matrix.format, OSV_BF16);
    cr_expect_eq(f16.format, OSV_BF16);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(((const uint16_t *)matrix.data)[i], osv_bf16_from_float(data[i]));
        cr_expect_eq(((const uint16_t *)f16.data)[i], osv_bf16_from_float(osv_float_from_f16(half[i])));
    }
    cr_expect_eq(norm.data, data);
    cr_expect_eq(there.data, half);
    o->close(o);
}

Test(cpu, weights_at_odd_addresses_are_copied)
{
    osv_ops *o = must_open(OSV_DTYPE_F32);
    char file[64];
    const float numbers[3] = {1.5f, -2, 3};
    memcpy(file + 1, numbers, sizeof numbers);
    osv_weight w = {file + 1, OSV_F32, 1, 3};
    float x[3] = {1, 1, 1}, *y = o->alloc(o, sizeof x);
    o->place(o, &w);
    cr_expect_neq(w.data, file + 1);
    cr_expect_eq(memcmp(w.data, numbers, sizeof numbers), 0);
    o->matmul(o, &y, x, (const osv_weight *const[]){&w}, 1, 1);
    cr_expect_eq(y[0], 2.5f);
    o->free(o, y);
    o->close(o);
}

Test(cpu, memory_is_aligned_and_may_run_out)
{
    osv_ops *o = must_open(OSV_DTYPE_F32);
    for (size_t bytes = 0; bytes < 1000; bytes += 333) {
        void *p = o->alloc(o, bytes);
        cr_expect(p && (uintptr_t)p % 256 == 0);
        o->free(o, p);
    }
    cr_expect_null(o->alloc(o, SIZE_MAX - 7));
    cr_expect_eq(osv_ops_status(o), OSV_DEVICE);
    cr_expect_null(o->alloc(o, 8), "nothing after a failure");
    o->close(o);
}

Test(cpu, too_many_threads)
{
    osv_ops *o;
    error = (osv_error){0};
    cr_expect_eq(osv_cpu_open(&o, OSV_DTYPE_F32, 1000000, &error), OSV_USAGE);
    cr_expect_null(o);
    error = (osv_error){0};
    cr_assert_eq(osv_cpu_open(&o, OSV_DTYPE_F32, 0, &error), OSV_OK);
    o->close(o);
}

/* ---- NaN goes in anywhere and comes out ---- */

static float *filled(osv_ops *o, size_t n, float value)
{
    float *x = o->alloc(o, n * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) x[i] = value;
    return x;
}

/* A NaN at x[0], or at w[0, 0], or both: all of row 0 of y or of column 0, and nothing else. */
static void check_products(osv_ops *o, osv_format format, int rows)
{
    enum { OUTPUTS = 70, COLS = 600 };
    size_t size = OUTPUTS * COLS * osv_format_bytes(format);
    char *data = calloc(1, size);
    osv_weight w = {data, format, OUTPUTS, COLS};
    const osv_weight *const weights[] = {&w};
    float *x = filled(o, (size_t)rows * COLS, 1), *y = filled(o, (size_t)rows * OUTPUTS, 0);
    const float *dy = y;
    o->matmul(o, &y, x, weights, 1, rows);
    cr_expect(y[0] == 0 && y[OUTPUTS - 1] == 0);
    memcpy(data, format == OSV_F32 ? (const void *)&(float){NAN} : &(uint16_t){0x7fff},
           2 + 2 * (format == OSV_F32));
    o->matmul(o, &y, x, weights, 1, rows);
    for (int t = 0; t < rows; t++) cr_expect(isnan(y[t * OUTPUTS]) && y[t * OUTPUTS + 1] == 0);
    memset(data, 0, size);
    x[0] = NAN;
    o->matmul(o, &y, x, weights, 1, rows);
    for (int m = 0; m < OUTPUTS; m++) cr_expect(isnan(y[m]) && (rows == 1 || y[OUTPUTS + m] == 0));
    o->matmul_dx(o, x, &dy, weights, 1, rows);
    for (int c = 0; c < COLS; c++) cr_expect(isnan(x[c]) && (rows == 1 || x[COLS + c] == 0));
    o->free(o, x);
    o->free(o, y);
    free(data);
}

Test(cpu, nan_through_products)
{
    osv_ops *o = must_open(OSV_DTYPE_F32);
    for (osv_format format = OSV_F32; format <= OSV_BF16; format++)
        for (int rows = 1; rows < 100; rows = 3 * rows + 1) check_products(o, format, rows); /* 1 4 13 40 */
    check_products(o, OSV_F32, 70);
    check_products(o, OSV_BF16, 70);
    o->close(o);
}

Test(cpu, nan_through_loops)
{
    enum { N = 40 };
    osv_ops *o = must_open(OSV_DTYPE_F32);
    const float one[N] = {0};
    osv_weight w = {one, OSV_F32, 1, N};
    float *x = filled(o, N, 1), *y = filled(o, N, 1), *z = filled(o, N, 1);
    x[17] = NAN;
    o->rmsnorm(o, y, x, &w, 1, 1e-6, 1);
    for (int i = 0; i < N; i++) cr_expect(isnan(y[i]));
    for (osv_activation act = OSV_SILU; act <= OSV_GELU; act++) {
        o->zero(o, z, N * sizeof *z);
        o->glu(o, y, x, z, act, N);
        for (int i = 0; i < N; i++) cr_expect(i == 17 ? isnan(y[i]) : y[i] == 0);
        o->glu_dx(o, y, z, x, z, z, act, N);
        cr_expect(isnan(y[17]) && isnan(z[17]) && !isnan(y[16]));
    }
    o->softcap(o, x, 30, N);
    for (int i = 0; i < N; i++) cr_expect(i == 17 ? isnan(x[i]) : x[i] > 0.99f);
    o->free(o, x);
    o->free(o, y);
    o->free(o, z);
    o->close(o);
}

/* A NaN logit makes the loss of its row NaN, wherever it is, and only of its row. */
Test(cpu, nan_through_scores)
{
    enum { R = 2, V = 5000 };
    osv_ops *o = must_open(OSV_DTYPE_F32);
    static const int at[] = {0, 7, 8, 4999}; /* 7 is the target */
    const int first[] = {0, 1, 2}, target[] = {7, 7};
    const float coldness[] = {0.7f, 0.7f}, eps[] = {1e-6f, 1e-6f}, weight[] = {1, 1};
    for (int kind = OSV_PROMOTE; kind <= OSV_NEGATED; kind++)
        for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
            const int kinds[] = {kind, kind};
            osv_scores s = {.R = R,
                            .S = R,
                            .first = first,
                            .target = target,
                            .kind = kinds,
                            .coldness = coldness,
                            .eps = eps};
            float *z = filled(o, R * V, 0.5f), max[R], sum[2 * R], loss[R];
            z[at[i]] = NAN;
            o->score_max(o, max, z, R, V);
            o->score_sum(o, sum, z, max, &s, V);
            o->score(o, loss, sum, &s);
            o->score_dx(o, z, max, sum, weight, &s, V);
            cr_expect(isnan(loss[0]) && isfinite(loss[1]), "kind %d, NaN at %d", kind, at[i]);
            for (int j = 0; j < V; j++) cr_assert(isnan(z[j]) && isfinite(z[V + j]));
            o->free(o, z);
        }
    o->close(o);
}

/* A NaN key, query or value reaches the query rows that see it. */
Test(cpu, nan_through_attention)
{
    enum { T = 70, E = 12 };
    osv_ops *o = must_open(OSV_DTYPE_F32);
    int pos[T];
    for (int t = 0; t < T; t++) pos[t] = t;
    const osv_kv_range range[] = {{0, T, 0}};
    const osv_query_tile query[] = {{0, 64, 0, 1}, {64, 6, 0, 1}};
    const osv_kv_tile kv[] = {{0, 64, 0, 0, T}, {64, 6, 64, 64, 6}};
    const osv_worklist work = {.rows = T,
                               .pos = pos,
                               .query_tile = query,
                               .query_tiles = 2,
                               .kv_range = range,
                               .kv_ranges = 1,
                               .kv_tile = kv,
                               .kv_tiles = 2,
                               .max_keys = T};
    for (int which = 0; which < 3; which++)
        for (int cap = 0; cap < 2; cap++) {
            osv_attention a = {.heads = {1, 1, E, 0, 1}, .scale = 0.3, .softcap = 5.0 * cap};
            float *in[3], *out = filled(o, T * E, 0), lse[T];
            for (int i = 0; i < 3; i++) in[i] = filled(o, T * E, 0.5f);
            in[which][66 * E + 3] = NAN;
            o->attention(o, out, lse, in[0], in[1], in[2], &work, &a);
            cr_expect(isfinite(out[63 * E + 3]), "input %d: a row that does not see it", which);
            cr_expect(isnan(out[66 * E + 3]), "input %d: the row itself", which);
            cr_expect_eq(isnan(out[69 * E + 3]) != 0, which > 0, "input %d: a later row", which);
            for (int i = 0; i < 3; i++) o->free(o, in[i]);
            o->free(o, out);
        }
    o->close(o);
}
