/* A trie over integer keys with hashed edges: how the batch finds what sequences share. Nodes are numbered in
 * the order of insertion, so a parent's number is below its children's. */
#ifndef OSV_ENGINE_TRIE_H
#define OSV_ENGINE_TRIE_H

#include "kernels/error.h"

typedef struct {
    int parent; /* a node, or any negative number: roots under different negative parents are different */
    int id;
    long key; /* what must agree besides the id */
    int pos;
    int next; /* hash chain */
} osv_trie_node;

typedef struct {
    osv_trie_node *node; /* [count] */
    int count, room;
    int *bucket; /* [buckets] */
    int buckets;
} osv_trie;

/* The child of `parent` with this id and key, made where it does not exist. */
int osv_trie_child(osv_trie *t, int parent, int id, long key, int pos, int *child, osv_error *e);
void osv_trie_free(osv_trie *t);

#endif
