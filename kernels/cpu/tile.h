/* Blocks of sums in registers: what products of more than a few rows are made of (matmul.c, matmul_dx.c). */
#ifndef OSV_KERNELS_CPU_TILE_H
#define OSV_KERNELS_CPU_TILE_H

#include "kernels/cpu/cpu.h"

enum {
    OSV_CPU_DEPTH = 128,                /* longest sums: what they go over stays in the first-level cache */
    OSV_CPU_APART = OSV_CPU_DEPTH + 16, /* rows of a: not a power of two, or they share places in the cache */
    OSV_CPU_LANES = 32,                 /* most lanes of a tile */
    OSV_CPU_EVERY = 16,                 /* terms of the sums between two looks ahead */
};

/* What is needed next, rows of cache lines that are read meanwhile: a few lines at a time, because the
 * processor waits when more are under way than it has room for. */
typedef struct {
    const char *at; /* the next line */
    size_t skip;    /* from behind the last line of a row to the first one of the next */
    int lines;      /* of a row, of which */
    int left;       /* are left in this one */
    int rows;       /* that are left, with this one */
    int few;
} osv_cpu_ahead;

/* sum[i, l] (+)= sum over k < depth of a[i, k] x[k, l]; adds if `add`. a [rows, OSV_CPU_APART], x [depth,
 * lanes], sum [rows, lanes], x and sum aligned to 64 bytes. Each number is one sum in the order of k. */
typedef void osv_cpu_tile(float *sum, const float *a, const float *x, int depth, bool add,
                          osv_cpu_ahead *ahead);

/* Those of this processor: tile[p][u] has (p + 1) width lanes and (u + 1) unit rows. */
typedef struct {
    int width, unit;
    osv_cpu_tile *tile[2][3];
} osv_cpu_tiles;

const osv_cpu_tiles *osv_cpu_tiles_here(void);

/* Lanes come in panels of two widths, the last one may have one: those of the panel that begins with lane
 * `at` of `all`. */
OSV_CPU_INLINE int osv_cpu_panel(const osv_cpu_tiles *tiles, int at, int all)
{
    return osv_cpu_min(2 * tiles->width, all - at);
}

/* The same for any number of rows, a multiple of the unit, and the lanes of a panel. */
void osv_cpu_multiply(const osv_cpu_tiles *tiles, float *sum, const float *a, int rows, const float *x,
                      int lanes, int depth, bool add, osv_cpu_ahead *ahead);

/* Part of a weight; may reach beyond its end. */
typedef struct {
    const osv_weight *w;
    int row, rows, col, cols;
} osv_cpu_piece;

/* Looks ahead to a piece in the course of `panels` calls of osv_cpu_multiply. */
osv_cpu_ahead osv_cpu_look_ahead(const osv_cpu_tiles *tiles, const osv_cpu_piece *next, int panels, int rows,
                                 int depth);

#endif
