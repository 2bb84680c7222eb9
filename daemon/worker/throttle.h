/*
 * throttle.h - holds back the transfers of a worker that limits on bytes a second don't let go on.
 *
 * A transfer takes from all buckets that are for it, or waits for the slowest. Those that wait are
 * looked at in the order in which they began to, so that they take turns; one timer wakes up for
 * all of them, and none where nothing waits. What a bucket says is asked again every 250 ms, so
 * that another rate holds at once.
 */
#ifndef DLD_WORKER_THROTTLE_H
#define DLD_WORKER_THROTTLE_H

#include <systemd/sd-event.h>

#include "common/ratelimit.h"

#define THROTTLE_BUCKETS_MAX 3

struct throttle;

/* Of one transfer, embedded in its struct; zero is none that is limited. */
struct throttled {
    struct ratelimit_bucket own;
    struct ratelimit_bucket *buckets[THROTTLE_BUCKETS_MAX]; /* may include own */
    unsigned n_buckets;
    bool held;
    uint64_t due;    /* HELD: when to ask again, ns of CLOCK_MONOTONIC */
    uint64_t since;  /* HELD: when it began */
    uint64_t waited; /* ns in all, before that */
    struct throttled *prev, *next;
};

/* It may go on, and is not held any more; it may be held again before this returns. */
typedef void throttle_release_fn(struct throttled *x);

/* 0 or a negative errno. */
int throttle_new(struct throttle **ret, sd_event *event, throttle_release_fn *release);

/* Nothing may be held. Takes NULL, returns NULL. */
struct throttle *throttle_free(struct throttle *t);

/* Whether any limit is in force for it. */
static inline bool throttle_limits(const struct throttled *x) {
    for (unsigned i = 0; i < x->n_buckets; i++)
        if (bucket_limits(x->buckets[i]))
            return true;
    return false;
}

/* Takes bytes that have arrived, and returns true; false: nothing was taken, and x is held until
 * they may be. */
bool throttle_take(struct throttle *t, struct throttled *x, uint64_t bytes);

/* Forgets x, whether it is held or not. */
void throttle_drop(struct throttle *t, struct throttled *x);

#endif
