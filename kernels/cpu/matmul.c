#include <string.h>

#include "kernels/cpu/products.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/widen.h"

/* y = x w^T: an item is a strip of rows of a weight, and each number is one sum in one order whatever the
 * threads. With more than a few rows the lanes of a tile are rows of x, which was packed once. */

enum {
    STRIP = 96, /* most rows of a weight in an item */
    PIECE = 24, /* that are widened together, a multiple of what any tile has */
    ITEMS = 32, /* that a product has if it can: threads get about as much each */
};

/* Weights are cut into strips of so many rows, one weight after the other. */
static int rows_of_strips(const osv_cpu_product *p)
{
    int even = osv_cpu_max(osv_cpu_blocks(osv_cpu_outputs(p), ITEMS), 1); /* a rank may have none */
    return osv_cpu_min(osv_cpu_round_up(even, PIECE), STRIP);
}

static int count_strips(const osv_cpu_product *p)
{
    int count = 0, rows = rows_of_strips(p);
    for (int i = 0; i < p->n; i++) count += osv_cpu_blocks(p->w[i]->rows, rows);
    return count;
}

/* A strip of a weight; y [*, w.rows]. */
typedef struct {
    const osv_weight *w;
    float *y;
    int row, count;
} strip;

static strip find_strip(const osv_cpu_product *p, float *const y[], int index)
{
    int i = 0, rows = rows_of_strips(p);
    for (int strips; index >= (strips = osv_cpu_blocks(p->w[i]->rows, rows)); i++) index -= strips;
    const osv_weight *w = p->w[i];
    return (strip){.w = w,
                   .y = y[i] + (size_t)p->first * w->rows,
                   .row = index * rows,
                   .count = osv_cpu_min(rows, w->rows - index * rows)};
}

/* ---- few rows ---- */

static void matmul_few(osv_ops *o, float *const y[], const float *x, const osv_cpu_product *p)
{
    int strips = count_strips(p);
#pragma omp parallel for schedule(static) num_threads(osv_cpu_threads_for(o, p))
    for (int item = 0; item < strips; item++) {
        strip s = find_strip(p, y, item);
        osv_cpu_dots(s.y, x, s.w, s.row, s.count, p->rows);
    }
}

/* ---- more rows ---- */

/* out[i, j] = in[j, i] for i < 4, j < 4. GCC makes one instruction of a vector that takes from two others,
 * and many of one that takes from four. */
OSV_CPU_INLINE void transpose_4(float *restrict out, size_t out_apart, const float *restrict in,
                                size_t in_apart)
{
    typedef float four __attribute__((vector_size(16), may_alias, aligned(4)));
    four a = *(const four *)in, b = *(const four *)(in + in_apart);
    four c = *(const four *)(in + 2 * in_apart), d = *(const four *)(in + 3 * in_apart);
    four ab = {a[0], b[0], a[1], b[1]}, cd = {c[0], d[0], c[1], d[1]};
    four AB = {a[2], b[2], a[3], b[3]}, CD = {c[2], d[2], c[3], d[3]};
    *(four *)out = (four){ab[0], ab[1], cd[0], cd[1]};
    *(four *)(out + out_apart) = (four){ab[2], ab[3], cd[2], cd[3]};
    *(four *)(out + 2 * out_apart) = (four){AB[0], AB[1], CD[0], CD[1]};
    *(four *)(out + 3 * out_apart) = (four){AB[2], AB[3], CD[2], CD[3]};
}

/* The same for i < rows, j < cols, rows of out and in being so many numbers apart. */
static void transpose(float *restrict out, size_t out_apart, const float *restrict in, size_t in_apart,
                      int rows, int cols)
{
    int whole_rows = rows / 4 * 4, whole = cols / 4 * 4;
    for (int i = 0; i < whole_rows; i += 4)
        for (int j = 0; j < whole; j += 4)
            transpose_4(out + i * out_apart + j, out_apart, in + j * in_apart + i, in_apart);
    for (int i = 0; i < rows; i++)
        for (int j = i < whole_rows ? whole : 0; j < cols; j++) out[i * out_apart + j] = in[j * in_apart + i];
}

/* Where the panel from lane t of the columns from `at`, of that depth, begins in packed [cols / DEPTH, all /
 * lanes, DEPTH, lanes]; `all` counts lanes that are not there, which are zeros. */
static size_t packed_at(int at, int depth, int t, int all)
{
    return (size_t)at * (size_t)all + (size_t)depth * (size_t)t;
}

static void pack(float *packed, const float *x, int cols, int depth, int rows, int lanes)
{
    if (rows < lanes) memset(packed, 0, (size_t)depth * lanes * sizeof *packed);
    transpose(packed, lanes, x, cols, depth, osv_cpu_min(rows, lanes));
}

