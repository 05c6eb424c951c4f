#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* Products with weights that stay in the format of the file. By the number of rows of x:
 *
 * few    Loops that widen weights in registers (loops.c), which read them once and pack nothing.
 * some   Sums in registers (tile.c), over rows of x that were packed once, for dx over packed columns of w.
 * many   A panel of weights is widened into the thread's scratch, small enough for its second-level cache,
 *        and BLAS multiplies it; F32 weights go to BLAS where they are. BLAS packs both sides of each call,
 *        which takes as long as some 10 rows of products.
 *
 * Everything is cut by shape alone, so that each number is one sum in one order whatever the threads. */

enum {
    SOME = 256,  /* rows that tile.c takes; it wins by a little beyond, too, but x should stay in the cache */
    NARROW = 64, /* rows of a weight in an item of the loops */
    SLAB = 128,  /* at least as many of all weights in an item of matmul_dx: its sums have a price */
    ITEMS = 16,  /* that a product should have, for as many threads */
    NARROWEST = 128,  /* rows of a weight (matmul) or columns (matmul_dx) in a panel: less and BLAS spends */
    WIDEST = 512,     /* its time packing x; more gains nothing */
    DEPTH = 512,      /* longest sums that one call of BLAS does */
    WIDE = 128 << 10, /* floats of a widened panel: 512 KiB, about the second-level cache of a core */
    BATCH = 512,      /* rows of x of an item: a panel has paid for itself, and x should stay in the cache */
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

/* The width of a panel where `total` rows or columns are cut. */
static int panel_of(int total)
{
    int even = osv_cpu_blocks(osv_cpu_blocks(total, ITEMS), 64) * 64;
    return osv_cpu_min(osv_cpu_max(even, NARROWEST), WIDEST);
}

/* The length of the sums of one call, for a panel of that width. */
static int depth_of(int panel)
{
    return osv_cpu_min(DEPTH, WIDE / panel / 16 * 16);
}

/* Multiply-adds of a product, with few rows as many as could be done while the weights are read. */
static double work_of(const osv_weight *const w[], int n, int rows)
{
    double count = 0;
    for (int i = 0; i < n; i++) count += (double)w[i]->rows * w[i]->cols;
    return count * osv_cpu_max(rows, 16);
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
    for (int at = 0, most = depth_of(count); at < cols; at += most) {
        int depth = osv_cpu_min(most, cols - at);
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
    for (int at = 0, most = depth_of(count); at < w->rows; at += most) {
        int depth = osv_cpu_min(most, w->rows - at);
        for (int m = 0; m < depth; m++) osv_cpu_widen(wide + (size_t)m * count, w, at + m, first, count);
        osv_cpu_gemm_nn(rows, count, depth, dy + at, w->rows, wide, count, add || at > 0, dx + first, cols);
    }
}

/* ---- operators ---- */

/* Rows of all weights together. */
static int total_rows(const osv_weight *const w[], int n)
{
    int total = 0;
    for (int i = 0; i < n; i++) total += w[i]->rows;
    return total;
}

static void matmul_few(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                       int rows)
{
    int panels = count_panels(w, n, NARROW);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_product_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < panels; item++) {
        int first, i = find_panel(w, item, NARROW, &first);
        osv_cpu_dots(y[i], x, w[i], first, osv_cpu_min(NARROW, w[i]->rows - first), rows);
    }
}

static void matmul_some(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                        int rows)
{
    int cols = w[0]->cols, blocks = osv_cpu_blocks(rows, OSV_CPU_LANES), panels = count_panels(w, n, NARROW);
    size_t block = (size_t)OSV_CPU_LANES * cols;
    if (!osv_cpu_partial(o, block * blocks * sizeof(float))) return;
    const osv_cpu *cpu = o->state;
    float *packed = cpu->partial;
#pragma omp parallel num_threads(osv_cpu_product_threads(o, work_of(w, n, rows)))
    {
#pragma omp for schedule(static)
        for (int b = 0; b < blocks; b++) {
            int t = b * OSV_CPU_LANES;
            osv_cpu_pack_rows(packed + b * block, x + (size_t)t * cols, cols,
                              osv_cpu_min(OSV_CPU_LANES, rows - t));
        }
#pragma omp for schedule(static)
        for (int item = 0; item < panels; item++) {
            int first, i = find_panel(w, item, NARROW, &first);
            osv_cpu_tile(y[i], packed, w[i], first, osv_cpu_min(NARROW, w[i]->rows - first), rows);
        }
    }
}

static void matmul_many(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                        int rows)
{
    if (!osv_cpu_scratch(o, (size_t)WIDE * sizeof(float))) return;
    int panel = panel_of(total_rows(w, n)), panels = count_panels(w, n, panel);
    int batches = osv_cpu_blocks(rows, BATCH);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_blas_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < panels * batches; item++) {
        int first, i = find_panel(w, item % panels, panel, &first), t = item / panels * BATCH;
        matmul_panel(y[i] + (size_t)t * w[i]->rows, x + (size_t)t * w[i]->cols, w[i], first,
                     osv_cpu_min(panel, w[i]->rows - first), osv_cpu_min(BATCH, rows - t), osv_cpu_mine(o));
    }
}

void osv_cpu_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                    int rows)
{
    if (osv_cpu_failed(o) || rows == 0 || n == 0) return;
    (rows <= OSV_CPU_FEW ? matmul_few : rows <= SOME ? matmul_some : matmul_many)(o, y, x, w, n, rows);
}

