/* The vocabulary of kernels (kernels/cuda/gpu.cuh), each word alone with distinct values, against what the
 * PTX manual says. Compiled twice: for the emulation, and by nvcc for a GPU, where it settles whether our
 * reading of the fragment layouts is right. Prints TAP. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/gpu.cuh"

static int number, failures;

static void report(bool passed, const char *name)
{
    printf("%sok %d - %s\n", passed ? "" : "not ", ++number, name);
    failures += !passed;
}

/* Device memory that starts as `bytes` at p and is read back into p. */
typedef struct {
    osv_device *d;
    void *device, *host;
    size_t bytes;
} mirror;

static mirror mirror_make(osv_device *d, void *p, size_t bytes)
{
    mirror m = {d, osv_device_alloc(d, bytes), p, bytes};
    osv_device_copy(d, m.device, p, bytes, OSV_TO_DEVICE);
    osv_device_sync(d, 0);
    return m;
}

static void mirror_end(mirror *m)
{
    osv_device_copy(m->d, m->host, m->device, m->bytes, OSV_TO_HOST);
    osv_device_sync(m->d, 0);
    osv_device_free(m->d, m->device);
}

/* ---- ldmatrix ---- */

enum { MATRICES = 4, EDGE = 8 };

/* Element (row, column) of matrix m is a number of its own, exact in bf16. */
static int element(int m, int row, int column)
{
    return (m * EDGE + row) * EDGE + column;
}

static __global__ void load_matrices(uint32_t *out, bool transposed)
{
    SHARED(bf16, tile, MATRICES * EDGE * EDGE);
    uint32_t r[MATRICES];
    for (int i = warp_lane(); i < MATRICES * EDGE * EDGE; i += WARP) tile[i] = to_bf16((float)i);
    __syncthreads();
    if (transposed)
        ldmatrix_x4_transposed(r, tile + warp_lane() * EDGE);
    else
        ldmatrix_x4(r, tile + warp_lane() * EDGE);
    for (int m = 0; m < MATRICES; m++) out[m * WARP + warp_lane()] = r[m];
}

static float half_of(uint32_t pair, int high)
{
    union {
        uint32_t bits;
        float value;
    } x;
    x.bits = high ? pair & 0xffff0000u : pair << 16;
    return x.value;
}

static void test_ldmatrix(osv_device *d, bool transposed)
{
    uint32_t out[MATRICES * WARP] = {0};
    mirror m = mirror_make(d, out, sizeof out);
    LAUNCH(d, 1, WARP, 0, load_matrices, (uint32_t *)m.device, transposed);
    mirror_end(&m);
    bool right = true;
    for (int i = 0; i < MATRICES; i++)
        for (int lane = 0; lane < WARP; lane++)
            for (int h = 0; h < 2; h++) {
                int row = lane / 4, column = lane % 4 * 2 + h;
                int expected = transposed ? element(i, column, row) : element(i, row, column);
                right = right && half_of(out[i * WARP + lane], h) == (float)expected;
            }
    report(right, transposed ? "ldmatrix, transposed" : "ldmatrix");
}

/* ---- mma ---- */

enum { M = 16, N = 8, K = 16 };

/* From global memory by the layouts of gpu.cuh, or through ldmatrix from shared memory. */
static __global__ void multiply(float *c, const float *a, const float *b, bool by_ldmatrix)
{
    SHARED(bf16, rows, M * K);    /* a as four 8x8 matrices: rows 0-7 and 8-15 of columns 0-7, then of 8-15 */
    SHARED(bf16, columns, K * N); /* b, row-major */
    int g = warp_lane() / 4, t = warp_lane() % 4 * 2;
    uint32_t x[4], y[4];
    float sum[4] = {c[g * N + t], c[g * N + t + 1], c[(g + 8) * N + t], c[(g + 8) * N + t + 1]};
    for (int i = warp_lane(); i < M * K; i += WARP) {
        int matrix = i / 64, row = i % 64 / 8, column = i % 8;
        rows[i] = to_bf16(a[(matrix % 2 * 8 + row) * K + matrix / 2 * 8 + column]);
    }
    for (int i = warp_lane(); i < K * N; i += WARP) columns[i] = to_bf16(b[i]);
    __syncthreads();
    if (by_ldmatrix) {
        ldmatrix_x4(x, rows + warp_lane() * 8);
        ldmatrix_x4_transposed(y, columns + warp_lane() % 16 * 8); /* two matrices, twice */
    } else {
        for (int i = 0; i < 4; i++) {
            const float *at = a + (g + i % 2 * 8) * K + t + i / 2 * 8;
            x[i] = pack_bf16(at[0], at[1]);
        }
        for (int i = 0; i < 2; i++) y[i] = pack_bf16(b[(t + i * 8) * N + g], b[(t + i * 8 + 1) * N + g]);
    }
    mma_bf16(sum, x, y);
    for (int i = 0; i < 4; i++) c[(g + i / 2 * 8) * N + t + i % 2] = sum[i];
}

