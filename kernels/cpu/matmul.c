#include <string.h>

#include "kernels/cpu/widen.h"

/* Products with weights that stay in the format of the file. Two ways, by the number of rows of x:
 *
 * many   A panel of weights is widened into the thread's scratch, small enough for its second-level cache,
 *        and BLAS multiplies it. F32 weights go to BLAS where they are.
 * few    BLAS packs both sides first, which would cost more than the product: loops read the weights once
 *        and widen them in registers.
 *
 * Everything is cut by shape alone, so that each number is one sum in one order whatever the threads. */

enum {
    FEW = 4,       /* rows of x that the loops take */
    PANEL = 128,   /* rows of a weight (matmul) or columns (matmul_dx) in a panel */
    DEPTH = 512,   /* length of the sums that one call of BLAS does: PANEL * DEPTH floats are 256 KiB */
    BATCH = 512,   /* rows of x of an item: a panel has paid for itself, and x should stay in the cache */
    NARROW = 64,   /* rows of a weight in an item of the loops */
    COLUMNS = 512, /* columns in an item of the loops of matmul_dx: sums of that length fit the first cache */
    SUM = 256,     /* terms that the loops of matmul_dx add up before the total: keeps rounding small */
};

/* Weights are cut into panels of `panel` rows, one weight after the other. */
static int count_panels(const osv_weight *const w[], int n, int panel)
{
    int count = 0;
    for (int i = 0; i < n; i++) count += osv_cpu_blocks(w[i]->rows, panel);
    return count;
}

/* The weight that a panel belongs to; *row becomes its first row there. */
static int find_panel(const osv_weight *const w[], int index, int panel, int *row)
{
    int i = 0;
    for (int count; index >= (count = osv_cpu_blocks(w[i]->rows, panel)); i++) index -= count;
    *row = index * panel;
    return i;
}

/* Multiply-adds of a product. */
static double work_of(const osv_weight *const w[], int n, int rows)
{
    double count = 0;
    for (int i = 0; i < n; i++) count += (double)w[i]->rows * w[i]->cols;
    return count * rows;
}

/* ---- few rows: loops ---- */

/* sum[t] = x[t] . w for t < FEW */
OSV_CPU_INLINE void dots(float *sum, const float *const x[FEW], const void *w, osv_format format, int n)
{
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int i = 0; i < n; i++) {
        float a = osv_cpu_load(w, format, (size_t)i);
        s0 += a * x0[i];
        s1 += a * x1[i];
        s2 += a * x2[i];
        s3 += a * x3[i];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

OSV_CPU_CLONES
static void dots_f32(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_F32, n);
}

OSV_CPU_CLONES
static void dots_f16(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_F16, n);
}

OSV_CPU_CLONES
static void dots_bf16(float *sum, const float *const x[FEW], const void *w, int n)
{
    dots(sum, x, w, OSV_BF16, n);
}

/* sum += d[0] w[0] + .. + d[3] w[3] for four rows of w, `cols` apart: one pass over `sum` for the four */
OSV_CPU_INLINE void axpys(float *restrict sum, const float d[FEW], const void *w, size_t cols,
                          osv_format format, int n)
{
    float d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
#pragma omp simd
    for (int i = 0; i < n; i++)
        sum[i] += d0 * osv_cpu_load(w, format, (size_t)i) + d1 * osv_cpu_load(w, format, cols + (size_t)i) +
                  d2 * osv_cpu_load(w, format, 2 * cols + (size_t)i) +
                  d3 * osv_cpu_load(w, format, 3 * cols + (size_t)i);
}

OSV_CPU_CLONES
static void axpys_f32(float *sum, const float d[FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_F32, n);
}

OSV_CPU_CLONES
static void axpys_f16(float *sum, const float d[FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_F16, n);
}

OSV_CPU_CLONES
static void axpys_bf16(float *sum, const float d[FEW], const void *w, size_t cols, int n)
{
    axpys(sum, d, w, cols, OSV_BF16, n);
}

/* y[t, m] = x[t] . w[m] for `count` rows of w from `first` */
static void matmul_few(float *y, const float *x, const osv_weight *w, int first, int count, int rows)
{
    static void (*const kernel[])(float *, const float *const *, const void *,
                                  int) = {[OSV_F32] = dots_f32, [OSV_F16] = dots_f16, [OSV_BF16] = dots_bf16};
    const float *row[FEW];
    for (int t = 0; t < FEW; t++) /* a row that is not there is one that is: memory sets the pace, not sums */
        row[t] = x + (size_t)osv_cpu_min(t, rows - 1) * w->cols;
    for (int m = first; m < first + count; m++) {
        float sum[FEW];
        kernel[w->format](sum, row, osv_cpu_at(w, (size_t)m, 0), w->cols);
        for (int t = 0; t < rows; t++) y[(size_t)t * w->rows + m] = sum[t];
    }
}

/* total[t] += sum over the rows m of w of dy[t, m] w[m], columns [col, col + count). total [rows, COLUMNS] */
static void matmul_dx_few(float *total, const float *dy, const osv_weight *w, int col, int count, int rows)
{
    static void (*const kernel[])(float *, const float *, const void *, size_t, int) = {
        [OSV_F32] = axpys_f32, [OSV_F16] = axpys_f16, [OSV_BF16] = axpys_bf16};
    float part[FEW][COLUMNS];
    for (int begin = 0; begin < w->rows; begin += SUM) {
        int end = osv_cpu_min(begin + SUM, w->rows);
        memset(part, 0, sizeof part);
        for (int m = begin; m < end; m += FEW)
            for (int t = 0; t < rows; t++) {
                const float *d = dy + (size_t)t * w->rows + m;
                if (m + FEW <= end) {
                    kernel[w->format](part[t], d, osv_cpu_at(w, (size_t)m, (size_t)col), (size_t)w->cols,
                                      count);
                } else { /* the last rows one by one: four times the same, three times 0 */
                    for (int i = m; i < end; i++) {
                        const float alone[FEW] = {*d++};
                        kernel[w->format](part[t], alone, osv_cpu_at(w, (size_t)i, (size_t)col), 0, count);
                    }
                }
            }
        for (int t = 0; t < rows; t++)
            for (int c = 0; c < count; c++) total[t * COLUMNS + c] += part[t][c];
    }
}

