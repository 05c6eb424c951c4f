#include <string.h>

#include "kernels/cpu/block.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/widen.h"

/* Products with weights that stay in the format of the file. By the number of rows of x:
 *
 * few    Loops that widen weights in registers (loops.c), which read them once and pack nothing.
 * more   Sums in registers (tile.c), over rows of x that were packed once, for dx over packed columns of w.
 *
 * Everything is cut by shape alone, so that each number is one sum in one order whatever the threads. */

enum {
    BATCH = 256, /* rows of x that go over a weight together: they stay in the cache, and it has paid for
                    itself */
    NARROW = 96, /* rows of a weight in an item of matmul: whole blocks of every kernel of tile.c */
    ITEMS = 16,  /* that matmul_dx has if it can, for as many threads */
    SLAB = 128,  /* rows of weights in such an item, at least: its sums have a price. With few rows of dy, */
    TALL = 4096, /* and with more; */
    WIDE = 1024, /* its columns, at most: the sums should stay in the cache */
    SUMS = 1 << 20 /* numbers in the sums of all slabs, about */
};

/* Weights that share an input, w[0 .. n - 1], and rows of what goes through them, from `first`. */
typedef struct {
    const osv_weight *const *w;
    int n, first, rows;
} product;

/* Multiply-adds, with few rows as many as could be done while the weights are read. */
static double work_of(const product *p)
{
    double count = 0;
    for (int i = 0; i < p->n; i++) count += (double)p->w[i]->rows * p->w[i]->cols;
    return count * osv_cpu_max(p->rows, 16);
}

/* ---- matmul ---- */

/* Weights are cut into strips of NARROW rows, one weight after the other. */
static int count_strips(const product *p)
{
    int count = 0;
    for (int i = 0; i < p->n; i++) count += osv_cpu_blocks(p->w[i]->rows, NARROW);
    return count;
}

/* The weight that a strip belongs to; *row becomes its first row there, *count how many it has. */
static int find_strip(const product *p, int index, int *row, int *count)
{
    int i = 0;
    for (int strips; index >= (strips = osv_cpu_blocks(p->w[i]->rows, NARROW)); i++) index -= strips;
    *row = index * NARROW;
    *count = osv_cpu_min(NARROW, p->w[i]->rows - *row);
    return i;
}

static void matmul_few(osv_ops *o, float *const y[], const float *x, const product *p)
{
    int strips = count_strips(p);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_product_threads(o, work_of(p)))
    for (int item = 0; item < strips; item++) {
        int row, count, i = find_strip(p, item, &row, &count);
        const osv_weight *w = p->w[i];
        osv_cpu_dots(y[i] + (size_t)p->first * w->rows, x, w, row, count, p->rows);
    }
}

static void matmul_more(osv_ops *o, float *const y[], const float *x, const product *p)
{
    int cols = p->w[0]->cols, blocks = osv_cpu_blocks(p->rows, OSV_CPU_LANES), strips = count_strips(p);
    size_t padded = (size_t)blocks * OSV_CPU_LANES;
    if (!osv_cpu_scratch(o, padded * NARROW * sizeof(float)) ||
        !osv_cpu_partial(o, padded * cols * sizeof(float)))
        return;
    float *packed = ((const osv_cpu *)o->state)->partial;
#pragma omp parallel num_threads(osv_cpu_product_threads(o, work_of(p)))
    {
#pragma omp for schedule(static)
        for (int b = 0; b < blocks; b++) osv_cpu_pack_rows(packed, x, cols, p->rows, b);
#pragma omp for schedule(static)
        for (int item = 0; item < strips; item++) {
            int row, count, i = find_strip(p, item, &row, &count);
            const osv_weight *w = p->w[i];
            osv_cpu_tile(y[i] + (size_t)p->first * w->rows, packed, w, row, count, p->rows, osv_cpu_mine(o));
        }
    }
}

void osv_cpu_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                    int rows)
{
    if (osv_cpu_failed(o) || n == 0) return;
    for (int t = 0; t < rows; t += BATCH) {
        product p = {w, n, t, osv_cpu_min(BATCH, rows - t)};
        (p.rows <= OSV_CPU_FEW ? matmul_few : matmul_more)(o, y, x + (size_t)t * w[0]->cols, &p);
    }
}

