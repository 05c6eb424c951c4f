#include "engine/distances.h"

#include <stdlib.h>

static int compare(const void *x, const void *y)
{
    const osv_asked_distance *a = x, *b = y;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

int osv_distances_build(osv_pass *p, osv_asked_distance *asked, int count, int N, int *completion_score,
                        int first_id, osv_error *e)
{
    int *row = calloc((size_t)count + 1, sizeof *row);
    osv_real *power = calloc((size_t)count + 1, sizeof *power);
    int *first = calloc((size_t)N + 2, sizeof *first), M = 0;
    p->distances = (osv_distances){.row = row, .power = power};
    p->distance_first = first;
    if (!row || !power || !first)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for the distances of a batch");
    qsort(asked, (size_t)count, sizeof *asked, compare);
    for (int i = 0; i < count; i++) {
        const osv_asked_distance *a = &asked[i];
        if (i == 0 || a->layer != a[-1].layer || a->row != a[-1].row) {
            row[M] = a->row;
            power[M++] = (osv_real)a->power;
        }
        completion_score[a->place] = first_id + M - 1;
        first[a->layer + 1] = M;
    }
    for (int l = 1; l <= N + 1; l++) /* where nothing is asked, what was up to there */
        if (first[l] < first[l - 1]) first[l] = first[l - 1];
    p->distances.M = M;
    return OSV_OK;
}
