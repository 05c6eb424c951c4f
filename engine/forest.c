#include "engine/forest.h"

#include <stdlib.h>

#include "engine/worklist.h"

typedef struct {
    long bucket;
    int node;
} root;

static int compare_roots(const void *x, const void *y)
{
    const root *a = x, *b = y;
    if (a->bucket != b->bucket) return a->bucket < b->bucket ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

static void *room(int count, size_t size, osv_error *e)
{
    void *p = calloc(count > 0 ? (size_t)count : 1, size);
    if (!p) OSV_FAIL(e, OSV_DEVICE, "out of memory for a pass of %d tokens", count);
    return p;
}

/* Preorder of the tree below one root. child and sibling are lists of nodes; row numbers go on from *r. */
static void walk_tree(osv_pass *p, const osv_trie *t, int top, const int *child, const int *sibling,
                      const int *children, int *stack, int *row, int *r)
{
    int depth = 0;
    for (int node = top; node >= 0;) {
        int parent = t->node[node].parent;
        row[node] = *r;
        p->id[*r] = t->node[node].id;
        p->pos[*r] = t->node[node].pos;
        p->segment[*r] = node == top || children[parent] > 1;
        ++*r;
        if (node != top && sibling[node] >= 0) stack[depth++] = sibling[node];
        node = child[node] >= 0 ? child[node] : depth > 0 ? stack[--depth] : -1;
    }
}

int osv_forest_rows(osv_pass *p, const osv_trie *t, const long *bucket, int *row, osv_error *e)
{
    int n = p->T = t->count, count = 0, r = 0;
    int *child = room(n, sizeof *child, e), *sibling = room(n, sizeof *sibling, e);
    int *children = room(n, sizeof *children, e), *stack = room(n, sizeof *stack, e);
    root *roots = room(n, sizeof *roots, e);
    p->id = room(n, sizeof *p->id, e);
    p->pos = room(n, sizeof *p->pos, e);
    p->parent = room(n, sizeof *p->parent, e);
    p->end = room(n, sizeof *p->end, e);
    p->segment = room(n, sizeof *p->segment, e);
    if (e->status) goto done;

    for (int i = 0; i < n; i++) child[i] = sibling[i] = -1;
    for (int i = n - 1; i >= 0; i--) { /* downwards, so that lists of children are in order of insertion */
        int parent = t->node[i].parent;
        if (parent >= 0 && bucket[parent] == bucket[i]) {
            sibling[i] = child[parent];
            child[parent] = i;
            children[parent]++;
        } else {
            roots[count++] = (root){.bucket = bucket[i], .node = i};
        }
    }
    qsort(roots, (size_t)count, sizeof *roots, compare_roots);
    for (int i = 0; i < count; i++) walk_tree(p, t, roots[i].node, child, sibling, children, stack, row, &r);

    for (int i = 0; i < n; i++) p->end[row[i]] = row[i] + 1;
    for (int i = n - 1; i >= 0; i--) {
        int parent = t->node[i].parent;
        if (parent >= 0 && bucket[parent] == bucket[i] && p->end[row[i]] > p->end[row[parent]])
            p->end[row[parent]] = p->end[row[i]];
    }
done:
    free(child);
    free(sibling);
    free(children);
    free(stack);
    free(roots);
    return e->status;
}

void osv_pass_free(osv_pass *p)
{
    free(p->id);
    free(p->pos);
    free(p->parent);
    free(p->end);
    free(p->segment);
    free(p->active);
    free(p->query_tiles);
    free(p->kv_tiles);
    free(p->scored);
    free((void *)p->scores.first);
    free((void *)p->scores.target);
    free((void *)p->scores.kind);
    free((void *)p->scores.coldness);
    free((void *)p->scores.eps);
    free((void *)p->distributions.row);
    free((void *)p->distributions.first);
    free((void *)p->distributions.aim);
    free((void *)p->distributions.reverse);
    free((void *)p->distributions.coldness);
    free(p->logp);
    free((void *)p->distances.row);
    free((void *)p->distances.power);
    free(p->distance_first);
    osv_worklist_free(&p->work);
    osv_worklist_free(&p->last);
    *p = (osv_pass){0};
}
