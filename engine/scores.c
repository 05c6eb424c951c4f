#include "engine/scores.h"

#include <stdlib.h>

static void *room(int count, size_t size, osv_error *e)
{
    void *p = calloc(count > 0 ? (size_t)count : 1, size);
    if (!p) OSV_FAIL(e, OSV_DEVICE, "out of memory for the losses of a batch");
    return p;
}

/* Within a row of logits targets rise, and distributions come last. */
static int compare(const void *x, const void *y)
{
    const osv_asked *a = x, *b = y;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    if (a->coldness != b->coldness) return a->coldness < b->coldness ? -1 : 1;
    if (a->eps != b->eps) return a->eps < b->eps ? -1 : 1;
    if (!a->logp != !b->logp) return a->logp ? 1 : -1;
    if (!a->logp && a->target != b->target) return a->target < b->target ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

/* The arrays of a pass while they grow. */
typedef struct {
    osv_pass *p;
    int *first, *target, *kind; /* of scores */
    osv_real *coldness, *eps;
    int *dist_row, *dist_first, *reverse, *aim; /* of distributions */
    osv_real *dist_coldness;
    const osv_real **logp; /* [K] */
    int R, S, rows, K;
} lists;

static int lists_open(lists *l, osv_pass *p, int most, int count, osv_error *e)
{
    *l = (lists){.p = p,
                 .first = room(most + 1, sizeof *l->first, e),
                 .target = room(count, sizeof *l->target, e),
                 .kind = room(count, sizeof *l->kind, e),
                 .coldness = room(most, sizeof *l->coldness, e),
                 .eps = room(most, sizeof *l->eps, e),
                 .dist_row = room(count, sizeof *l->dist_row, e),
                 .dist_first = room(count + 1, sizeof *l->dist_first, e),
                 .reverse = room(count, sizeof *l->reverse, e),
                 .aim = room(count, sizeof *l->aim, e),
                 .dist_coldness = room(count, sizeof *l->dist_coldness, e),
                 .logp = room(count, sizeof *l->logp, e)};
    p->scored = room(most, sizeof *p->scored, e);
    p->logp = l->logp;
    p->scores = (osv_scores){
        .first = l->first, .target = l->target, .kind = l->kind, .coldness = l->coldness, .eps = l->eps};
    p->distributions = (osv_distributions){.row = l->dist_row,
                                           .first = l->dist_first,
                                           .aim = l->aim,
                                           .reverse = l->reverse,
                                           .coldness = l->dist_coldness};
    return e->status;
}

static void add_row(lists *l, int row, double coldness, double eps)
{
    l->p->scored[l->R] = row;
    l->coldness[l->R] = (osv_real)coldness;
    l->eps[l->R] = (osv_real)eps;
    l->first[l->R++] = l->S;
}

/* To the row of logits that was added last. */
static void add_distribution(lists *l, const osv_asked *a)
{
    if (l->rows == 0 || l->dist_row[l->rows - 1] != l->R - 1) {
        l->dist_row[l->rows] = l->R - 1;
        l->dist_coldness[l->rows] = (osv_real)a->coldness;
        l->dist_first[l->rows++] = l->K;
    }
    l->reverse[l->K] = a->reverse;
    l->logp[l->K++] = a->logp;
}

static int by_aim(const void *x, const void *y, void *context)
{
    const osv_real *const *logp = context;
    int i = *(const int *)x, j = *(const int *)y;
    if (logp[i] != logp[j]) return logp[i] < logp[j] ? -1 : 1;
    return i - j;
}

/* logp [K] -> logp [aims], none twice, and which of them each of the K is. */
static int find_aims(lists *l, osv_error *e)
{
    int *sorted = room(l->K, sizeof *sorted, e);
    const osv_real **once = room(l->K, sizeof *once, e);
    for (int k = 0; k < l->K && !e->status; k++) sorted[k] = k;
    if (!e->status) qsort_r(sorted, (size_t)l->K, sizeof *sorted, by_aim, l->logp);
    for (int i = 0; i < l->K && !e->status; i++) {
        const osv_real *logp = l->logp[sorted[i]];
        if (i == 0 || logp != once[l->p->aims - 1]) once[l->p->aims++] = logp;
        l->aim[sorted[i]] = l->p->aims - 1;
    }
    for (int i = 0; i < l->p->aims; i++) l->logp[i] = once[i];
    free(sorted);
    free(once);
    return e->status;
}

/* A row of logits is a (row, coldness, eps): jobs that differ in these may meet at a frozen row. */
int osv_scores_build(osv_pass *p, osv_asked *asked, int count, bool every_row, int *completion_score,
                     int first_id, osv_error *e)
{
    lists l;
    int next = 0, targets = 0; /* next: the first row of the pass that has no logits yet */
    qsort(asked, (size_t)count, sizeof *asked, compare);
    for (int i = 0; i < count; i++) targets += !asked[i].logp;
    OSV_TRY(lists_open(&l, p, count + (every_row ? p->T : 0), count, e));
    for (int i = 0; i < count; i++) {
        const osv_asked *a = &asked[i], *before = a - 1;
        bool same = i > 0 && a->row == before->row && a->coldness == before->coldness &&
                    a->eps == before->eps;
        while (!same && every_row && next < a->row) add_row(&l, next++, 1, 0);
        if (!same) add_row(&l, a->row, a->coldness, a->eps);
        next = a->row + 1;
        if (a->logp) {
            completion_score[a->place] = first_id + targets + l.K;
            add_distribution(&l, a);
        } else {
            completion_score[a->place] = first_id + l.S;
            l.target[l.S] = a->target;
            l.kind[l.S++] = a->kind;
        }
    }
    while (every_row && next < p->T) add_row(&l, next++, 1, 0);
    l.first[l.R] = l.S;
    l.dist_first[l.rows] = l.K;
    p->R = p->scores.R = l.R;
    p->scores.S = l.S;
    p->distributions.rows = l.rows;
    p->distributions.K = l.K;
    return find_aims(&l, e);
}
