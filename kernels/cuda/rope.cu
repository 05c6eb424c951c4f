/* Limited by bandwidth: x is read and written where it is; the table's row stays in L1. A block a row of all
 * heads, a thread 4 pairs at a time. */
#include "kernels/cuda/gpu.cuh"

/* The pairs (x[i], x[i + half]) of each head turn by the angle of the table's row pos; direction -1: back. */
static __global__ void rope(float *x, const int *pos, const float *table, int heads, int E, int half,
                            float direction, bool by_four)
{
    const float *cosine = table + (size_t)pos[blockIdx.x] * 2 * half, *sine = cosine + half;
    x += (size_t)blockIdx.x * heads * E;
    over_row(
        heads * half, by_four,
        [&](int i) {
            int at = i % half;
            float *p = x + i / half * E + at;
            float4 a = load4(p), b = load4(p + half), c = load4(cosine + at);
            float4 s = scale4(load4(sine + at), direction);
            store4(p, make_float4(a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y, a.z * c.z - b.z * s.z,
                                  a.w * c.w - b.w * s.w));
            store4(p + half, make_float4(b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y, b.z * c.z + a.z * s.z,
                                         b.w * c.w + a.w * s.w));
        },
        [&](int i) {
            int at = i % half;
            float *p = x + i / half * E + at;
            float a = p[0], b = p[half], c = cosine[at], s = direction * sine[at];
            p[0] = a * c - b * s;
            p[half] = b * c + a * s;
        });
}

extern "C" void osv_cuda_rope(osv_ops *o, float *x, const int *pos, const float *table, int heads, int E,
                              int rot, int direction, int rows)
{
    if (osv_ops_status(o)) return;
    int half = rot / 2;
    bool by_four = osv_cuda_by_four(x, E) && osv_cuda_by_four(table, half);
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads((size_t)heads * half), 0, rope, x, pos, table,
           heads, E, half, (float)direction, by_four);
}
