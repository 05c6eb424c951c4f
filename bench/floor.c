#include "bench/floor.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/host.h"

/* Each thread multiplies its own n x n matrices, so that the rate is that of `threads` cores whatever the
 * BLAS does inside. */
static double matmul_rate(int threads)
{
    enum { n = 768, repeats = 7 };
    double best = 1e9;
    float *x = malloc(sizeof(float) * 3 * n * n * (size_t)threads);
    if (!x) return 0;
    for (size_t i = 0; i < (size_t)3 * n * n * (size_t)threads; i++) x[i] = (float)(i % 7) - 3;
    for (int r = 0; r < repeats; r++) {
        double start = osv_host_seconds();
#pragma omp parallel num_threads(threads)
        {
            float *a = x + (size_t)omp_get_thread_num() * 3 * n * n;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, a, n, a + n * n, n, 0,
                        a + 2 * n * n, n);
        }
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return 2.0 * n * n * n * threads / best;
}

static double read_rate(int threads)
{
    enum { repeats = 5 };
    const size_t n = (size_t)1 << 26; /* 256 MiB: well past any cache */
    float *x = malloc(n * sizeof *x);
    double best = 1e9, sum = 0;
    if (!x) return 0;
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < n; i++) x[i] = 1;
    for (int r = 0; r < repeats; r++) {
        double start = osv_host_seconds();
#pragma omp parallel for simd reduction(+ : sum) num_threads(threads)
        for (size_t i = 0; i < n; i++) sum += (double)x[i];
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return sum > 0 ? (double)n * sizeof(float) / best : 0;
}

osv_rates osv_measure_rates(int threads)
{
    return (osv_rates){.flops = matmul_rate(threads), .bandwidth = read_rate(threads)};
}
