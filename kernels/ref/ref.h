/* The reference filling, inside: its state and the functions of its table, one file a family.
 *
 * ref is the specification of every operator: plain loops over host memory, sums in double whatever osv_real
 * is, no threads. It is never made faster at the cost of being less plain. The state belongs to the osv_ops
 * that osv_ref_open made and dies with its close.
 *
 * With OSV_DTYPE_BF16 every input of a matrix product is rounded to bf16 before it is multiplied, and nothing
 * else is: the error this makes is the budget of fillings that compute in bf16. Products are those of matmul,
 * matmul_dx and attention (q, k, v, P, dout and the gradient of the scores). Matrices are rounded wherever
 * they are read, so also by embed, because a tied head is one matrix; norm weights and biases never are. */
#ifndef OSV_KERNELS_REF_REF_H
#define OSV_KERNELS_REF_REF_H

#include "kernels/ops.h"

typedef struct {
    osv_dtype dtype;
    double *scratch; /* one buffer, lent to one operator at a time */
    size_t scratch_length;
    char hardware[200];
    double stamp[OSV_STAMPS]; /* when each was taken, seconds */
} osv_ref;

/* x as a matrix product sees it. */
static inline double osv_ref_round(const osv_ops *o, double x)
{
    const osv_ref *ref = o->state;
    return ref->dtype == OSV_DTYPE_BF16 ? osv_float_from_bf16(osv_bf16_from_float((float)x)) : x;
}

/* w[row, col] as a matrix product sees it. */
static inline double osv_ref_weight(const osv_ops *o, const osv_weight *w, int row, int col)
{
    return osv_ref_round(o, osv_weight_get(w, (size_t)row, (size_t)col));
}

/* Room for n doubles until the next call; NULL, and an error that sticks, when there is no memory. */
double *osv_ref_scratch(osv_ops *o, size_t n);

void osv_ref_embed(osv_ops *o, osv_real *x, const int *ids, const osv_weight *w, int first_id, double scale,
                   int rows);
void osv_ref_matmul(osv_ops *o, osv_real *const y[], const osv_real *x, const osv_weight *const w[], int n,
                    int rows);
void osv_ref_matmul_dx(osv_ops *o, osv_real *dx, const osv_real *const dy[], const osv_weight *const w[],
                       int n, int rows);
void osv_ref_bias(osv_ops *o, osv_real *y, const osv_weight *b, int rows);
void osv_ref_rmsnorm(osv_ops *o, osv_real *y, const osv_real *x, const osv_weight *w, double offset,
                     double eps, int rows);
void osv_ref_rmsnorm_dx(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x, const osv_weight *w,
                        double offset, double eps, int rows);
void osv_ref_rmsnorm_sum(osv_ops *o, osv_real *sum, const osv_real *x, const osv_split_norm *n, int cols,
                         int rows);
void osv_ref_rmsnorm_split(osv_ops *o, osv_real *y, const osv_real *x, const osv_real *sum,
                           const osv_weight *w, const osv_split_norm *n, int rows);
void osv_ref_rmsnorm_dot(osv_ops *o, osv_real *dot, const osv_real *dy, const osv_real *x,
                         const osv_weight *w, const osv_split_norm *n, int rows);
void osv_ref_rmsnorm_split_dx(osv_ops *o, osv_real *dx, const osv_real *dy, const osv_real *x,
                              const osv_real *sum, const osv_real *dot, const osv_weight *w,
                              const osv_split_norm *n, int rows);
void osv_ref_residual_add(osv_ops *o, osv_real *out, const osv_real *x, const osv_real *y, const int *index,
                          int D, int rows);
void osv_ref_scale(osv_ops *o, osv_real *y, double factor, size_t n);
void osv_ref_rope(osv_ops *o, osv_real *x, const int *pos, const osv_real *table, int heads, int E, int rot,
                  int direction, int rows);
void osv_ref_attention(osv_ops *o, osv_real *out, osv_real *lse, const osv_real *q, const osv_real *k,
                       const osv_real *v, const osv_worklist *work, const osv_attention *a);
