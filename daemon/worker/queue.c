#include "daemon/worker/queue.h"

#include <errno.h>
#include <utlist.h>

struct queue {
    struct task *first;
    sd_event_source *timer; /* on while there may be tasks; looks at the first one only */
    queue_expired_fn *on_expired;
    void *userdata;
};

static int timer_set(struct queue *q, uint64_t usec) {
    int r = sd_event_source_set_time(q->timer, usec);

    return r < 0 ? r : sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
}

/* Tasks come and go much faster than this fires, so it isn't moved with them. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct queue *q = userdata;
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    struct task *t;

    (void)source;
    (void)usec;
    while ((t = q->first) && t->arrived_usec + QUEUE_PATIENCE <= now) {
        DL_DELETE(q->first, t);
        q->on_expired(q->userdata, t);
    }
    return q->first ? timer_set(q, q->first->arrived_usec + QUEUE_PATIENCE) : 0;
}

int queue_new(struct queue **ret, sd_event *event, queue_expired_fn *on_expired, void *userdata) {
    struct queue *q = calloc(1, sizeof(*q));
    int r;

    if (!q)
        return -ENOMEM;
    q->on_expired = on_expired;
    q->userdata = userdata;
    r = sd_event_add_time(event, &q->timer, CLOCK_MONOTONIC, 0, 5 * USEC_PER_MSEC, on_timer, q);
    if (r >= 0)
        r = sd_event_source_set_enabled(q->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_source_set_exit_on_failure(q->timer, true);
    if (r < 0) {
        queue_free(q);
        return r;
    }
    *ret = q;
    return 0;
}

struct queue *queue_free(struct queue *q) {
    if (!q)
        return NULL;
    sd_event_source_disable_unref(q->timer);
    free(q);
    return NULL;
}

void queue_push(struct queue *q, struct task *t) {
    int enabled = SD_EVENT_OFF;

    DL_APPEND(q->first, t);
    sd_event_source_get_enabled(q->timer, &enabled);
    if (enabled == SD_EVENT_OFF)
        timer_set(q, t->arrived_usec + QUEUE_PATIENCE);
}

struct task *queue_pop(struct queue *q) {
    struct task *t = q->first;

    if (t)
        DL_DELETE(q->first, t);
    return t;
}

void queue_remove(struct queue *q, struct task *t) {
    DL_DELETE(q->first, t);
}
