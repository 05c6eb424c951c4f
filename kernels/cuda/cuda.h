/* The CUDA filling, inside: its state, what its files share, and the functions of its table, one file a
 * family with the names of kernels/ref.
 *
 * A launcher checks the status, then launches; it never waits and never allocates, so that everything can be
 * recorded into a graph. Numbers in memory are fp32; statistics and sums are fp32 or better, in an order that
 * depends on the shape alone, without atomics on floats: the same bytes each time.
 *
 * Weights as `place` leaves them: a matrix is OSV_BF16 with the dtype bf16, OSV_F32 with f32; what has one
 * row (norm weights, biases) is always OSV_F32. So kernels meet no other format.
 *
 * The state belongs to the osv_ops that osv_cuda_open made; close frees it, with the weights that were
 * placed.
 */
#ifndef OSV_KERNELS_CUDA_CUDA_H
#define OSV_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/device.h"
#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct osv_cuda_block osv_cuda_block;

typedef struct {
    osv_device *device;
    osv_dtype dtype;
    void *scratch; /* device memory, lent to one operator at a time */
    size_t scratch_bytes;
    osv_cuda_block *placed; /* weights */
    void *pinned[2];        /* through which weights are copied; NULL until the first is */
    int turn;               /* which of them was used last */
    size_t marks;           /* in the queue so far */
    osv_graph *recording;   /* between graph_begin and graph_end */
    osv_graph *graphs;      /* recorded */
    char *box; /* pinned memory of the graphs' copies from and to the host; NULL before the first */
    size_t box_used;
    void *meeting; /* pinned memory of on_host; NULL before the first */
} osv_cuda;

static inline osv_device *osv_cuda_device(const osv_ops *o)
{
    return ((const osv_cuda *)o->state)->device;
}

/* Blocks of `threads` for n items in a loop over the grid: one for each thread as long as they are few, later
 * as many as the device holds at once. */
static inline unsigned osv_cuda_grid(const osv_ops *o, size_t n, unsigned threads)
{
    size_t most = (size_t)osv_device_processors(osv_cuda_device(o)) * (2048 / threads);
    size_t blocks = (n + threads - 1) / threads;
    return (unsigned)(blocks < most ? blocks : most);
}

/* Threads of a block that goes over a row of n numbers, 4 a thread at best: whole warps, at most 512, which
 * is 4 groups a thread in rows of 8192. */
static inline unsigned osv_cuda_row_threads(size_t n)
{
    size_t threads = (n + 127) / 128 * 32;
    return threads < 32 ? 32 : threads < 512 ? (unsigned)threads : 512;
}

/* True if kernels may read and write p and rows of n floats from it on, 4 at a time. */
static inline bool osv_cuda_by_four(const void *p, size_t n)
{
    return (size_t)p % 16 == 0 && n % 4 == 0;
}

/* memory.cu */
void osv_cuda_gather_rows(osv_ops *o, float *out, const float *in, const int *index, int D, int rows);
void osv_cuda_scatter_rows(osv_ops *o, float *out, const float *in, const int *index, int D, int rows);
/* out[i] = in[i] in the other format, n numbers; formats: bf16 or f32 to either, f16 to either. */
void osv_cuda_convert(osv_ops *o, void *out, osv_format out_format, const void *in, osv_format in_format,
                      size_t n);

void osv_cuda_embed(osv_ops *o, float *x, const int *ids, const osv_weight *w, int first_id, double scale,
                    int rows);
void osv_cuda_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                     int rows);
void osv_cuda_matmul_dx(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                        int rows);
void osv_cuda_bias(osv_ops *o, float *y, const osv_weight *b, int rows);
void osv_cuda_rmsnorm(osv_ops *o, float *y, const float *x, const osv_weight *w, double offset, double eps,
                      int rows);
void osv_cuda_rmsnorm_dx(osv_ops *o, float *dx, const float *dy, const float *x, const osv_weight *w,
                         double offset, double eps, int rows);
void osv_cuda_rmsnorm_sum(osv_ops *o, float *sum, const float *x, const osv_split_norm *n, int cols,
                          int rows);
void osv_cuda_rmsnorm_split(osv_ops *o, float *y, const float *x, const float *sum, const osv_weight *w,
                            const osv_split_norm *n, int rows);