static void test_mma(osv_device *d, bool by_ldmatrix)
{
    float a[M * K], b[K * N], c[M * N], expected[M * N];
    for (int i = 0; i < M * K; i++) a[i] = (float)(i * 37 % 101 - 50); /* sums stay exact */
    for (int i = 0; i < K * N; i++) b[i] = (float)(i * 53 % 97 - 48);
    for (int i = 0; i < M * N; i++) expected[i] = c[i] = (float)(1000 + i);
    for (int i = 0; i < M * N; i++)
        for (int k = 0; k < K; k++) expected[i] += a[i / N * K + k] * b[k * N + i % N];
    mirror of_a = mirror_make(d, a, sizeof a), of_b = mirror_make(d, b, sizeof b);
    mirror of_c = mirror_make(d, c, sizeof c);
    LAUNCH(d, 1, WARP, 0, multiply, (float *)of_c.device, (const float *)of_a.device,
           (const float *)of_b.device, by_ldmatrix);
    mirror_end(&of_c);
    mirror_end(&of_a);
    mirror_end(&of_b);
    bool right = true;
    for (int i = 0; i < M * N; i++) right = right && c[i] == expected[i];
    report(right, by_ldmatrix ? "mma, fragments by ldmatrix" : "mma");
}

/* ---- the rest ---- */

enum { THREADS = 96, PIECES = 24 };

/* Two groups of copies; what is not valid becomes zero although nothing lies at its source. */
static __global__ void copy_pieces(float *out, const float *in)
{
    SHARED_DYNAMIC(float, tile);
    int i = (int)threadIdx.x;
    if (i < PIECES / 2) cp_async(tile + 4 * i, in + 4 * i, true);
    cp_async_commit();
    if (i < PIECES / 2) cp_async(tile + 2 * PIECES + 4 * i, in + 2 * PIECES + 4 * i, i % 2 == 0);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    float first = i < 2 * PIECES ? tile[i] : 0;
    cp_async_wait<0>();
    __syncthreads();
    out[i] = i < 2 * PIECES ? first : tile[i];
}

static void test_cp_async(osv_device *d)
{
    float in[4 * PIECES], out[4 * PIECES];
    for (int i = 0; i < 4 * PIECES; i++) in[i] = (float)(i + 1);
    mirror from = mirror_make(d, in, sizeof in), to = mirror_make(d, out, sizeof out);
    LAUNCH(d, 1, THREADS, sizeof in, copy_pieces, (float *)to.device, (const float *)from.device);
    mirror_end(&to);
    mirror_end(&from);
    bool right = true;
    for (int i = 0; i < 4 * PIECES; i++) {
        bool valid = i < 2 * PIECES || (i - 2 * PIECES) / 4 % 2 == 0;
        right = right && out[i] == (valid ? in[i] : 0);
    }
    report(right, "cp_async in two groups, with zeros");
}

static __global__ void reduce(float *out)
{
    float x = (float)(threadIdx.x + 1);
    float sum = block_sum(x), most = block_max(-x), warp = warp_sum(x);
    double precise = block_sum(1.0 + x * 1e-12);
    out[4 * threadIdx.x] = sum;
    out[4 * threadIdx.x + 1] = most;
    out[4 * threadIdx.x + 2] = warp;
    out[4 * threadIdx.x + 3] = (float)((precise - THREADS) * 1e12);
}