void osv_ref_attention_dx(osv_ops *o, osv_real *dq, osv_real *dk, osv_real *dv, osv_real *delta,
                          const osv_real *dout, const osv_real *q, const osv_real *k, const osv_real *v,
                          const osv_real *out, const osv_real *lse, const osv_worklist *work,
                          const osv_attention *a);
void osv_ref_glu(osv_ops *o, osv_real *y, const osv_real *gate, const osv_real *up, osv_activation act,
                 size_t n);
void osv_ref_glu_dx(osv_ops *o, osv_real *dgate, osv_real *dup, const osv_real *dy, const osv_real *gate,
                    const osv_real *up, osv_activation act, size_t n);

void osv_ref_softcap(osv_ops *o, osv_real *z, double cap, size_t n);
void osv_ref_score_max(osv_ops *o, osv_real *max, const osv_real *z, int R, int V);
void osv_ref_score_sum(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                       const osv_scores *scores, int V);
void osv_ref_score(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_scores *scores);
void osv_ref_score_dx(osv_ops *o, osv_real *z, const osv_real *max, const osv_real *sum, const osv_real *w,
                      const osv_scores *scores, int V);
void osv_ref_kl_sum(osv_ops *o, osv_real *sum, const osv_real *z, const osv_real *max,
                    const osv_distributions *d, int V);
void osv_ref_kl(osv_ops *o, osv_real *loss, const osv_real *sum, const osv_distributions *d);
void osv_ref_kl_dx(osv_ops *o, osv_real *dz, const osv_real *z, const osv_real *max, const osv_real *sum,
                   const osv_real *w, const osv_distributions *d, int V);
void osv_ref_distance(osv_ops *o, osv_real *loss, const osv_real *x, const osv_real *x0,
                      const osv_distances *distances, int D);
void osv_ref_distance_dx(osv_ops *o, osv_real *dx, const osv_real *x, const osv_real *x0, const osv_real *w,
                         const osv_distances *distances, int D);
void osv_ref_objective(osv_ops *o, osv_real *w, osv_real *completion, const osv_real *loss,
                       const osv_objective *objective, int S);
void osv_ref_multipliers(osv_ops *o, const osv_real *L, const osv_objective *objective,
                         const osv_adam_params *params);
void osv_ref_sample(osv_ops *o, int *id, osv_real *logprob, const osv_real *z, const osv_sampling *how, int R,
                    int V);
void osv_ref_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const osv_real *z,
                        const osv_real *max, const osv_sampling *how, int first_id, int k, int R, int V);

void osv_ref_apply(osv_ops *o, osv_real *x, const osv_real *x0, const osv_real *p, const osv_site *site,
                   osv_real *coef, int D);
void osv_ref_apply_dp(osv_ops *o, osv_real *dp, const osv_real *dx, const osv_real *x0, const osv_real *p,
                      const osv_site *site, osv_real *coef, int D);
void osv_ref_apply_dx(osv_ops *o, osv_real *dx, const osv_real *x0, const osv_real *p, const osv_site *site,
                      osv_real *coef, int D);
void osv_ref_adam(osv_ops *o, osv_real *v, osv_real *m, osv_real *s, const osv_real *dv,
                  const double *direction, const osv_adam_params *params, int D, int J);
void osv_ref_norm(osv_ops *o, osv_real *out, const osv_real *v, int D, int J);
void osv_ref_noise(osv_ops *o, osv_real *q, const osv_real *p, const osv_real *dp, const osv_noise *noise,
                   int k, int D, int J);
void osv_ref_noise_mean(osv_ops *o, osv_real *mean, const osv_real *dq, const osv_noise *noise, int k, int D,
                        int J);
void osv_ref_penalty(osv_ops *o, osv_real *dp, osv_real *cost, const osv_real *p, const osv_penalty *penalty,
                     osv_real *gram, int rows, int D, int J);

#endif