void osv_cuda_rmsnorm_dot(osv_ops *o, float *dot, const float *dy, const float *x, const osv_weight *w,
                          const osv_split_norm *n, int rows);
void osv_cuda_rmsnorm_split_dx(osv_ops *o, float *dx, const float *dy, const float *x, const float *sum,
                               const float *dot, const osv_weight *w, const osv_split_norm *n, int rows);
void osv_cuda_residual_add(osv_ops *o, float *out, const float *x, const float *y, const int *index, int D,
                           int rows);
void osv_cuda_scale(osv_ops *o, float *y, double factor, size_t n);
void osv_cuda_rope(osv_ops *o, float *x, const int *pos, const float *table, int heads, int E, int rot,
                   int direction, int rows);
void osv_cuda_attention(osv_ops *o, float *out, float *lse, const float *q, const float *k, const float *v,
                        const osv_worklist *work, const osv_attention *a);
void osv_cuda_attention_dx(osv_ops *o, float *dq, float *dk, float *dv, float *delta, const float *dout,
                           const float *q, const float *k, const float *v, const float *out, const float *lse,
                           const osv_worklist *work, const osv_attention *a);
void osv_cuda_glu(osv_ops *o, float *y, const float *gate, const float *up, osv_activation act, size_t n);
void osv_cuda_glu_dx(osv_ops *o, float *dgate, float *dup, const float *dy, const float *gate,
                     const float *up, osv_activation act, size_t n);

void osv_cuda_softcap(osv_ops *o, float *z, double cap, size_t n);
void osv_cuda_score_max(osv_ops *o, float *max, const float *z, int R, int V);
void osv_cuda_score_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_scores *scores,
                        int V);
void osv_cuda_score(osv_ops *o, float *loss, const float *sum, const osv_scores *scores);
void osv_cuda_score_dx(osv_ops *o, float *z, const float *max, const float *sum, const float *w,
                       const osv_scores *scores, int V);
void osv_cuda_kl_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_distributions *d,
                     int V);
void osv_cuda_kl(osv_ops *o, float *loss, const float *sum, const osv_distributions *d);
void osv_cuda_kl_dx(osv_ops *o, float *dz, const float *z, const float *max, const float *sum, const float *w,
                    const osv_distributions *d, int V);
void osv_cuda_distance(osv_ops *o, float *loss, const float *x, const float *x0,
                       const osv_distances *distances, int D);
void osv_cuda_distance_dx(osv_ops *o, float *dx, const float *x, const float *x0, const float *w,
                          const osv_distances *distances, int D);
void osv_cuda_objective(osv_ops *o, float *w, float *completion, const float *loss,
                        const osv_objective *objective, int S);
void osv_cuda_multipliers(osv_ops *o, const float *L, const osv_objective *objective,
                          const osv_adam_params *params);
void osv_cuda_sample(osv_ops *o, int *id, float *logprob, const float *z, const osv_sampling *how, int R,
                     int V);
void osv_cuda_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const float *z, const float *max,
                         const osv_sampling *how, int first_id, int k, int R, int V);

void osv_cuda_apply(osv_ops *o, float *x, const float *x0, const float *p, const osv_site *site, float *coef,
                    int D);
void osv_cuda_apply_dp(osv_ops *o, float *dp, const float *dx, const float *x0, const float *p,
                       const osv_site *site, float *coef, int D);
void osv_cuda_apply_dx(osv_ops *o, float *dx, const float *x0, const float *p, const osv_site *site,
                       float *coef, int D);
void osv_cuda_adam(osv_ops *o, float *v, float *m, float *s, const float *dv, const double *direction,
                   const osv_adam_params *params, int D, int J);
void osv_cuda_norm(osv_ops *o, float *out, const float *v, int D, int J);
void osv_cuda_noise(osv_ops *o, float *q, const float *p, const float *dp, const osv_noise *noise, int k,
                    int D, int J);
void osv_cuda_noise_mean(osv_ops *o, float *mean, const float *dq, const osv_noise *noise, int k, int D,
                         int J);
void osv_cuda_penalty(osv_ops *o, float *dp, float *cost, const float *p, const osv_penalty *penalty,
                      float *gram, int rows, int D, int J);

#ifdef __cplusplus
}
#endif

#endif
