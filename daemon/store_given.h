/*
 * store_given.h - jobs that the store has given out and not got back: of these a worker may have a
 * part file that their rows don't know of yet.
 *
 * Private to the store. The thread adds and looks, the loop drops.
 */
#ifndef DLD_STORE_GIVEN_H
#define DLD_STORE_GIVEN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct given {
    pthread_mutex_t lock;
    struct given_block *blocks; /* hash by number */
};

void given_init(struct given *g);
void given_done(struct given *g);

/* 0, also if it is there already, or -ENOMEM. */
int given_add(struct given *g, int64_t id);
void given_drop(struct given *g, int64_t id);
bool given_has(struct given *g, int64_t id);

#endif