static void test_reductions(osv_device *d)
{
    float out[4 * THREADS] = {0};
    mirror m = mirror_make(d, out, sizeof out);
    LAUNCH(d, 1, THREADS, 0, reduce, (float *)m.device);
    mirror_end(&m);
    bool right = true;
    for (int i = 0; i < THREADS; i++) {
        const float *of = out + 4 * i;
        right = right && of[0] == THREADS * (THREADS + 1) / 2 && of[1] == -1;
        right = right && of[2] == WARP * (i / WARP * WARP) + WARP * (WARP + 1) / 2;
        right = right && fabs(of[3] / (THREADS * (THREADS + 1) / 2) - 1) < 1e-3;
    }
    report(right, "sums and maxima of warps and blocks");
}

static __global__ void exchange(uint32_t *out)
{
    unsigned all = 0xffffffffu, lane = (unsigned)warp_lane();
    out[lane] = __shfl_sync(all, lane, 5);
    out[WARP + lane] = __shfl_xor_sync(all, lane, 9);
    out[2 * WARP + lane] = __shfl_down_sync(all, lane, 3);
    out[3 * WARP + lane] = __shfl_up_sync(all, lane, 3);
    out[4 * WARP + lane] = __ballot_sync(all, lane % 3 == 0);
}

static void test_exchange(osv_device *d)
{
    uint32_t out[5 * WARP] = {0}, third = 0;
    mirror m = mirror_make(d, out, sizeof out);
    LAUNCH(d, 1, WARP, 0, exchange, (uint32_t *)m.device);
    mirror_end(&m);
    bool right = true;
    for (uint32_t i = 0; i < WARP; i += 3) third |= 1u << i;
    for (uint32_t i = 0; i < WARP; i++)
        right = right && out[i] == 5 && out[WARP + i] == (i ^ 9) &&
                out[2 * WARP + i] == (i < 29 ? i + 3 : i) && out[3 * WARP + i] == (i < 3 ? i : i - 3) &&
                out[4 * WARP + i] == third;
    report(right, "shuffles and votes");
}

static __global__ void round_all(uint32_t *out, const float *in)
{
    int i = 2 * (int)threadIdx.x;
    out[threadIdx.x] = pack_bf16(in[i], in[i + 1]);
}

static void test_rounding(osv_device *d)
{
    float in[2 * WARP];
    uint32_t out[WARP] = {0};
    for (int i = 0; i < 2 * WARP; i++) in[i] = (float)ldexp(256 + 0.25 * i, i - 20) * (i % 3 ? 1 : -1);
    in[0] = INFINITY, in[1] = 3.4e38f, in[2] = 1e-40f; /* 3.4e38 rounds to infinity; a subnormal stays one */
    mirror from = mirror_make(d, in, sizeof in), to = mirror_make(d, out, sizeof out);
    LAUNCH(d, 1, WARP, 0, round_all, (uint32_t *)to.device, (const float *)from.device);
    mirror_end(&to);
    mirror_end(&from);
    bool right = true;
    for (int i = 0; i < 2 * WARP; i++)
        right = right && (out[i / 2] >> 16 * (i % 2) & 0xffffu) == osv_bf16_from_float(in[i]);
    report(right, "rounding to bf16");
}

int main(void)
{
    osv_error error;
    osv_device *d;
    error.status = OSV_OK;
    if (osv_device_open(&d, 0, &error)) {
        printf("1..0 # SKIP %s\n", error.text);
        return 0;
    }
    printf("# %s\n", osv_device_name(d));
    test_ldmatrix(d, false);
    test_ldmatrix(d, true);
    test_mma(d, false);
    test_mma(d, true);
    test_cp_async(d);
    test_reductions(d);
    test_exchange(d);
    test_rounding(d);
    report(error.status == OSV_OK, error.status ? error.text : "no call failed");
    printf("1..%d\n", number);
    osv_device_close(d);
    return failures > 0;
}
