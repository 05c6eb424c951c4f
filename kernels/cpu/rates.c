#include "kernels/rates.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/host.h"

/* Each thread multiplies its own n x n matrices, so that the rate is that of `threads` cores whatever the
 * BLAS does inside. */
static double matmul_rate(int threads, int n, int repeats)
{
    double best = 1e9;
    size_t numbers = 3 * (size_t)n * (size_t)n;
    float *x = malloc(sizeof(float) * numbers * (size_t)threads);
    if (!x) return 0;
    for (size_t i = 0; i < numbers * (size_t)threads; i++) x[i] = (float)(i % 7) - 3;
    for (int r = 0; r < repeats; r++) {
        double start = osv_host_seconds();
#pragma omp parallel num_threads(threads)
        {
            float *a = x + (size_t)omp_get_thread_num() * numbers;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, a, n, a + n * n, n, 0,
                        a + 2 * n * n, n);
        }
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return 2.0 * n * n * n * threads / best;
}

/* n floats, in parts that are timed one by one: other programs do not run in all of them. */
static double read_rate(int threads, size_t n)
{
    enum { repeats = 5, parts = 32 };
    float *x = malloc(n * sizeof *x);
    size_t part = n / parts;
    double best = 1e9, sum = 0;
    if (!x) return 0;
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < n; i++) x[i] = 1;
    for (int r = 0; r < repeats * parts; r++) {
        const float *from = x + (size_t)(r % parts) * part;
        double start = osv_host_seconds();
#pragma omp parallel for simd reduction(+ : sum) num_threads(threads)
        for (size_t i = 0; i < part; i++) sum += (double)from[i];
        double seconds = osv_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    free(x);
    return sum > 0 ? (double)part * sizeof(float) / best : 0;
}

/* A large product comes nearer to what the processor can do, a smaller one is over before another program
 * runs. Both for a while: a processor that was idle takes some time to reach its clock. */
osv_rates osv_host_rates(int threads, size_t numbers, double seconds)
{
    osv_rates r = {0};
    double begin = osv_host_seconds();
    do {
        if (seconds > 0) r.flops = fmax(r.flops, matmul_rate(threads, 768, 7));
        r.flops = fmax(r.flops, matmul_rate(threads, 384, 50));
        r.bandwidth = fmax(r.bandwidth, read_rate(threads, numbers));
    } while (osv_host_seconds() - begin < seconds);
    return r;
}
