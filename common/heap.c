#include "common/heap.h"

#include <errno.h>
#include <stdlib.h>

#include "common/util.h"

void heap_init(struct heap *h, bool (*before)(const void *a, const void *b), size_t place) {
    *h = (struct heap){.before = before, .place = place};
}

void heap_done(struct heap *h) {
    free(h->items);
    h->items = NULL;
    h->n = h->room = 0;
}

int heap_reserve(struct heap *h, size_t n) {
    size_t room = MAX(n, MAX(h->room * 2, (size_t)8));
    void **items;

    if (n <= h->room)
        return 0;
    items = reallocarray(h->items, room, sizeof(*items));
    if (!items)
        return -ENOMEM;
    h->items = items;
    h->room = room;
    return 0;
}

static size_t *place_of(const struct heap *h, const void *item) {
    return (size_t *)((char *)item + h->place);
}

/* Positions count from 1, as the children of i are then 2i and 2i + 1. */
static void put(struct heap *h, size_t i, void *item) {
    h->items[i - 1] = item;
    *place_of(h, item) = i;
}

static void sift_up(struct heap *h, size_t i, void *item) {
    for (; i > 1 && h->before(item, h->items[i / 2 - 1]); i /= 2)
        put(h, i, h->items[i / 2 - 1]);
    put(h, i, item);
}

static void sift_down(struct heap *h, size_t i, void *item) {
    while (2 * i <= h->n) {
        size_t child = 2 * i;

        if (child < h->n && h->before(h->items[child], h->items[child - 1]))
            child++;
        if (!h->before(h->items[child - 1], item))
            break;
        put(h, i, h->items[child - 1]);
        i = child;
    }
    put(h, i, item);
}

void heap_add(struct heap *h, void *item) {
    h->n++;
    sift_up(h, h->n, item);
}

void heap_reorder(struct heap *h, void *item) {
    size_t i = *place_of(h, item);

    if (i == 0)
        return;
    if (i > 1 && h->before(item, h->items[i / 2 - 1]))
        sift_up(h, i, item);
    else
        sift_down(h, i, item);
}

void heap_remove(struct heap *h, void *item) {
    size_t i = *place_of(h, item);
    void *last;

    if (i == 0)
        return;
    *place_of(h, item) = 0;
    last = h->items[--h->n];
    if (last == item)
        return;
    put(h, i, last);
    heap_reorder(h, last);
}

bool heap_has(const struct heap *h, const void *item) {
    return *place_of(h, item) != 0;
}

void *heap_first(const struct heap *h) {
    return h->n > 0 ? h->items[0] : NULL;
}
