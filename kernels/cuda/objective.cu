/* Limited by latency: a few thousand numbers, two launches. A warp a completion sums its losses, and its
 * partner's once more; then a warp takes 32 scores, a lane each, and goes over the completions that may hold
 * one of them, in order. */
#include "kernels/cuda/gpu.cuh"
#include "kernels/objective.h"

enum { WARPS = 4 };

/* Of one completion: d objective / d loss of each of its scores, and the lowest and highest of these. */
typedef struct {
    double slope;
    int low, high;
} completion_slope;

/* L[c], in all lanes of a warp. */
static __device__ double total_of(const osv_objective &objective, const float *loss, int c)
{
    double sum = 0;
    for (int i = objective.first[c] + warp_lane(); i < objective.first[c + 1]; i += WARP)
        sum += loss[objective.score[i]];
    return objective.scale[c] * warp_sum(sum);
}

/* completion[c], and out[c - begin], for the completions [begin, end) */
static __global__ void slopes(float *completion, completion_slope *out, const float *loss,
                              osv_objective objective, int begin, int end)
{
    int c = begin + (int)blockIdx.x * WARPS + warp_index(), low = INT32_MAX, high = -1;
    if (c >= end) return; /* the whole warp */
    for (int i = objective.first[c] + warp_lane(); i < objective.first[c + 1]; i += WARP) {
        low = min(low, objective.score[i]);
        high = max(high, objective.score[i]);
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        low = min(low, __shfl_xor_sync((unsigned)ALL_LANES, low, step));
        high = max(high, __shfl_xor_sync((unsigned)ALL_LANES, high, step));
    }
    int partner = objective.partner[c]; /* the same in all lanes */
    double total = total_of(objective, loss, c);
    double of_partner = partner >= 0 ? total_of(objective, loss, partner) : 0;
    if (warp_lane() > 0) return;
    completion[c] = (float)total;
    out[c - begin] = {objective.scale[c] * osv_objective_slope(&objective, c, total, of_partner), low, high};
}

/* w[s] = sum of the slopes of the completions [begin, end) that hold s, plus w[s] where others came before */
static __global__ void weights(float *w, const completion_slope *slope, osv_objective objective, int begin,
                               int end, int S)
{
    int base = ((int)blockIdx.x * WARPS + warp_index()) * WARP, s = base + warp_lane();
    if (base >= S) return; /* the whole warp */
    double sum = begin > 0 && s < S ? w[s] : 0;
    for (int at = 0; at < end - begin; at += WARP) {
        int own = at + warp_lane();
        bool meets = own < end - begin && slope[own].low < base + WARP && slope[own].high >= base;
        for (unsigned left = __ballot_sync((unsigned)ALL_LANES, meets); left; left &= left - 1) {
            int c = at;
            while (!(left >> (c - at) & 1)) c++;
            for (int i = objective.first[begin + c]; i < objective.first[begin + c + 1]; i++)
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
    int C = objective->C, c = 0;
    do { /* also without completions: all weights are 0 then */
        int end = C - c < at_once ? C : c + at_once;
        LAUNCH(d, ((unsigned)(end - c) + WARPS - 1) / WARPS, WARPS * WARP, 0, slopes, completion, slope, loss,
               *objective, c, end);
        LAUNCH(d, blocks, WARPS * WARP, 0, weights, w, slope, *objective, c, end, S);
        c = end;
    } while (c < C);
}

static __global__ void step_multipliers(const float *L, osv_objective objective,
                                        const osv_adam_params *params)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= objective.C || isnan(objective.bound[c]) || params[c].lr == 0) return;
    osv_multiplier_step(&objective, c, L[c], &params[c]);
}

extern "C" void osv_cuda_multipliers(osv_ops *o, const float *L, const osv_objective *objective,
                                     const osv_adam_params *params)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), ((unsigned)objective->C + WARPS * WARP - 1) / (WARPS * WARP), WARPS * WARP, 0,
           step_multipliers, L, *objective, params);
}
