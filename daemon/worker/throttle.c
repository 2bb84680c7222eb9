#include "daemon/worker/throttle.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#define SLICE UINT64_C(250000000) /* ns between two looks at a bucket */
#define NSEC_PER_USEC 1000

/* Those who wait for one bucket are due at about the same time, and the one that began first is to
 * have the first turn: who is due so soon is looked at, too. */
#define SOON (RATE_BURST / 10)

/* One that has just had its turn looks later, so that those of other workers come first. */
#define AFTER_OTHERS (RATE_BURST / 20)

struct throttle {
    sd_event_source *timer;
    throttle_release_fn *release;
    struct throttled *held;   /* in the order in which they began to wait */
    struct throttled *cursor; /* while they are gone through: the next one */
    uint64_t armed;           /* ns; UINT64_MAX: the timer is off */
};

static uint64_t wait_of(const struct throttled *x, uint64_t now) {
    uint64_t longest = 0;

    for (unsigned i = 0; i < x->n_buckets; i++) {
        uint64_t wait = bucket_wait(x->buckets[i], now);

        longest = MAX(longest, wait);
    }
    return longest;
}

static void timer_arm(struct throttle *t, uint64_t due) {
    t->armed = due;
    if (sd_event_source_set_time(t->timer, due / NSEC_PER_USEC + 1) >= 0)
        sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static void timer_arm_first(struct throttle *t) {
    struct throttled *x;
    uint64_t first = UINT64_MAX;

    DL_FOREACH(t->held, x)
    first = MIN(first, x->due);
    if (first != UINT64_MAX)
        timer_arm(t, first);
}

static void hold(struct throttle *t, struct throttled *x, uint64_t now, uint64_t wait) {
    x->held = true;
    x->since = now;
    x->due = now + MIN(wait + AFTER_OTHERS, SLICE);
    DL_APPEND(t->held, x);
    if (x->due < t->armed)
        timer_arm(t, x->due);
}

static void let_go(struct throttle *t, struct throttled *x, uint64_t now) {
    if (t->cursor == x)
        t->cursor = x->next;
    DL_DELETE(t->held, x);
    x->held = false;
    x->waited += now - x->since;
}

/* One that is held again goes to the end of the list; those for whom nothing is left keep their
 * place. */
static int on_due(sd_event_source *source, uint64_t usec, void *userdata) {
    struct throttle *t = userdata;
    uint64_t now = ratelimit_now();
    struct throttled *x;

    (void)source;
    (void)usec;
    for (t->cursor = t->held; (x = t->cursor);) {
        uint64_t wait;

        t->cursor = x->next;
        if (x->due > now + SOON)
            continue;
        wait = wait_of(x, now);
        x->due = now + MIN(wait, SLICE);
        if (wait == 0) {
            let_go(t, x, now);
            t->release(x);
        }
    }
    t->armed = UINT64_MAX;
    timer_arm_first(t);
    return 0;
}

bool throttle_take(struct throttle *t, struct throttled *x, uint64_t bytes) {
    uint64_t now = ratelimit_now(), wait = x->held ? 0 : wait_of(x, now);

    if (wait > 0)
        hold(t, x, now, wait);
    if (x->held)
        return false;
    for (unsigned i = 0; i < x->n_buckets; i++)
        bucket_take(x->buckets[i], bytes, now);
    return true;
}

void throttle_drop(struct throttle *t, struct throttled *x) {
    if (x->held)
        let_go(t, x, ratelimit_now());
}

int throttle_new(struct throttle **ret, sd_event *event, throttle_release_fn *release) {
    struct throttle *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    t->release = release;
    t->armed = UINT64_MAX;
    r = sd_event_add_time(event, &t->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_due, t);
    if (r >= 0)
        r = sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(t->timer, true);
    if (r < 0) {
        throttle_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

struct throttle *throttle_free(struct throttle *t) {
    if (!t)
        return NULL;
    sd_event_source_disable_unref(t->timer);
    free(t);
    return NULL;
}
