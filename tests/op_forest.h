/* A small maker of attention work lists for tests, written apart from the engine's own so that the two can be
 * compared. The lists are host memory that op_forest_free releases. */
#ifndef OSV_TESTS_OP_FOREST_H
#define OSV_TESTS_OP_FOREST_H

#include "kernels/ops.h"

enum { OP_MAX_SEGMENTS = 80 };

/* Segments in preorder: a parent (-1: none) stands before its children, a subtree is consecutive. Only frozen
 * segments may be parents of frozen ones. */
typedef struct {
    int parent, count;
    bool frozen;
} op_segment;

/* Which live tokens have a query row: all of them; some, with gaps in the positions, the last of each segment
 * among them; or only the last of each leaf, so that some live keys are seen by none. */
typedef enum { OP_ALL, OP_SOME, OP_LEAVES } op_queries;

typedef struct {
    const char *name;
    op_segment segment[OP_MAX_SEGMENTS]; /* ends with count = 0 */
    op_queries queries;
    int tile;  /* rows of a tile, at most OSV_TILE */
    bool trim; /* ranges without the keys that position or window hides from the whole tile */
} op_forest_shape;

typedef struct {
    osv_worklist work;   /* host pointers */
    int slots;           /* of the arena: frozen, then unused ones that nobody may read, then live */
    int frozen, live;    /* tokens; frozen ones have the slots 0 .. frozen - 1 */
    op_segment *segment; /* [segments] */
    int segments;
    int *row_token; /* [work.rows] live token of a query row */
} op_forest;

int op_forest_make(op_forest *f, const op_forest_shape *shape, int window, osv_error *e);
void op_forest_free(op_forest *f);

#endif
