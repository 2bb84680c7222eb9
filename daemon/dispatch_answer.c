#include "daemon/dispatch_live.h"

#include <utlist.h>

/* So that a large file doesn't keep the host that sends it waiting for its end. */
#define LOOK_EVERY (250 * USEC_PER_MSEC)

static void look_again(struct dispatch *d) {
    if (d->awaited && sd_event_source_set_time_relative(d->look, LOOK_EVERY) >= 0)
        sd_event_source_set_enabled(d->look, SD_EVENT_ONESHOT);
}

void answer_await(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    if (!sched_is_curious(&l->sched))
        return;
    DL_APPEND2(d->awaited, l, prev_awaited, next_awaited);
    l->awaited = true;
    if (!l->next_awaited && d->awaited == l)
        look_again(d);
}

void answer_forget(struct live_job *l) {
    if (l->awaited)
        DL_DELETE2(l->dispatch->awaited, l, prev_awaited, next_awaited);
    l->awaited = false;
}

int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    struct dispatch *d = userdata;
    struct live_job *l, *tmp;
    struct pool_progress p;

    (void)source;
    (void)usec;
    DL_FOREACH_SAFE2(d->awaited, l, tmp, next_awaited) {
        if (pool_progress(&l->pool, &p) < 0 || p.bytes == 0)
            continue;
        answer_forget(l);
        sched_answered(d->sched, &l->sched, now);
        dispatch_turn(d);
    }
    look_again(d);
    return 0;
}
