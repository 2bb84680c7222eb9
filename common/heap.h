/*
 * heap.h - a binary heap of pointers: the first by some order, with removal and reordering of any
 * element in O(log n). Each element keeps its place in a size_t of its own (0: not in the heap), so
 * that it can be found again; one that is in several heaps has one for each.
 *
 * Room is reserved apart from adding, so that adding can't fail.
 */
#ifndef DLD_HEAP_H
#define DLD_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap {
    void **items;
    size_t n, room;
    size_t place; /* offsetof the size_t in an element */
    bool (*before)(const void *a, const void *b);
};

void heap_init(struct heap *h, bool (*before)(const void *a, const void *b), size_t place);
void heap_done(struct heap *h);

/* Room for n elements in all. 0 or -ENOMEM. */
int heap_reserve(struct heap *h, size_t n);

/* Adds an element that is not in it; there is room. */
void heap_add(struct heap *h, void *item);

/* Takes an element out; nothing happens if it isn't in. */
void heap_remove(struct heap *h, void *item);

/* The element's order has changed; nothing happens if it isn't in. */
void heap_reorder(struct heap *h, void *item);

bool heap_has(const struct heap *h, const void *item);

/* The first one, which stays in; NULL: the heap is empty. */
void *heap_first(const struct heap *h);

#endif
