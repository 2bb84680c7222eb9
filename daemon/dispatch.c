#include "daemon/dispatch.h"

#include <errno.h>
#include <sys/random.h>

#include "daemon/dispatch_live.h"

static int on_turn(sd_event_source *source, void *userdata) {
    struct dispatch *d = userdata;

    (void)source;
    if (!d->running)
        return 0;
    while (pool_has_room(d->pool)) {
        struct sched_job *job = sched_next(d->sched);

        if (!job || !live_start(live_of(job, sched)))
            break;
    }
    ask_store(d);
    d->settings.moved(d->settings.userdata);
    return 0;
}

void dispatch_turn(struct dispatch *d) {
    if (d->running)
        sd_event_source_set_enabled(d->turn, SD_EVENT_ONESHOT);
}

/* ---- from the workers to the store ---- */

struct pool_job *dispatch_on_find(void *userdata, int64_t id) {
    struct live_job *l = live_find(userdata, id);

    return l ? &l->pool : NULL;
}

void dispatch_on_fetched(void *userdata, struct pool_job *job) {
    (void)userdata;
    live_leave_sched(live_of(job, pool));
}

void dispatch_on_checkpoint(void *userdata, struct pool_job *job, const struct wire_kept *kept) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    struct job_kept copy = {.total = -1};

    /* Without memory for it the next one has to do. */
    if (attempt_keep(&l->row->kept, kept) == 0 && attempt_keep(&copy, kept) == 0 &&
        store_checkpoint(d->store, l->id, &copy) < 0)
        job_kept_done(&copy);
}

static void result_failed(struct live_job *l, const struct wire_result *result) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    struct attempt_end end = {
        .transient = result->transient,
        .retry_after = result->retry_after_usec,
        .kept_before = l->kept_before,
        .now = l->row->result.finished,
    };

    (void)job_spec_parse(l->row->body, &spec); /* it was read when the attempt began */
    if (getrandom(&end.random, sizeof(end.random), GRND_NONBLOCK) < 0)
        end.random = UINT32_MAX / 2;
    attempt_failed(l->row, &spec, &l->dispatch->settings.policy, &end);
    if (l->cancelling)
        l->row->state = JOB_CANCELLED;
    settle(l);
}

/* The attempt came to nothing and doesn't count. */
static void attempt_void(struct live_job *l) {
    l->row->attempts--;
    if (l->cancelling)
        settle_cancelled(l);
    else
        live_requeue(l);
}

/* Given back; what it left of the file is known after a restart too. */
static void result_released(struct live_job *l, const struct wire_result *result) {
    if (result->kept.offset != l->row->kept.offset || result->kept.file != l->row->kept.file)
        dispatch_on_checkpoint(l->dispatch, &l->pool, &result->kept);
    attempt_void(l);
}

void dispatch_on_result(void *userdata, struct pool_job *job, const struct wire_result *result) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    unsigned worker = l->pool.last_worker;

    live_leave_sched(l);
    if (result->outcome == OUTCOME_RELEASED ||
        (result->outcome == OUTCOME_CANCELLED && !l->cancelling)) {
        result_released(l, result);
    } else if (attempt_record(l->row, result, worker, now_usec(CLOCK_REALTIME)) < 0) {
        l->maybe_published = true;
        attempt_void(l);
    } else if (result->outcome == OUTCOME_FAILED) {
        result_failed(l, result);
    } else {
        l->row->state = result->outcome == OUTCOME_DONE ? JOB_DONE : JOB_CANCELLED;
        settle(l);
    }
    dispatch_turn(d);
}

void dispatch_on_lost(void *userdata, struct pool_job *job, bool to_blame) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;

    live_leave_sched(l);
    l->maybe_published = true;
    l->row->kept.leftover = true; /* if nothing durable is known of it */
    if (to_blame && !l->cancelling) {
        l->row->attempts--;
        attempt_crashed(l->row, &d->settings.policy, now_usec(CLOCK_REALTIME));
        settle(l);
    } else {
        attempt_void(l);
    }
}

void dispatch_on_room(void *userdata) {
    discards_go_on(userdata);
    dispatch_turn(userdata);
}

void dispatch_on_ready(void *userdata, const char *host, int64_t rank) {
    struct dispatch *d = userdata;

    sched_ready(d->sched, host, rank);
    dispatch_turn(d);
}

/* ---- life ---- */

int dispatch_new(struct dispatch **ret, sd_event *event, const struct dispatch_settings *settings) {
    struct dispatch *d = calloc(1, sizeof(*d));
    int r = -ENOMEM;

    if (!d)
        return -ENOMEM;
    d->event = event;
    d->settings = *settings;
    d->started = now_usec(CLOCK_REALTIME);
    d->sched = sched_new(&settings->limits);
    if (d->sched)
        r = sd_event_add_defer(event, &d->turn, on_turn, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->turn, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &d->retry, CLOCK_MONOTONIC, 0, 0, on_store_retry, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->retry, SD_EVENT_OFF);
    if (r < 0) {
        dispatch_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct dispatch *dispatch_free(struct dispatch *d) {
    struct live_job *l, *tmp;

    if (!d)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp)
    live_free(l);
    discards_free(d);
    sched_free(d->sched);
    sd_event_source_disable_unref(d->turn);
    sd_event_source_disable_unref(d->retry);
    free(d);
    return NULL;
}

void dispatch_start(struct dispatch *d, struct store *store, struct pool *pool) {
    d->store = store;
    d->pool = pool;
    d->running = true;
    discards_look(d);
    dispatch_turn(d);
}

void dispatch_stop(struct dispatch *d) {
    d->running = false;
}
