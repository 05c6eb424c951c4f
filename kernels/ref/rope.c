#include "kernels/ref/ref.h"

/* Rotary embedding (Su et al. 2021, equation 34), half against half: the pair (x[i], x[i + rot/2]) turns by
 * the angle whose cosine and sine the table holds at [pos, i]. Direction -1 turns back, which is the
 * transpose.
 */
void osv_ref_rope(osv_ops *o, osv_real *x, const int *pos, const osv_real *table, int heads, int E, int rot,
                  int direction, int rows)
{
    if (osv_ops_status(o)) return;
    int half = rot / 2;
    for (int r = 0; r < rows; r++) {
        const osv_real *cosine = table + (size_t)pos[r] * rot, *sine = cosine + half;
        for (int h = 0; h < heads; h++) {
            osv_real *head = x + ((size_t)r * heads + h) * E;
            for (int i = 0; i < half; i++) {
                double a = head[i], b = head[i + half];
                double c = cosine[i], s = direction * (double)sine[i];
                head[i] = (osv_real)(a * c - b * s);
                head[i + half] = (osv_real)(b * c + a * s);
            }
        }
    }
}
