#include "daemon/worker/beat.h"

#include <errno.h>
#include <stdlib.h>

#define BEAT_USEC (250 * USEC_PER_MSEC)

struct beat {
    struct scoreboard *board;
    bool (*busy)(void *userdata);
    void *userdata;
    sd_event_source *timer;
    bool on;
};

static void beat_again(struct beat *b) {
    beat_turned(b->board);
    b->on = sd_event_source_set_time_relative(b->timer, BEAT_USEC) >= 0 &&
            sd_event_source_set_enabled(b->timer, SD_EVENT_ONESHOT) >= 0;
}

/* It stops a beat after the last job, so that many short ones don't move the timer. */
static int on_beat(sd_event_source *source, uint64_t usec, void *userdata) {
    struct beat *b = userdata;

    (void)source;
    (void)usec;
    b->on = false;
    if (b->busy(b->userdata))
        beat_again(b);
    return 0;
}

void beat_on(struct beat *b) {
    if (!b->on)
        beat_again(b);
}

int beat_new(struct beat **ret, sd_event *event, struct scoreboard *board,
             bool (*busy)(void *userdata), void *userdata) {
    struct beat *b = calloc(1, sizeof(*b));
    int r;

    if (!b)
        return -ENOMEM;
    b->board = board;
    b->busy = busy;
    b->userdata = userdata;
    r = sd_event_add_time_relative(event, &b->timer, CLOCK_MONOTONIC, BEAT_USEC, BEAT_USEC / 4,
                                   on_beat, b);
    if (r >= 0)
        r = sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
    if (r < 0) {
        beat_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

struct beat *beat_free(struct beat *b) {
    if (b)
        sd_event_source_disable_unref(b->timer);
    free(b);
    return NULL;
}
