/* Products are the device's (cuBLASLt): few rows are limited by the bandwidth of the weights, many by the
 * tensor cores. A product with a bf16 weight rounds its input to bf16, into scratch; many rows are cut into
 * pieces that fit, each large enough that reading the weight again costs little. With an fp32 weight all is
 * fp32. */
#include "kernels/cuda/gpu.cuh"

/* The largest number of rows of `cols` bf16 numbers that fit into scratch. */
static int rows_at_once(osv_ops *o, int cols, int rows)
{
    size_t fit = ((const osv_cuda *)o->state)->scratch_bytes / ((size_t)cols * sizeof(bf16));
    if (fit == 0) OSV_FAIL(o->error, OSV_DEVICE, "cuda: a row of %d numbers does not fit into scratch", cols);
    return fit < (size_t)rows ? (int)fit : rows;
}

/* c [rows, cols] = (or +=) a b; `rounded` is a as bf16. */
static void product(osv_ops *o, float *c, const float *a, const void *rounded, const osv_weight *w, bool dx,
                    bool accumulate, int rows)
{
    osv_product p;
    p.c = c;
    p.a = w->format == OSV_BF16 ? rounded : a;
    p.b = w->data;
    p.rows = rows;
    p.cols = dx ? w->cols : w->rows;
    p.inner = dx ? w->rows : w->cols;
    p.format = w->format;
    p.transposed = !dx;
    p.accumulate = accumulate;
    osv_device_matmul(osv_cuda_device(o), &p);
}

/* x [rows, cols] as bf16 in scratch. */
static const void *rounded(osv_ops *o, const float *x, int cols, int rows)
{
    void *scratch = ((const osv_cuda *)o->state)->scratch;
    osv_cuda_convert(o, scratch, OSV_BF16, x, OSV_F32, (size_t)rows * cols);
    return scratch;
}

/* y[i] = x w[i]^T */
extern "C" void osv_cuda_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[],
                                int n, int rows)
{
    if (osv_ops_status(o) || n == 0 || rows == 0) return;
    int cols = w[0]->cols, step = rows_at_once(o, cols, rows);
    bool some_bf16 = false;
    for (int i = 0; i < n; i++) some_bf16 = some_bf16 || w[i]->format == OSV_BF16;
    for (int r = 0; r < rows && !osv_ops_status(o); r += step) {
        int count = min(step, rows - r);
        const float *from = x + (size_t)r * cols;
        const void *scratch = some_bf16 ? rounded(o, from, cols, count) : NULL;
        for (int i = 0; i < n; i++)
            product(o, y[i] + (size_t)r * w[i]->rows, from, scratch, w[i], false, false, count);
    }
}

/* dx = sum over i of dy[i] w[i], in that order */
extern "C" void osv_cuda_matmul_dx(osv_ops *o, float *dx, const float *const dy[],
                                   const osv_weight *const w[], int n, int rows)
{
    if (osv_ops_status(o) || n == 0 || rows == 0) return;
    for (int i = 0; i < n; i++) {
        int outputs = w[i]->rows, step = rows_at_once(o, outputs, rows);
        for (int r = 0; r < rows && !osv_ops_status(o); r += step) {
            int count = min(step, rows - r);
            const float *from = dy[i] + (size_t)r * outputs;
            const void *scratch = w[i]->format == OSV_BF16 ? rounded(o, from, outputs, count) : NULL;
            product(o, dx + (size_t)r * w[i]->cols, from, scratch, w[i], true, i > 0, count);
        }
    }
}

/* y[r] += b: bandwidth alone. A block a row. */
static __global__ void bias(float *y, const float *b, int cols, bool by_four)
{
    y += (size_t)blockIdx.x * cols;
    over_row(
        cols, by_four, [&](int c) { store4(y + c, add4(load4(y + c), load4(b + c))); },
        [&](int c) { y[c] += b[c]; });
}

extern "C" void osv_cuda_bias(osv_ops *o, float *y, const osv_weight *b, int rows)
{
    if (osv_ops_status(o)) return;
    LAUNCH(osv_cuda_device(o), rows, osv_cuda_row_threads(b->cols), 0, bias, y, (const float *)b->data,
           b->cols, osv_cuda_by_four(y, b->cols));
}
