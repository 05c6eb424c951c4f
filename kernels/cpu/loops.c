#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* Four rows of x or dy with rows of a weight that are widened in registers as they are read. */

enum {
    FEW = OSV_CPU_FEW,
    COLUMNS = OSV_CPU_COLUMNS, /* sums of that length, for FEW rows, fit the first-level cache */
    SUM = 256,                 /* terms that are added up before they go to the total: keeps rounding small */
    AHEAD = 8                  /* rows of a weight that are fetched before they are needed */
};

/* sum[t] = x[t] . w for t < FEW */
OSV_CPU_INLINE void dots(float *sum, const float *const x[FEW], const void *w, osv_format format, int n)
{
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int i = 0; i < n; i++) {
        float a = osv_cpu_load(w, format, (size_t)i);
        s0 += a * x0[i];
        s1 += a * x1[i];
        s2 += a * x2[i];
        s3 += a * x3[i];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

OSV_CPU_CLONES
static void dots_f32(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_F32, n);
}

OSV_CPU_CLONES
static void dots_f16(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_F16, n);
}

OSV_CPU_CLONES
static void dots_bf16(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_BF16, n);
}

/* x . w */
OSV_CPU_INLINE float dot(const float *x, const void *w, osv_format format, int n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += osv_cpu_load(w, format, (size_t)i) * x[i];
    return sum;
}

OSV_CPU_CLONES
static float dot_f32(const float *x, const void *w, int n)
{
    return dot(x, w, OSV_F32, n);
}

OSV_CPU_CLONES
static float dot_f16(const float *x, const void *w, int n)
{
    return dot(x, w, OSV_F16, n);
}

OSV_CPU_CLONES
static float dot_bf16(const float *x, const void *w, int n)
{
    return dot(x, w, OSV_BF16, n);
}

/* One row has a loop of its own: sums for rows that are not there would cost more than reading the weight. It
 * reads as the memory likes best, straight on, and to fetch ahead makes it slower. */
static void one_row(float *y, const float *x, const osv_weight *w, int first, int count)
{
    static float (*const kernel[])(const float *, const void *,
                                   int) = {[OSV_F32] = dot_f32, [OSV_F16] = dot_f16, [OSV_BF16] = dot_bf16};
    for (int m = first; m < first + count; m++)
        y[m] = kernel[w->format](x, osv_cpu_at(w, (size_t)m, 0), w->cols);
}

void osv_cpu_dots(float *y, const float *x, const osv_weight *w, int first, int count, int rows)
{
    static void (*const kernel[])(float *, const float *const *, const void *,
                                  int) = {[OSV_F32] = dots_f32, [OSV_F16] = dots_f16, [OSV_BF16] = dots_bf16};
    if (rows == 1) {
        one_row(y, x, w, first, count);
        return;
    }
    const float *row[FEW];
    for (int t = 0; t < FEW; t++) /* a row that is not there is one that is: memory sets the pace, not sums */
        row[t] = x + (size_t)osv_cpu_min(t, rows - 1) * w->cols;
    for (int m = first; m < first + count; m++) {
        float sum[FEW];
        kernel[w->format](sum, row, osv_cpu_at(w, (size_t)m, 0), w->cols);
        for (int t = 0; t < rows; t++) y[(size_t)t * w->rows + m] = sum[t];
    }
}

/* sum[t] += d[t, 0] w[0] + .. + d[t, 3] w[3] for t < FEW, rows of w being `cols` apart, sum [FEW, COLUMNS]:
 * 16 products for 4 numbers of w that have to be widened and 4 sums that go through memory */
OSV_CPU_INLINE void axpys(float *restrict sum, const float d[FEW * FEW], const void *w, size_t cols,
                          osv_format format, int n)
{
    float *s0 = sum, *s1 = sum + COLUMNS, *s2 = sum + 2 * COLUMNS, *s3 = sum + 3 * COLUMNS;
    float d00 = d[0], d01 = d[1], d02 = d[2], d03 = d[3], d10 = d[4], d11 = d[5], d12 = d[6], d13 = d[7];
    float d20 = d[8], d21 = d[9], d22 = d[10], d23 = d[11], d30 = d[12], d31 = d[13], d32 = d[14],
          d33 = d[15];
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float a = osv_cpu_load(w, format, (size_t)i), b = osv_cpu_load(w, format, cols + (size_t)i);
        float c = osv_cpu_load(w, format, 2 * cols + (size_t)i);
        float e = osv_cpu_load(w, format, 3 * cols + (size_t)i);
        s0[i] += d00 * a + d01 * b + d02 * c + d03 * e;
        s1[i] += d10 * a + d11 * b + d12 * c + d13 * e;
        s2[i] += d20 * a + d21 * b + d22 * c + d23 * e;
        s3[i] += d30 * a + d31 * b + d32 * c + d33 * e;
    }
}

OSV_CPU_CLONES
static void axpys_f32(float *sum, const float d[FEW * FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_F32, n);
}

OSV_CPU_CLONES
static void axpys_f16(float *sum, const float d[FEW * FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_F16, n);
}

OSV_CPU_CLONES
static void axpys_bf16(float *sum, const float d[FEW * FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_BF16, n);
}

/* part[t] += dy[t] w for FEW rows t of dy and `terms` <= FEW rows of w from m. A row of dy that is not there
 * is one that is, and goes to a row of part that nobody reads; terms that are not there are 0 times a row of
 * w that is. */
static void add_products(float *part, const float *dy, const osv_weight *w, int rows, int m, int terms,
                         int first, int count)
{
    static void (*const kernel[])(float *, const float *, const void *, size_t, int) = {
        [OSV_F32] = axpys_f32, [OSV_F16] = axpys_f16, [OSV_BF16] = axpys_bf16};
    const float *from[FEW];
    float d[FEW * FEW];
    for (int t = 0; t < FEW; t++) from[t] = dy + (size_t)osv_cpu_min(t, rows - 1) * w->rows + m;
    if (terms == FEW) {
        for (int t = 0; t < FEW; t++) memcpy(d + t * FEW, from[t], FEW * sizeof *d);
        kernel[w->format](part, d, osv_cpu_at(w, (size_t)m, (size_t)first), (size_t)w->cols, count);
        return;
    }
    memset(d, 0, sizeof d);
    for (int i = 0; i < terms; i++) {
        for (int t = 0; t < FEW; t++) d[t * FEW] = from[t][i];
        kernel[w->format](part, d, osv_cpu_at(w, (size_t)m + (size_t)i, (size_t)first), 0, count);
    }
}

void osv_cpu_back(float *sum, const float *dy, const osv_weight *w, int begin, int end, int first, int count,
                  int rows, bool add)
{
    float part[FEW * COLUMNS];
    for (int next; begin < end; begin = next, add = true) {
        next = osv_cpu_min(begin + SUM, end);
        memset(part, 0, sizeof part);
        for (int m = begin; m < next; m += FEW) {
            osv_cpu_fetch(w, m + AHEAD, osv_cpu_min(m + AHEAD + FEW, end), first, count);
            add_products(part, dy, w, rows, m, osv_cpu_min(FEW, next - m), first, count);
        }
        for (int t = 0; t < rows; t++) {
            float *out = sum + (size_t)t * w->cols + first;
            const float *in = part + (size_t)t * COLUMNS;
            if (add)
                for (int c = 0; c < count; c++) out[c] += in[c];
            else
                memcpy(out, in, (size_t)count * sizeof *out);
        }
    }
}
