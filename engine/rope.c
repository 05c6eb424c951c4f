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

/* The pair, as a real number, that turns so often within the original positions. */
static double pair_of(const osv_rope *r, int rot, double turns)
{
    return rot * log(r->original / (turns * two_pi)) / (2 * log(r->theta));
}

/* YaRN (Peng et al. 2023, section 3.2): pairs that turn often are kept, those that turn seldom are slowed by
 * `factor`, with a ramp between the two, over the number of the pair. */
static double yarn(const osv_rope *r, int rot, int i, double frequency)
{
    double low = pair_of(r, rot, r->beta_fast), high = pair_of(r, rot, r->beta_slow);
    if (r->truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, rot - 1);
    if (low == high) high += 0.001; /* a step */
    double slowed = fmin(fmax((i - low) / (high - low), 0), 1);
    return slowed * frequency / r->factor + (1 - slowed) * frequency;
}

static double frequency_of(const osv_rope *r, int rot, int i)
{
    double frequency = pow(r->theta, -2.0 * i / rot);
    switch (r->kind) {
    case OSV_ROPE_DEFAULT: break;
    case OSV_ROPE_LINEAR: return frequency / r->factor;
    case OSV_ROPE_LLAMA3: return llama3(r, frequency);
    case OSV_ROPE_YARN: return yarn(r, rot, i, frequency);
    case OSV_ROPE_LONGROPE: return frequency / (r->use_long ? r->long_factor : r->short_factor)[i];
    }
    return frequency;
}

void osv_rope_fit(osv_config *config, int longest)
{
    for (int i = 0; i < config->ropes; i++) config->rope[i].use_long = longest > config->rope[i].original;
}

int osv_rope_check(const osv_config *config, int positions, osv_error *e)
{
    for (int i = 0; i < config->ropes; i++) {
        const osv_rope *r = &config->rope[i];
        if (r->kind == OSV_ROPE_LONGROPE && !r->use_long && positions > r->original)
            return OSV_FAIL(e, OSV_USAGE,
                            "a sequence has %d tokens, but the run was begun for at most %.0f, by which this "
                            "model's rotary embeddings were chosen (osv_rope_fit)",
                            positions, r->original);
    }
    return OSV_OK;
}

void osv_rope_table(osv_real *table, const osv_config *config, int which, int positions)
{
    const osv_rope *r = &config->rope[which];
    int half = config->rot / 2;
    for (int i = 0; i < half; i++) {
        double frequency = frequency_of(r, config->rot, i);
        for (int p = 0; p < positions; p++) {
            table[(long)p * config->rot + i] = (osv_real)(r->scale * cos(p * frequency));
            table[(long)p * config->rot + half + i] = (osv_real)(r->scale * sin(p * frequency));
        }
    }
}