/* sum [rows, cols] = the products of the rows [begin, end) of all weights, counted through, and some columns.
 */
static void back_slab(float *sum, const float *const dy[], const osv_weight *const w[], int n, int begin,
                      int end, int first, int count, int rows, float *part)
{
    bool add = false;
    for (int i = 0; i < n; begin -= w[i]->rows, end -= w[i]->rows, i++) {
        int from = osv_cpu_max(begin, 0), to = osv_cpu_min(end, w[i]->rows);
        if (from >= to) continue;
        osv_cpu_back(sum, dy[i], w[i], from, to, first, count, rows, add, part);
        add = true;
    }
}

/* An item is a slab of rows of the weights and a block of columns, wide, so that weights are read in long
 * runs. The first slab goes to dx, the others to sums of their own, which are added up in order. */
static void matmul_dx_few(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                          int rows)
{
    int cols = w[0]->cols, total = total_rows(w, n);
    int panels = osv_cpu_blocks(cols, OSV_CPU_COLUMNS);
    int panel = osv_cpu_blocks(osv_cpu_blocks(cols, panels), 16) * 16; /* all about as wide */
    int slabs = osv_cpu_max(osv_cpu_min(ITEMS / panels, total / SLAB), 1),
        slab = osv_cpu_blocks(total, slabs);
    size_t size = (size_t)rows * cols;
    if (!osv_cpu_scratch(o, (size_t)OSV_CPU_FEW * OSV_CPU_COLUMNS * sizeof(float)) ||
        !osv_cpu_partial(o, size * (slabs - 1) * sizeof(float)))
        return;
    const osv_cpu *cpu = o->state;
    float *sums = cpu->partial; /* [slabs - 1, rows, cols] */
#pragma omp parallel num_threads(osv_cpu_product_threads(o, work_of(w, n, rows)))
    {
#pragma omp for schedule(static)
        for (int item = 0; item < slabs * panels; item++) {
            int s = item / panels, first = item % panels * panel;
            back_slab(s == 0 ? dx : sums + size * (s - 1), dy, w, n, s * slab,
                      osv_cpu_min((s + 1) * slab, total), first, osv_cpu_min(panel, cols - first), rows,
                      osv_cpu_mine(o));
        }
#pragma omp for schedule(static)
        for (int t = 0; t < rows; t++)
            for (int s = 0; s < slabs - 1; s++) {
                const float *sum = sums + size * s + (size_t)t * cols;
                for (int c = 0; c < cols; c++) dx[(size_t)t * cols + c] += sum[c];
            }
    }
}

/* An item is a block of columns: it goes through all weights, in order. */
static void matmul_dx_some(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                           int rows)
{
    if (!osv_cpu_scratch(o, (size_t)OSV_CPU_TILE_COLUMNS * OSV_CPU_TILE_DEPTH * sizeof(float))) return;
    int cols = w[0]->cols, blocks = osv_cpu_blocks(cols, OSV_CPU_TILE_COLUMNS);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_product_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < blocks; item++) {
        int first = item * OSV_CPU_TILE_COLUMNS;
        for (int i = 0; i < n; i++)
            osv_cpu_tile_dx(dx, dy[i], w[i], first, osv_cpu_min(OSV_CPU_TILE_COLUMNS, cols - first), rows,
                            i > 0, osv_cpu_mine(o));
    }
}

/* An item is a block of columns and a batch of rows: it goes through all weights, in order. */
static void matmul_dx_many(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                           int rows)
{
    if (!osv_cpu_scratch(o, (size_t)WIDE * sizeof(float))) return;
    int cols = w[0]->cols, panel = panel_of(cols);
    int panels = osv_cpu_blocks(cols, panel), batches = osv_cpu_blocks(rows, BATCH);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_blas_threads(o, work_of(w, n, rows)))
    for (int item = 0; item < panels * batches; item++) {
        int first = item % panels * panel, t = item / panels * BATCH;
        for (int i = 0; i < n; i++)
            matmul_dx_panel(dx + (size_t)t * cols, dy[i] + (size_t)t * w[i]->rows, w[i], first,
                            osv_cpu_min(panel, cols - first), osv_cpu_min(BATCH, rows - t), i > 0,
                            osv_cpu_mine(o));
    }
}

void osv_cpu_matmul_dx(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                       int rows)
{
    if (osv_cpu_failed(o) || rows == 0 || n == 0) return;
    int empty = 0; /* a rank's slice of a weight may be; the first one that is not writes, the others add */
    while (empty < n && w[empty]->rows == 0) empty++;
    if (empty == n)
        memset(dx, 0, (size_t)rows * w[0]->cols * sizeof *dx);
    else
        (rows <= OSV_CPU_FEW ? matmul_dx_few
         : rows <= SOME      ? matmul_dx_some
                             : matmul_dx_many)(o, dx, dy + empty, w + empty, n - empty, rows);
}

/* y[r] += b */
void osv_cpu_bias(osv_ops *o, float *y, const osv_weight *b, int rows)
{
    int n = b->cols;
    if (osv_cpu_failed(o) || !osv_cpu_scratch(o, (size_t)n * sizeof(float))) return;
#pragma omp parallel num_threads(osv_cpu_threads(o, (double)rows *n))
    {
        float *wide = osv_cpu_mine(o);
        osv_cpu_widen(wide, b, 0, 0, n);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < n; c++) y[(size_t)r * n + c] += wide[c];
    }
}
