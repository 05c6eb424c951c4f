#include "kernels/cpu/widen.h"

OSV_CPU_INLINE void widen(float *restrict out, size_t step, const char *in, size_t stride, osv_format format,
                          int rows, int cols)
{
    for (int r = 0; r < rows; r++, out += step, in += stride) {
#pragma omp simd
        for (int c = 0; c < cols; c++) out[c] = osv_cpu_load(in, format, (size_t)c);
    }
}

OSV_CPU_CLONES
static void widen_f32(float *out, size_t step, const char *in, size_t stride, int rows, int cols)
{
    widen(out, step, in, stride, OSV_F32, rows, cols);
}

OSV_CPU_CLONES
static void widen_f16(float *out, size_t step, const char *in, size_t stride, int rows, int cols)
{
    widen(out, step, in, stride, OSV_F16, rows, cols);
}

OSV_CPU_CLONES
static void widen_bf16(float *out, size_t step, const char *in, size_t stride, int rows, int cols)
{
    widen(out, step, in, stride, OSV_BF16, rows, cols);
}

void osv_cpu_widen_rows(float *out, size_t step, const osv_weight *w, int row, int rows, int col, int cols)
{
    static void (*const kernel[])(float *, size_t, const char *, size_t, int, int) = {
        [OSV_F32] = widen_f32, [OSV_F16] = widen_f16, [OSV_BF16] = widen_bf16};
    size_t stride = (size_t)w->cols * osv_format_bytes(w->format);
    kernel[w->format](out, step, osv_cpu_at(w, (size_t)row, (size_t)col), stride, rows, cols);
}

void osv_cpu_widen(float *out, const osv_weight *w, int row, int col, int count)
{
    osv_cpu_widen_rows(out, 0, w, row, 1, col, count);
}