/* ---- matmul_dx ---- */

/* An item is a slab of the rows of all weights, counted through, and a panel of columns: as wide as it can
 * be, so that weights are read in long runs. */
typedef struct {
    int total, slab, slabs, panel, panels;
} cuts;

static cuts cut(const product *p)
{
    cuts c = {0};
    int cols = p->w[0]->cols, panels;
    for (int i = 0; i < p->n; i++) c.total += p->w[i]->rows;
    if (p->rows <= OSV_CPU_FEW) {
        panels = osv_cpu_blocks(cols, OSV_CPU_COLUMNS);
        c.slabs = osv_cpu_min(ITEMS / panels, c.total / SLAB);
    } else {
        c.slabs = osv_cpu_min(osv_cpu_min(ITEMS, c.total / TALL), SUMS / (p->rows * cols));
        panels = osv_cpu_max(ITEMS / osv_cpu_max(c.slabs, 1), osv_cpu_blocks(cols, WIDE));
    }
    c.slabs = osv_cpu_max(c.slabs, 1);
    c.slab = osv_cpu_blocks(c.total, c.slabs);
    c.panel = osv_cpu_blocks(osv_cpu_blocks(cols, panels), 32) * 32; /* all about as wide */
    c.panels = osv_cpu_blocks(cols, c.panel);
    return c;
}

/* sum [rows, cols] = the products of the rows [begin, end) of all weights, counted through, and some columns.
 */
static void back_slab(float *sum, const float *const dy[], const product *p, int begin, int end, int first,
                      int count)
{
    bool add = false;
    for (int i = 0; i < p->n; begin -= p->w[i]->rows, end -= p->w[i]->rows, i++) {
        const osv_weight *w = p->w[i];
        int from = osv_cpu_max(begin, 0), to = osv_cpu_min(end, w->rows);
        if (from >= to) continue;
        (p->rows <= OSV_CPU_FEW ? osv_cpu_back : osv_cpu_tile_dx)(sum, dy[i] + (size_t)p->first * w->rows, w,
                                                                  from, to, first, count, p->rows, add);
        add = true;
    }
}

/* The first slab goes to dx, the others to sums of their own, which are added up in order. */
static void matmul_dx(osv_ops *o, float *dx, const float *const dy[], const product *p)
{
    cuts c = cut(p);
    int cols = p->w[0]->cols;
    size_t size = (size_t)p->rows * cols;
    if (!osv_cpu_partial(o, size * (c.slabs - 1) * sizeof(float))) return;
    float *sums = ((const osv_cpu *)o->state)->partial; /* [slabs - 1, rows, cols] */
#pragma omp parallel num_threads(osv_cpu_product_threads(o, work_of(p)))
    {
#pragma omp for schedule(static)
        for (int item = 0; item < c.slabs * c.panels; item++) {
            int s = item / c.panels, first = item % c.panels * c.panel;
            back_slab(s == 0 ? dx : sums + size * (s - 1), dy, p, s * c.slab,
                      osv_cpu_min((s + 1) * c.slab, c.total), first, osv_cpu_min(c.panel, cols - first));
        }
#pragma omp for schedule(static)
        for (int t = 0; t < p->rows; t++)
            for (int s = 0; s < c.slabs - 1; s++) {
                const float *sum = sums + size * s + (size_t)t * cols;
                for (int k = 0; k < cols; k++) dx[(size_t)t * cols + k] += sum[k];
            }
    }
}

void osv_cpu_matmul_dx(osv_ops *o, float *dx, const float *const dy[], const osv_weight *const w[], int n,
                       int rows)
{
    if (osv_cpu_failed(o) || rows == 0 || n == 0) return;
    int empty = 0; /* a rank's slice of a weight may be; the first one that is not writes, the others add */
    while (empty < n && w[empty]->rows == 0) empty++;
    if (empty == n) {
        memset(dx, 0, (size_t)rows * w[0]->cols * sizeof *dx);
        return;
    }
    for (int t = 0; t < rows; t += BATCH) {
        product p = {w + empty, n - empty, t, osv_cpu_min(BATCH, rows - t)};
        matmul_dx(o, dx + (size_t)t * w[0]->cols, dy + empty, &p);
    }
}

/* ---- bias ---- */

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