/* What is widened after the rows from m of a strip, in columns from `at`: it goes down, then right, and on to
 * the next strip. */
static osv_cpu_piece piece_behind(const strip *s, int m, int at)
{
    osv_cpu_piece next = {s->w, s->row + m + PIECE, PIECE, at, OSV_CPU_DEPTH};
    if (m + PIECE < s->count) return next;
    next.row = s->row;
    next.col = at + OSV_CPU_DEPTH;
    if (next.col < s->w->cols) return next;
    next.row = s->row + s->count;
    next.col = 0;
    return next;
}

/* scratch: a piece [PIECE, APART], then sums [all / lanes, STRIP, lanes]. */
static void multiply_strip(const strip *s, const float *packed, int rows, float *scratch)
{
    const osv_cpu_tiles *tiles = osv_cpu_tiles_here();
    const osv_weight *w = s->w;
    int all = osv_cpu_round_up(rows, tiles->width), panels = osv_cpu_blocks(all, 2 * tiles->width);
    float *wide = scratch, *sum = scratch + PIECE * OSV_CPU_APART;
    for (int at = 0; at < w->cols; at += OSV_CPU_DEPTH) {
        int depth = osv_cpu_min(OSV_CPU_DEPTH, w->cols - at);
        for (int m = 0; m < s->count; m += PIECE) {
            int height = osv_cpu_min(PIECE, s->count - m), up = osv_cpu_round_up(height, tiles->unit);
            osv_cpu_piece next = piece_behind(s, m, at);
            osv_cpu_ahead ahead = osv_cpu_look_ahead(tiles, &next, panels, up, depth);
            osv_cpu_widen_rows(wide, OSV_CPU_APART, w, s->row + m, height, at, depth);
            for (int lanes, t = 0; t < all; t += lanes) {
                lanes = osv_cpu_panel(tiles, t, all);
                osv_cpu_multiply(tiles, sum + (size_t)t * STRIP + (size_t)m * lanes, wide, up,
                                 packed + packed_at(at, depth, t, all), lanes, depth, at > 0, &ahead);
            }
        }
    }
    for (int lanes, t = 0; t < rows; t += lanes) {
        lanes = osv_cpu_panel(tiles, t, all);
        transpose(s->y + (size_t)t * w->rows + s->row, (size_t)w->rows, sum + (size_t)t * STRIP,
                  (size_t)lanes, osv_cpu_min(lanes, rows - t), s->count);
    }
}

static void matmul_more(osv_ops *o, float *const y[], const float *x, const osv_cpu_product *p)
{
    const osv_cpu_tiles *tiles = osv_cpu_tiles_here();
    int cols = p->w[0]->cols, rows = p->rows, strips = count_strips(p), panel = 2 * tiles->width;
    int all = osv_cpu_round_up(rows, tiles->width);
    if (!osv_cpu_scratch(o, (PIECE * OSV_CPU_APART + (size_t)STRIP * all) * sizeof(float)) ||
        !osv_cpu_partial(o, (size_t)cols * all * sizeof(float)))
        return;
    float *packed = ((const osv_cpu *)o->state)->partial;
#pragma omp parallel for schedule(static) collapse(2) num_threads(osv_cpu_threads(o, (double)rows *cols))
    for (int at = 0; at < cols; at += OSV_CPU_DEPTH)
        for (int t = 0; t < all; t += panel) {
            int depth = osv_cpu_min(OSV_CPU_DEPTH, cols - at);
            pack(packed + packed_at(at, depth, t, all), x + (size_t)t * cols + at, cols, depth, rows - t,
                 osv_cpu_panel(tiles, t, all));
        }
#pragma omp parallel num_threads(osv_cpu_threads_for(o, p))
    {
        float *scratch = osv_cpu_mine(o);
        memset(scratch, 0, PIECE * OSV_CPU_APART * sizeof *scratch); /* rows that are not there */
#pragma omp for schedule(static)
        for (int item = 0; item < strips; item++) {
            strip s = find_strip(p, y, item);
            multiply_strip(&s, packed, rows, scratch);
        }
    }
}

void osv_cpu_matmul(osv_ops *o, float *const y[], const float *x, const osv_weight *const w[], int n,
                    int rows)
{
    if (osv_cpu_failed(o) || n == 0) return;
    for (int t = 0; t < rows; t += OSV_CPU_BATCH) {
        osv_cpu_product p = {w, n, t, osv_cpu_min(OSV_CPU_BATCH, rows - t)};
        (p.rows <= OSV_CPU_FEW ? matmul_few : matmul_more)(o, y, x + (size_t)t * w[0]->cols, &p);
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