/* ---- many rows: panels ---- */

/* y = x w^T for `count` rows of w from `first`. y [rows, w.rows], x [rows, w.cols] */
static void matmul_panel(float *y, const float *x, const osv_weight *w, int first, int count, int rows,
                         float *wide)
{
    int cols = w->cols;
    if (w->format == OSV_F32) {
        osv_cpu_gemm_nt(rows, count, cols, x, cols, osv_cpu_at(w, (size_t)first, 0), cols, 0, y + first,
                        w->rows);
        return;
    }
    for (int at = 0; at < cols; at += DEPTH) {
        int depth = osv_cpu_min(DEPTH, cols - at);
        for (int m = 0; m < count; m++) osv_cpu_widen(wide + (size_t)m * depth, w, first + m, at, depth);
        osv_cpu_gemm_nt(rows, count, depth, x + at, cols, wide, depth, at > 0, y + first, w->rows);
    }
}

/* dx = dy w, or dx += dy w if `add`, for `count` columns from `first`. dx [rows, w.cols], dy [rows, w.rows]
 */
static void matmul_dx_panel(float *dx, const float *dy, const osv_weight *w, int first, int count, int rows,
                            bool add, float *wide)
{
    int cols = w->cols;
    if (w->format == OSV_F32) {
        osv_cpu_gemm_nn(rows, count, w->rows, dy, w->rows, osv_cpu_at(w, 0, (size_t)first), cols, add,
                        dx + first, cols);
        return;
    }
    for (int at = 0; at < w->rows; at += DEPTH) {
        int depth = osv_cpu_min(DEPTH, w->rows - at);
        for (int m = 0; m < depth; m++) osv_cpu_widen(wide + (size_t)m * count, w, at + m, first, count);
        osv_cpu_gemm_nn(rows, count, depth, dy + at, w->rows, wide, count, add || at > 0, dx + first, cols);
    }
}

/* ---- operators ---- */

void osv_cpu_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                    int rows)
{
    if (osv_cpu_failed(o) || rows == 0 || n == 0) return;
    if (rows <= FEW) {
        int panels = count_panels(w, n, NARROW);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (size_t)work_of(w, n, 1)))
        for (int item = 0; item < panels; item++) {
            int first, i = find_panel(w, item, NARROW, &first);
            matmul_few(y[i], x, w[i], first, osv_cpu_min(NARROW, w[i]->rows - first), rows);
        }
        return;
    }
    if (!osv_cpu_scratch(o, (size_t)PANEL * DEPTH * sizeof(float))) return;
    int panels = count_panels(w, n, PANEL), batches = osv_cpu_blocks(rows, BATCH);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_blas_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < panels * batches; item++) {
        int first, i = find_panel(w, item % panels, PANEL, &first), t = item / panels * BATCH;
        matmul_panel(y[i] + (size_t)t * w[i]->rows, x + (size_t)t * w[i]->cols, w[i], first,
                     osv_cpu_min(PANEL, w[i]->rows - first), osv_cpu_min(BATCH, rows - t), osv_cpu_mine(o));
    }
}

/* An item is a block of columns of dx: it goes through all weights, in order. */
void osv_cpu_matmul_dx(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                       int rows)
{
    if (osv_cpu_failed(o) || rows == 0 || n == 0) return;
    int cols = w[0]->cols;
    if (rows <= FEW) {
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads(o, (size_t)work_of(w, n, 1)))
        for (int col = 0; col < cols; col += COLUMNS) {
            int count = osv_cpu_min(COLUMNS, cols - col);
            float total[FEW * COLUMNS] = {0};
            for (int i = 0; i < n; i++) matmul_dx_few(total, dy[i], w[i], col, count, rows);
            for (int t = 0; t < rows; t++)
                memcpy(dx + (size_t)t * cols + col, total + t * COLUMNS, (size_t)count * sizeof *dx);
        }
        return;
    }
    if (!osv_cpu_scratch(o, (size_t)PANEL * DEPTH * sizeof(float))) return;
    int panels = osv_cpu_blocks(cols, PANEL), batches = osv_cpu_blocks(rows, BATCH);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_blas_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < panels * batches; item++) {
        int first = item % panels * PANEL, t = item / panels * BATCH;
        int width = osv_cpu_min(PANEL, cols - first), count = osv_cpu_min(BATCH, rows - t);
        float *out = dx + (size_t)t * cols;
        bool add = false;
        for (int i = 0; i < n; i++) {
            if (w[i]->rows == 0) continue; /* a rank's slice may be empty */
            matmul_dx_panel(out, dy[i] + (size_t)t * w[i]->rows, w[i], first, width, count, add,
                            osv_cpu_mine(o));
            add = true;
        }
        for (int r = 0; r < count && !add; r++)
            memset(out + (size_t)r * cols + first, 0, (size_t)width * sizeof *out);
    }
}

/* y[r] += b */
void osv_cpu_bias(osv_ops *o, float *y, const osv_weight *b, int rows)
{
    int n = b->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)n * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (size_t)rows *n))
    {
        float *wide = osv_cpu_mine(o);
        osv_cpu_widen(wide, b, 0, 0, n);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < n; c++) y[(size_t)r * n + c] += wide[c];
    }
}
