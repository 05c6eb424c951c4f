/* The embedded default filling, inside: its state, what its files share, and the functions of its table, one
 * file a family.
 *
 * cpu keeps weights in the format of the file, where the file is mapped, and widens them to fp32 as they are
 * used, in registers or small pieces (products.h). Attention uses BLAS, everything else is loops that
 * vectorize. All arithmetic is fp32 or better; which instructions do it, and so the last digits, depend on
 * the processor.
 * The state belongs to the osv_ops that osv_cpu_open made and dies with its close, and with it the scratch
 * and the weights that `place` rounded. One thread at a time may call the ops of one osv_ops.
 *
 * Threads. Work is cut into items by its shape alone, never by the number of threads; every output number is
 * made by one item, in a fixed order; sums over items go through an array that is added up in order. Where
 * threads share columns evenly instead (matmul_dx.c), each number is still one sum in that order. So the
 * bytes of a result do not depend on the number of threads. A parallel region has 1 thread or all of them:
 * any other size would make the OpenMP runtime end threads and start them again.
 *
 * BLAS. OpenBLAS is called from inside our own regions and told to use one thread a call, so that two pools
 * never fight. Its serial flavour as Debian builds it is not safe there (its table of work buffers has no
 * lock: two threads calling sgemm at once get wrong products), so with it regions that call BLAS have one
 * thread: right, but slow. See osv_cpu_open. */
#ifndef OSV_KERNELS_CPU_CPU_H
#define OSV_KERNELS_CPU_CPU_H

#include <cblas.h>

#include "kernels/ops.h"

#ifdef OSV_DOUBLE
#error "cpu is the float filling: the double build has ref alone"
#endif

/* `omp simd` allows; a build with sanitizers does not take it up, which Clang warns of. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/* Loops over numbers, compiled once for each of these instruction sets and chosen when the program is loaded;
 * elsewhere for the target of the build alone (Clang 14 gives all resolvers of a name external linkage, also
 * of static functions). Only for functions without OpenMP regions of their own: the body of a region is a
 * function of its own, which would not be cloned. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GNUC__ >= 12
#define OSV_CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OSV_CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define OSV_CPU_CLONES
#endif

#define OSV_CPU_INLINE static inline __attribute__((always_inline))

typedef struct osv_cpu_copy osv_cpu_copy;

typedef struct {
    osv_dtype dtype;
    int threads;          /* of a region */
    int blas_threads;     /* of a region that calls BLAS */
    void **scratch;       /* [threads], see osv_cpu_scratch */
    size_t scratch_bytes; /* of each */
    void *partial;        /* shared by the threads of a region, see osv_cpu_partial */
    size_t partial_bytes; /* at least */
    osv_cpu_copy *copies; /* weights that `place` made */
    char hardware[200];
    double stamp[OSV_STAMPS]; /* when each was taken, seconds */
} osv_cpu;

OSV_CPU_INLINE bool osv_cpu_failed(const osv_ops *o)
{
    return o->error->status != OSV_OK;
}

/* Threads for a region that touches `work` numbers. Few are not worth waking the others: a region costs some
 * microseconds, and a time slice of the system (4 ms) where other programs keep the processors busy. */
OSV_CPU_INLINE int osv_cpu_threads(const osv_ops *o, double work)
{
    enum { ALONE = 1 << 17 }; /* 30 us or so */
    const osv_cpu *cpu = o->state;
    return work <= ALONE ? 1 : cpu->threads;
}

/* The same for a product of that many multiply-adds, by whatever it is computed. */
OSV_CPU_INLINE int osv_cpu_product_threads(const osv_ops *o, double products)
{
    enum { A_NUMBER = 16 }; /* products in the time of a number */
    return osv_cpu_threads(o, products / A_NUMBER);
}

/* The same for a region that calls BLAS. */
OSV_CPU_INLINE int osv_cpu_blas_threads(const osv_ops *o, double products)
{
    const osv_cpu *cpu = o->state;
    return osv_cpu_product_threads(o, products) == 1 ? 1 : cpu->blas_threads;
}

/* Makes room for `bytes` of scratch in each thread (call outside of the region) and `bytes` shared by all;
 * false, and an error that sticks, when there is no memory. Both are aligned to 64, hold garbage, and belong
 * to one operator at a time; they only grow, so the iterations of a training run do not allocate. */
bool osv_cpu_scratch(osv_ops *o, size_t bytes);
bool osv_cpu_partial(osv_ops *o, size_t bytes);

/* The calling thread's scratch, inside the region. */
void *osv_cpu_mine(const osv_ops *o);

/* out[i] = w[row, col + i] for i < count, as floats. */
void osv_cpu_widen(float *out, const osv_weight *w, int row, int col, int count);

/* out[r * step + i] = w[row + r, col + i] for r < rows, i < cols. */
void osv_cpu_widen_rows(float *out, size_t step, const osv_weight *w, int row, int rows, int col, int cols);

/* C [m, n] = A [m, k] B + beta C, rows of A, B, C being lda, ldb, ldc apart; B [k, n], or [n, k] in _nt.
 * _tn: A is [k, m]. */
