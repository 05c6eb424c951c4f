#include <omp.h>
#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/tile.h"

/* dx = dy w, the sum over all weights. Each number is one sum, or with few rows a sum of sums, in one order
 * whatever the threads. */

enum {
    SLAB = 128, /* with few rows, at least as many rows of all weights in an item: its sums have a price */
    ITEMS = 16, /* that such a product should have, for as many threads */
};

/* ---- few rows ---- */

/* sum [rows, cols] = the products of the rows [begin, end) of all weights, counted through, and some columns.
 */
static void back_slab(float *sum, const float *const dy[], const osv_cpu_product *p, int begin, int end,
                      int first, int count)
{
    bool add = false;
    for (int i = 0; i < p->n; begin -= p->w[i]->rows, end -= p->w[i]->rows, i++) {
        const osv_weight *w = p->w[i];
        int from = osv_cpu_max(begin, 0), to = osv_cpu_min(end, w->rows);
        if (from >= to) continue;
        osv_cpu_back(sum, dy[i] + (size_t)p->first * w->rows, w, from, to, first, count, p->rows, add);
        add = true;
    }
}

/* An item is a slab of rows of the weights and a block of columns, wide, so that weights are read in long
 * runs. The first slab goes to dx, the others to sums of their own, which are added up in order. */
static void matmul_dx_few(osv_ops *o, float *dx, const float *const dy[], const osv_cpu_product *p)
{
    int cols = p->w[0]->cols, total = osv_cpu_outputs(p), rows = p->rows;
    int panels = osv_cpu_blocks(cols, OSV_CPU_COLUMNS);
    int panel = osv_cpu_round_up(osv_cpu_blocks(cols, panels), 16); /* all about as wide */
    int slabs = osv_cpu_max(osv_cpu_min(ITEMS / panels, total / SLAB), 1),
        slab = osv_cpu_blocks(total, slabs);
    size_t size = (size_t)rows * cols;
    if (!osv_cpu_partial(o, size * (slabs - 1) * sizeof(float))) return;
    float *sums = ((const osv_cpu *)o->state)->partial; /* [slabs - 1, rows, cols] */
#pragma omp parallel num_threads(osv_cpu_threads_for(o, p))
    {
#pragma omp for schedule(static)
        for (int item = 0; item < slabs * panels; item++) {
            int s = item / panels, first = item % panels * panel;
            back_slab(s == 0 ? dx : sums + size * (s - 1), dy, p, s * slab,
                      osv_cpu_min((s + 1) * slab, total), first, osv_cpu_min(panel, cols - first));
        }
#pragma omp for schedule(static)
        for (int t = 0; t < rows; t++)
            for (int s = 0; s < slabs - 1; s++) {
                const float *sum = sums + size * s + (size_t)t * cols;
                for (int c = 0; c < cols; c++) dx[(size_t)t * cols + c] += sum[c];
            }
    }
}

/* ---- more rows ---- */

/* What memcpy does: GCC knows that these are few and makes `rep movs` of it, which takes long to begin. */
static void take(float *restrict to, const float *restrict from, int count)
{
#pragma omp simd
    for (int i = 0; i < count; i++) to[i] = from[i];
}

/* Columns of dx, for one thread: they are the lanes of tiles, in panels. It goes through the weights in their
 * order, DEPTH rows at a time, so that with few threads they are read in long runs. sum, for all columns:
 * [all / lanes, up, lanes], `up` being the rows and `all` the columns with those that are not there; scratch:
 * DEPTH columns of dy [up, APART], zeros in rows that are not there, then a panel. */
static void multiply_columns(float *dx, float *sum, const float *const dy[], const osv_cpu_product *p,
                             int first, int end, float *scratch)
{
    const osv_cpu_tiles *tiles = osv_cpu_tiles_here();
    int cols = p->w[0]->cols, all = osv_cpu_round_up(cols, tiles->width);
    int up = osv_cpu_round_up(p->rows, tiles->unit);
    float *a = scratch, *panel = scratch + (size_t)up * OSV_CPU_APART;
    bool add = false;
    memset(a + (size_t)p->rows * OSV_CPU_APART, 0,
           ((size_t)(up - p->rows) * OSV_CPU_APART + OSV_CPU_DEPTH * OSV_CPU_LANES) * sizeof *a);
    for (int i = 0; i < p->n; i++) {
        const osv_weight *w = p->w[i];
        for (int at = 0; at < w->rows; at += OSV_CPU_DEPTH, add = true) {
            int depth = osv_cpu_min(OSV_CPU_DEPTH, w->rows - at);
            for (int t = 0; t < p->rows; t++)
                take(a + (size_t)t * OSV_CPU_APART, dy[i] + (size_t)(p->first + t) * w->rows + at, depth);
            for (int lanes, c = first; c < end; c += lanes) {
                lanes = osv_cpu_panel(tiles, c, all);
                bool last = c + lanes >= end;
                osv_cpu_piece next = {.w = w,
                                      .row = last ? at + depth : at,
                                      .rows = OSV_CPU_DEPTH,
                                      .col = last ? first : c + lanes,
                                      .cols = lanes};
                osv_cpu_ahead ahead = osv_cpu_look_ahead(tiles, &next, 1, up, depth);
                osv_cpu_widen_rows(panel, lanes, w, at, depth, c, osv_cpu_min(lanes, cols - c));
                osv_cpu_multiply(tiles, sum + (size_t)c * up, a, up, panel, lanes, depth, add, &ahead);
            }
        }
    }
    for (int lanes, c = first; c < end; c += lanes) {
        lanes = osv_cpu_panel(tiles, c, all);
        for (int t = 0; t < p->rows; t++)
            memcpy(dx + (size_t)t * cols + c, sum + (size_t)c * up + (size_t)t * lanes,
                   (size_t)osv_cpu_min(lanes, cols - c) * sizeof *dx);
    }
}

/* Each thread has its share of the columns: no number depends on which one. */
static void matmul_dx_more(osv_ops *o, float *dx, const float *const dy[], const osv_cpu_product *p)
{
    const osv_cpu_tiles *tiles = osv_cpu_tiles_here();
    int cols = p->w[0]->cols, up = osv_cpu_round_up(p->rows, tiles->unit);
    size_t scratch = (size_t)up * OSV_CPU_APART + OSV_CPU_DEPTH * OSV_CPU_LANES;
    if (!osv_cpu_scratch(o, scratch * sizeof(float)) ||
        !osv_cpu_partial(o, (size_t)osv_cpu_round_up(cols, tiles->width) * up * sizeof(float)))
        return;
    float *sum = ((const osv_cpu *)o->state)->partial;
#pragma omp parallel num_threads(osv_cpu_threads_for(o, p))
    {
        int lanes = 2 * tiles->width, panels = osv_cpu_blocks(cols, lanes);
        int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        int first = panels * thread / threads, end = panels * (thread + 1) / threads;
        multiply_columns(dx, sum, dy, p, first * lanes, osv_cpu_min(end * lanes, cols), osv_cpu_mine(o));
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
    for (int t = 0; t < rows; t += OSV_CPU_BATCH) {
        osv_cpu_product p = {w + empty, n - empty, t, osv_cpu_min(OSV_CPU_BATCH, rows - t)};
        (p.rows <= OSV_CPU_FEW ? matmul_dx_few : matmul_dx_more)(o, dx + (size_t)t * w[0]->cols, dy + empty,
                                                                 &p);
    }
}
