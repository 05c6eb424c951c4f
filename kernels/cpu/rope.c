#include "kernels/cpu/cpu.h"

/* One head: the pairs (a[i], b[i]) turn by the angles of cosine and sine, back if direction is -1. */
OSV_CPU_CLONES
static void turn(float *restrict a, float *restrict b, const float *restrict cosine,
                 const float *restrict sine, float direction, int half)
{
    for (int i = 0; i < half; i++) {
        float x = a[i], y = b[i], c = cosine[i], s = direction * sine[i];
        a[i] = x * c - y * s;
        b[i] = y * c + x * s;
    }
}

void osv_cpu_rope(osv_ops *o, float *x, const int *pos, const float *table, int heads, int E, int rot,
                  int direction, int rows)
{
    if (osv_cpu_failed(o)) return;
    int half = rot / 2;
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (double)rows *heads *E))
    for (int r = 0; r < rows; r++) {
        const float *cosine = table + (size_t)pos[r] * rot;
        for (int h = 0; h < heads; h++) {
            float *head = x + ((size_t)r * heads + h) * E;
            turn(head, head + half, cosine, cosine + half, (float)direction, half);
        }
    }
}
