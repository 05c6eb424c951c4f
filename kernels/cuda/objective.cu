/* Limited by latency: a few thousand numbers, two launches. A warp a completion sums its losses; then a warp
 * takes 32 scores, a lane each, and goes over the completions that may hold one of them, in order. */
#include "kernels/cuda/gpu.cuh"

enum { WARPS = 4 };

/* Of one completion: d objective / d loss of each of its scores, and the lowest and highest of these. */
typedef struct {
    double slope;
    int low, high;
} completion_slope;

/* completion[c] = scale (sum of losses); the objective is that, or (that - target)^2 */
static __global__ void completions(completion_slope *out, float *completion, const float *loss,
                                   osv_objective objective)
{
    int c = (int)blockIdx.x * WARPS + warp_index();
    if (c >= objective.C) return; /* the whole warp */
    int low = INT32_MAX, high = -1;
    double sum = 0;
    for (int i = objective.first[c] + warp_lane(); i < objective.first[c + 1]; i += WARP) {
        int s = objective.score[i];
        sum += loss[s];
        low = min(low, s);
        high = max(high, s);
    }
    sum = warp_sum(sum);
    for (int step = WARP / 2; step > 0; step /= 2) {
        low = min(low, __shfl_xor_sync((unsigned)ALL_LANES, low, step));
        high = max(high, __shfl_xor_sync((unsigned)ALL_LANES, high, step));
    }
    if (warp_lane() > 0) return;
    double scale = objective.scale[c], total = scale * sum, target = objective.target[c];
    completion[c] = (float)total;
    out[c] = {isnan(target) ? scale : 2 * scale * (total - target), low, high};
}

/* w[s] = sum of the slopes of the completions that hold s, plus w[s] where there were others before */
static __global__ void weights(float *w, const completion_slope *slope, osv_objective objective, int S,
                               bool more)
{
    int base = ((int)blockIdx.x * WARPS + warp_index()) * WARP, s = base + warp_lane();
    if (base >= S) return; /* the whole warp */
    double sum = more && s < S ? w[s] : 0;
    for (int at = 0; at < objective.C; at += WARP) {
        int own = at + warp_lane();
        bool meets = own < objective.C && slope[own].low < base + WARP && slope[own].high >= base;
        for (unsigned left = __ballot_sync((unsigned)ALL_LANES, meets); left; left &= left - 1) {
            int c = at;
            while (!(left >> (c - at) & 1)) c++;
            for (int i = objective.first[c]; i < objective.first[c + 1]; i++)
                if (objective.score[i] == s) sum += slope[c].slope;
        }
    }
    if (s < S) w[s] = (float)sum;
}

extern "C" void osv_cuda_objective(osv_ops *o, float *w, float *completion, const float *loss,
                                   const osv_objective *objective, int S)
{
    if (osv_ops_status(o)) return;
    osv_device *d = osv_cuda_device(o);
    const osv_cuda *cuda = (const osv_cuda *)o->state;
    completion_slope *slope = (completion_slope *)cuda->scratch;
    int at_once = (int)(cuda->scratch_bytes / sizeof *slope);
    unsigned blocks = ((unsigned)S + WARPS * WARP - 1) / (WARPS * WARP);
    osv_objective some = *objective;
    int c = 0;
    do { /* also without completions: all weights are 0 then */
        some.C = objective->C - c < at_once ? objective->C - c : at_once;
        some.first = objective->first + c;
        some.scale = objective->scale + c;
        some.target = objective->target + c;
        LAUNCH(d, ((unsigned)some.C + WARPS - 1) / WARPS, WARPS * WARP, 0, completions, slope, completion + c,
               loss, some);
        LAUNCH(d, blocks, WARPS * WARP, 0, weights, w, slope, some, S, c > 0);
        c += some.C;
    } while (c < objective->C);
}
