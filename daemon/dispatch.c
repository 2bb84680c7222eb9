#include "daemon/dispatch.h"

#include <errno.h>
#include <inttypes.h>

#include "common/fault.h"
#include "common/log.h"
#include "daemon/dispatch_live.h"

/* Sleeps until a job may start for no other reason than that time went by. */
static void wake_at(struct dispatch *d, uint64_t usec) {
    if (usec == USEC_INFINITY)
        sd_event_source_set_enabled(d->wake, SD_EVENT_OFF);
    else if (sd_event_source_set_time(d->wake, usec) >= 0)
        sd_event_source_set_enabled(d->wake, SD_EVENT_ONESHOT);
}

/* False: nothing may start for now. */
static bool start_one(struct dispatch *d, uint64_t now) {
    bool refused;
    struct sched_job *job = sched_next(d->sched, now, &refused);

    if (!job)
        return false;
    if (!refused)
        return live_start(live_of(job, sched));
    live_refuse(live_of(job, sched));
    return true;
}

static int on_turn(sd_event_source *source, void *userdata) {
    struct dispatch *d = userdata;
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    bool room;

    (void)source;
    if (!d->running)
        return 0;
    while ((room = pool_has_room(d->pool)) && !d->draining && start_one(d, now))
        ;
    evict_lanes(d, now);
    ask_store(d);
    wake_at(d, room && !d->draining ? sched_wake(d->sched) : USEC_INFINITY);
    d->settings.moved(d->settings.userdata);
    return 0;
}

static int on_wake(sd_event_source *source, uint64_t usec, void *userdata) {
    (void)source;
    (void)usec;
    dispatch_turn(userdata);
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

void dispatch_on_fetched(void *userdata, struct pool_job *job, const struct wire_fetched *fetched) {
    const struct wire_result so_far = {
        .outcome = fetched->error == ERR_NONE ? OUTCOME_DONE : OUTCOME_FAILED,
        .error = fetched->error,
        .elsewhere = fetched->elsewhere,
        .http_status = fetched->http_status,
        .bytes = fetched->bytes,
    };
    const struct live_says says = {
        .says = attempt_says(&so_far),
        .retry_after = fetched->retry_after_usec,
        .error = fetched->error,
    };

    (void)userdata;
    fault_point(fetched_received);
    live_of(job, pool)->fetched = fetched->bytes;
    live_leave_sched(live_of(job, pool), &says);
}

void dispatch_on_checkpoint(void *userdata, struct pool_job *job, const struct wire_kept *kept) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    struct job_kept copy = {.total = -1};

    fault_point(checkpoint_received);
    /* Without memory for it the next one has to do. */
    if (attempt_keep(&l->row->kept, kept) == 0 && attempt_keep(&copy, kept) == 0 &&
        store_checkpoint(d->store, l->id, &copy) < 0)
        job_kept_done(&copy);
}

/* What is said, as a state; the one that it would have otherwise if nothing is. */
static enum job_state wished(const struct live_job *l, enum job_state otherwise) {
    return l->wish == WISH_CANCEL ? JOB_CANCELLED : l->wish == WISH_PAUSE ? JOB_PAUSED : otherwise;
}

static void result_failed(struct live_job *l, const struct wire_result *result) {
    attempt_ended(l, result->transient, result->retry_after_usec);
    if (l->wish == WISH_CANCEL || l->row->state == JOB_WAITING)
        l->row->state = wished(l, l->row->state);
    settle(l);
}

/* The attempt came to nothing and doesn't count. */
static void attempt_void(struct live_job *l) {
    l->row->attempts--;
    if (l->wish == WISH_NONE)
        live_requeue(l);
    else
        settle_as(l, wished(l, JOB_QUEUED));
}

/* Given back; what it left of the file is known after a restart too. */
static void result_released(struct live_job *l, const struct wire_result *result) {
    const struct job_kept *kept = &l->row->kept;
    bool same = result->kept.ranges && kept->ranges ? streq(result->kept.ranges, kept->ranges)
                                                    : result->kept.ranges == kept->ranges;

    if (result->kept.offset != kept->offset || result->kept.file != kept->file || !same)
        dispatch_on_checkpoint(l->dispatch, &l->pool, &result->kept);
    attempt_void(l);
}

