#include "daemon/store_given.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <stddef.h>
#include <uthash.h>

/* Jobs that are given out together have ids near each other: some of BLOCK_IDS in a row. */
#define BLOCK_IDS 64

struct given_block {
    int64_t number;
    uint64_t jobs; /* a bit for each id; never 0 */
    UT_hash_handle hh;
};

void given_init(struct given *g) {
    pthread_mutex_init(&g->lock, NULL);
    g->blocks = NULL;
}

void given_done(struct given *g) {
    struct given_block *b, *next;

    HASH_ITER(hh, g->blocks, b, next) {
        HASH_DEL(g->blocks, b);
        free(b);
    }
    pthread_mutex_destroy(&g->lock);
}

static uint64_t bit(int64_t id) {
    return UINT64_C(1) << (id % BLOCK_IDS);
}

static struct given_block *find(const struct given *g, int64_t id) {
    int64_t number = id / BLOCK_IDS;
    struct given_block *b;

    HASH_FIND(hh, g->blocks, &number, sizeof(number), b);
    return b;
}

static struct given_block *make(struct given *g, int64_t id) {
    struct given_block *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->number = id / BLOCK_IDS;
    HASH_ADD(hh, g->blocks, number, sizeof(b->number), b);
    if (b->hh.tbl)
        return b;
    free(b);
    return NULL;
}

int given_add(struct given *g, int64_t id) {
    struct given_block *b;

    pthread_mutex_lock(&g->lock);
    b = find(g, id);
    if (!b)
        b = make(g, id);
    if (b)
        b->jobs |= bit(id);
    pthread_mutex_unlock(&g->lock);
    return b ? 0 : -ENOMEM;
}

void given_drop(struct given *g, int64_t id) {
    struct given_block *b;

    pthread_mutex_lock(&g->lock);
    b = find(g, id);
    if (b && (b->jobs &= ~bit(id)) == 0) {
        HASH_DEL(g->blocks, b);
        free(b);
    }
    pthread_mutex_unlock(&g->lock);
}

bool given_has(struct given *g, int64_t id) {
    const struct given_block *b;
    bool has;

    pthread_mutex_lock(&g->lock);
    b = find(g, id);
    has = b && (b->jobs & bit(id));
    pthread_mutex_unlock(&g->lock);
    return has;
}
