#include "daemon/dispatch_live.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "common/log.h"

#define STORE_RETRY (1 * USEC_PER_SEC) /* after the store has refused something */

int on_store_retry(sd_event_source *source, uint64_t usec, void *userdata) {
    struct dispatch *d = userdata;
    struct live_job *l = d->unsaved;

    (void)source;
    (void)usec;
    d->unsaved = NULL;
    while (l) {
        struct live_job *next = l->next_unsaved;

        l->next_unsaved = NULL;
        settle(l);
        l = next;
    }
    discards_go_on(d);
    dispatch_turn(d);
    return 0;
}

bool store_rests(const struct dispatch *d) {
    return d->unwritten || sd_event_source_get_enabled(d->retry, NULL) != 0;
}

void store_let_rest(struct dispatch *d) {
    if (sd_event_source_get_enabled(d->retry, NULL) == 0 &&
        sd_event_source_set_time_relative(d->retry, STORE_RETRY) >= 0)
        sd_event_source_set_enabled(d->retry, SD_EVENT_ONESHOT);
}

static void settle_failed(struct live_job *l, int error) {
    struct log_about about = {.msg_id = MSG_STORE_ERROR};
    struct dispatch *d = l->dispatch;

    LL_PREPEND2(d->unsaved, l, next_unsaved);
    if (!d->unwritten)
        log_about(LOG_ERR, &about, "the queue can't be written: %s; trying again every second",
                  strerror(-error));
    d->unwritten = true;
    store_let_rest(d);
}

static void store_works(struct dispatch *d) {
    if (!d->unwritten)
        return;
    log_notice("the queue can be written again");
    d->unwritten = false;
    dispatch_turn(d);
}

static void log_failure(const struct job *job) {
    struct log_about about = {
        .job = job->id,
        .host = job->host,
        .worker = (int)job->result.worker,
        .error = error_name(job->result.error),
        .msg_id = MSG_JOB_FAILED,
    };

    log_about(LOG_INFO, &about, "job %" PRId64 " failed: %s: %s (%s)", job->id,
              error_name(job->result.error),
              job->result.message ? job->result.message : error_sentence(job->result.error),
              job->url);
}

static void on_settled(void *userdata, int error) {
    struct live_job *l = userdata;
    struct dispatch *d = l->dispatch;
    bool too_late = error == -EALREADY || error == -ENOENT, look;

    if (error < 0 && !too_late) {
        settle_failed(l, error);
        return;
    }
    store_works(d);
    d->settings.moved(d->settings.userdata);
    if (error == 0 && l->row->state == JOB_QUEUED) {
        live_requeue(l);
        return;
    }
    if (too_late || job_state_ended(l->row->state))
        suspect_drop(d, l->id);
    look = too_late || (l->row->kept.leftover && job_state_ended(l->row->state));
    if (error == 0 && l->row->state == JOB_FAILED)
        log_failure(l->row);
    if (error == 0 && job_state_ended(l->row->state))
        d->settings.ended(d->settings.userdata, l->row);
    live_free(l);
    if (look)
        discards_look(d);
}

void settle(struct live_job *l) {
    struct dispatch *d = l->dispatch;
    int r;

    if (l->stage == LIVE_QUEUED)
        d->n_active++;
    l->stage = LIVE_SETTLING;
    if (job_state_ended(l->row->state) && !attempt_may_go_on(l->row))
        job_kept_drop(&l->row->kept);
    r = store_put(d->store, l->row, on_settled, l);
    if (r < 0)
        settle_failed(l, r);
}

void settle_as(struct live_job *l, enum job_state state) {
    l->row->state = state;
    if (job_state_ended(state))
        l->row->result.finished = now_usec(CLOCK_REALTIME);
    settle(l);
}

void attempt_ended(struct live_job *l, bool transient, uint64_t retry_after) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    struct attempt_end end = {
        .transient = transient,
        .retry_after = retry_after,
        .kept_before = l->kept_before,
        .now = l->row->result.finished,
    };

    (void)job_spec_parse(l->row->body, &spec); /* it was read when the attempt began */
    if (getrandom(&end.random, sizeof(end.random), GRND_NONBLOCK) < 0)
        end.random = UINT32_MAX / 2;
    attempt_failed(l->row, &spec, &l->dispatch->settings.policy, &end);
}

void settle_error(struct live_job *l, enum dld_error error, const char *message) {
    job_result_done(&l->row->result);
    l->row->result = (struct job_result){
        .size = -1,
        .error = error,
        .message = strdup(message),
        .finished = now_usec(CLOCK_REALTIME),
    };
    l->row->state = JOB_FAILED;
    settle(l);
}
