#include "engine/rope.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925286766559;

/* Llama 3's stretching (model card of Llama 3.1): long waves are slowed by `factor`, short ones kept, in
 * between interpolated. */
static double llama3(const osv_rope *r, double frequency)
{
    double wave = two_pi / frequency;
    double longest = r->original / r->low_freq, shortest = r->original / r->high_freq;
    if (wave > longest) return frequency / r->factor;
    if (wave < shortest) return frequency;
    double smooth = (r->original / wave - r->low_freq) / (r->high_freq - r->low_freq);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

void osv_rope_table(osv_real *table, const osv_config *config, int positions)
{
    const osv_rope *r = &config->rope;
    int half = config->rot / 2;
    for (int i = 0; i < half; i++) {
        double frequency = pow(r->theta, -2.0 * i / config->rot);
        if (r->kind == OSV_ROPE_LINEAR) frequency /= r->factor;
        if (r->kind == OSV_ROPE_LLAMA3) frequency = llama3(r, frequency);
        for (int p = 0; p < positions; p++) {
            table[(long)p * config->rot + i] = (osv_real)cos(p * frequency);
            table[(long)p * config->rot + half + i] = (osv_real)sin(p * frequency);
        }
    }
}