void dispatch_on_result(void *userdata, struct pool_job *job, const struct wire_result *result) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    unsigned worker = l->pool.last_worker;
    struct live_says says = {
        .says = attempt_says(result),
        .retry_after = result->retry_after_usec,
        .error = result->error,
    };

    fault_point(result_received);
    live_leave_sched(l, &says);
    if (result->outcome == OUTCOME_RELEASED ||
        (result->outcome == OUTCOME_CANCELLED && l->wish != WISH_CANCEL)) {
        result_released(l, result);
    } else if (attempt_record(l->row, result, worker, now_usec(CLOCK_REALTIME)) < 0) {
        live_suspect(l);
        attempt_void(l);
    } else if (result->outcome == OUTCOME_FAILED) {
        result_failed(l, result);
    } else {
        l->row->state = result->outcome == OUTCOME_DONE ? JOB_DONE : JOB_CANCELLED;
        settle(l);
    }
    dispatch_turn(d);
}

void dispatch_on_stuck(void *userdata, struct pool_job *job, uint64_t usec) {
    const struct live_job *l = live_of(job, pool);
    struct log_about about = {.job = l->id,
                              .host = l->row->host,
                              .worker = (int)job->last_worker,
                              .msg_id = MSG_WORKER_STUCK};

    (void)userdata;
    log_about(LOG_WARNING, &about,
              "job %" PRId64 " (%s) has kept worker %u from going on for %" PRIu64
              " s; if that lasts, the worker is killed",
              l->id, l->row->url, job->last_worker, usec / USEC_PER_SEC);
}

void dispatch_on_lost(void *userdata, struct pool_job *job, bool to_blame) {
    static const struct live_says nothing = {.says = SCHED_SAYS_NOTHING};
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;

    fault_point(worker_lost);
    live_leave_sched(l, &nothing);
    live_suspect(l);
    if (l->row->kept.offset == 0)
        store_checkpoint(d->store, l->id, &(struct job_kept){.total = -1, .leftover = true});
    if (to_blame && l->wish == WISH_NONE) {
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

void dispatch_on_ready(void *userdata, const struct store_ready *ready) {
    struct dispatch *d = userdata;

    sched_ready(d->sched, ready->uid, ready->lane, ready->turn, ready->first_rank,
                ready->last_rank);
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
    d->sched = sched_new(&settings->sched);
    if (d->sched)
        r = sd_event_add_defer(event, &d->turn, on_turn, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->turn, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &d->retry, CLOCK_MONOTONIC, 0, 0, on_store_retry, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->retry, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &d->look, CLOCK_MONOTONIC, 0, 0, on_look, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->look, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(event, &d->wake, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_wake, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->wake, SD_EVENT_OFF);
    if (r < 0) {
        dispatch_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct dispatch *dispatch_free(struct dispatch *d) {
    struct live_job *l, *tmp;
    struct suspect *s, *next;

    if (!d)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp)
    live_drop(l);
    discards_free(d);
    HASH_ITER(hh, d->suspects, s, next)
    suspect_drop(d, s->id);
    job_spec_done(&d->spec);
    free(d->spec_body);
    sched_free(d->sched);
    sd_event_source_disable_unref(d->turn);
    sd_event_source_disable_unref(d->look);
    sd_event_source_disable_unref(d->retry);
    sd_event_source_disable_unref(d->wake);
    free(d);
    return NULL;
}

void dispatch_configure(struct dispatch *d, const struct attempt_policy *policy,
                        const struct access_settings *access) {
    d->settings.policy = *policy;
    d->settings.access = *access;
    sched_policies_changed(d->sched);
    dispatch_turn(d);
}

void dispatch_start(struct dispatch *d, struct store *store, struct pool *pool) {
    d->store = store;
    d->pool = pool;
    d->running = true;
    discards_look(d);
    dispatch_turn(d);
}

void dispatch_stop(struct dispatch *d) {
    if (d->running)
        evict_away(d);
    d->running = false;
}

void dispatch_drain(struct dispatch *d, bool on) {
    d->draining = on;
    dispatch_turn(d);
}

bool dispatch_draining(const struct dispatch *d) {
    return d->draining;
}