OSV_CPU_INLINE void osv_cpu_gemm_nn(int m, int n, int k, const float *a, int lda, const float *b, int ldb,
                                    float beta, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

OSV_CPU_INLINE void osv_cpu_gemm_nt(int m, int n, int k, const float *a, int lda, const float *b, int ldb,
                                    float beta, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

OSV_CPU_INLINE void osv_cpu_gemm_tn(int m, int n, int k, const float *a, int lda, const float *b, int ldb,
                                    float beta, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

OSV_CPU_INLINE int osv_cpu_min(int a, int b)
{
    return a < b ? a : b;
}

OSV_CPU_INLINE int osv_cpu_max(int a, int b)
{
    return a > b ? a : b;
}

/* Number of blocks of `block` that n takes. */
OSV_CPU_INLINE int osv_cpu_blocks(int n, int block)
{
    return n / block + (n % block != 0);
}

void osv_cpu_embed(osv_ops *o, float *x, const int *ids, const osv_weight *w, int first_id, double scale,
                   int rows);
void osv_cpu_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                    int rows);
void osv_cpu_matmul_dx(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                       int rows);
void osv_cpu_bias(osv_ops *o, float *y, const osv_weight *b, int rows);
void osv_cpu_rmsnorm(osv_ops *o, float *y, const float *x, const osv_weight *w, double offset, double eps,
                     int rows);
void osv_cpu_rmsnorm_dx(osv_ops *o, float *dx, const float *dy, const float *x, const osv_weight *w,
                        double offset, double eps, int rows);
void osv_cpu_rmsnorm_sum(osv_ops *o, float *sum, const float *x, const osv_split_norm *n, int cols, int rows);
void osv_cpu_rmsnorm_split(osv_ops *o, float *y, const float *x, const float *sum, const osv_weight *w,
                           const osv_split_norm *n, int rows);
void osv_cpu_rmsnorm_dot(osv_ops *o, float *dot, const float *dy, const float *x, const osv_weight *w,
                         const osv_split_norm *n, int rows);
void osv_cpu_rmsnorm_split_dx(osv_ops *o, float *dx, const float *dy, const float *x, const float *sum,
                              const float *dot, const osv_weight *w, const osv_split_norm *n, int rows);
void osv_cpu_residual_add(osv_ops *o, float *out, const float *x, const float *y, const int *index, int D,
                          int rows);
void osv_cpu_scale(osv_ops *o, float *y, double factor, size_t n);
void osv_cpu_rope(osv_ops *o, float *x, const int *pos, const float *table, int heads, int E, int rot,
                  int direction, int rows);
void osv_cpu_attention(osv_ops *o, float *out, float *lse, const float *q, const float *k, const float *v,
                       const osv_worklist *work, const osv_attention *a);
void osv_cpu_attention_dx(osv_ops *o, float *dq, float *dk, float *dv, float *delta, const float *dout,
                          const float *q, const float *k, const float *v, const float *out, const float *lse,
                          const osv_worklist *work, const osv_attention *a);
void osv_cpu_glu(osv_ops *o, float *y, const float *gate, const float *up, osv_activation act, size_t n);
void osv_cpu_glu_dx(osv_ops *o, float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                    osv_activation act, size_t n);

void osv_cpu_softcap(osv_ops *o, float *z, double cap, size_t n);
void osv_cpu_score_max(osv_ops *o, float *max, const float *z, int R, int V);
void osv_cpu_score_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_scores *scores,
                       int V);
void osv_cpu_score(osv_ops *o, float *loss, const float *sum, const osv_scores *scores);
void osv_cpu_score_dx(osv_ops *o, float *z, const float *max, const float *sum, const float *w,
                      const osv_scores *scores, int V);
void osv_cpu_kl_sum(osv_ops *o, float *sum, const float *z, const float *max, const osv_distributions *d,
                    int V);
void osv_cpu_kl(osv_ops *o, float *loss, const float *sum, const osv_distributions *d);
void osv_cpu_kl_dx(osv_ops *o, float *dz, const float *z, const float *max, const float *sum, const float *w,
                   const osv_distributions *d, int V);
void osv_cpu_distance(osv_ops *o, float *loss, const float *x, const float *x0,
                      const osv_distances *distances, int D);
void osv_cpu_distance_dx(osv_ops *o, float *dx, const float *x, const float *x0, const float *w,
                         const osv_distances *distances, int D);
void osv_cpu_objective(osv_ops *o, float *w, float *completion, const float *loss,
                       const osv_objective *objective, int S);
void osv_cpu_multipliers(osv_ops *o, const float *L, const osv_objective *objective,
                         const osv_adam_params *params);
void osv_cpu_sample(osv_ops *o, int *id, float *logprob, const float *z, const osv_sampling *how, int R,
                    int V);
void osv_cpu_candidates(osv_ops *o, osv_slice *slice, osv_token *token, const float *z, const float *max,
                        const osv_sampling *how, int first_id, int k, int R, int V);

void osv_cpu_apply(osv_ops *o, float *x, const float *x0, const float *p, const osv_site *site, float *coef,
                   int D);
void osv_cpu_apply_dp(osv_ops *o, float *dp, const float *dx, const float *x0, const float *p,
                      const osv_site *site, float *coef, int D);
void osv_cpu_apply_dx(osv_ops *o, float *dx, const float *x0, const float *p, const osv_site *site,
                      float *coef, int D);
void osv_cpu_adam(osv_ops *o, float *v, float *m, float *s, const float *dv, const double *direction,
                  const osv_adam_params *params, int D, int J);
void osv_cpu_norm(osv_ops *o, float *out, const float *v, int D, int J);
void osv_cpu_noise(osv_ops *o, float *q, const float *p, const float *dp, const osv_noise *noise, int k,
                   int D, int J);
void osv_cpu_noise_mean(osv_ops *o, float *mean, const float *dq, const osv_noise *noise, int k, int D,
                        int J);
void osv_cpu_penalty(osv_ops *o, float *dp, float *cost, const float *p, const osv_penalty *penalty,
                     float *gram, int rows, int D, int J);

#endif
