#include "engine/trie.h"

#include <stdint.h>
#include <stdlib.h>

static unsigned hash(int parent, int id, long key)
{
    uint64_t h = (uint64_t)(uint32_t)parent << 32 | (uint32_t)id;
    h ^= (uint64_t)key * 0x9e3779b97f4a7c15u;
    h ^= h >> 31; /* the finalizer of splitmix64 */
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 27;
    return (unsigned)(h ^ h >> 32);
}

static int grow(osv_trie *t, osv_error *e)
{
    int room = t->room ? 2 * t->room : 256;
    osv_trie_node *node = realloc(t->node, (size_t)room * sizeof *node);
    if (!node) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a batch of %d tokens", room);
    t->node = node;
    int *bucket = malloc((size_t)room * 2 * sizeof *bucket);
    if (!bucket) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a batch of %d tokens", room);
    free(t->bucket);
    t->bucket = bucket;
    t->room = room;
    t->buckets = 2 * room;
    for (int b = 0; b < t->buckets; b++) bucket[b] = -1;
    for (int i = 0; i < t->count; i++) {
        int *head = &bucket[hash(node[i].parent, node[i].id, node[i].key) % (unsigned)t->buckets];
        node[i].next = *head;
        *head = i;
    }
    return OSV_OK;
}

int osv_trie_child(osv_trie *t, int parent, int id, long key, int pos, int *child, osv_error *e)
{
    if (t->count == t->room) OSV_TRY(grow(t, e));
    int *head = &t->bucket[hash(parent, id, key) % (unsigned)t->buckets];
    for (int i = *head; i >= 0; i = t->node[i].next) {
        const osv_trie_node *n = &t->node[i];
        if (n->parent == parent && n->id == id && n->key == key) {
            *child = i;
            return OSV_OK;
        }
    }
    *child = t->count++;
    t->node[*child] = (osv_trie_node){.parent = parent, .id = id, .key = key, .pos = pos, .next = *head};
    *head = *child;
    return OSV_OK;
}

void osv_trie_free(osv_trie *t)
{
    free(t->node);
    free(t->bucket);
    *t = (osv_trie){0};
}
