#include "kernels/cpu/widen.h"

OSV_CPU_CLONES
static void widen_f32(float *out, const void *in, int count)
{
    for (int i = 0; i < count; i++) out[i] = osv_cpu_load(in, OSV_F32, (size_t)i);
}

OSV_CPU_CLONES
static void widen_f16(float *out, const void *in, int count)
{
    for (int i = 0; i < count; i++) out[i] = osv_cpu_load(in, OSV_F16, (size_t)i);
}

OSV_CPU_CLONES
static void widen_bf16(float *out, const void *in, int count)
{
    for (int i = 0; i < count; i++) out[i] = osv_cpu_load(in, OSV_BF16, (size_t)i);
}

void osv_cpu_widen(float *out, const osv_weight *w, int row, int col, int count)
{
    const void *in = osv_cpu_at(w, (size_t)row, (size_t)col);
    switch (w->format) {
    case OSV_F32: widen_f32(out, in, count); break;
    case OSV_F16: widen_f16(out, in, count); break;
    case OSV_BF16: widen_bf16(out, in, count); break;
    }
}
