#include "daemon/dispatch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/log.h"

#define STORE_RETRY (1 * USEC_PER_SEC) /* after the store has refused something */

enum live_stage {
    LIVE_QUEUED,   /* in the scheduler's window */
    LIVE_ACTIVE,   /* with a worker */
    LIVE_SETTLING, /* its state is being written, or waits to be */
};

struct live_job {
    int64_t id;
    struct job *row; /* owned */
    enum live_stage stage;
    bool in_sched;        /* counts for its host */
    bool maybe_published; /* an attempt was lost sight of: it may have published the file */
    bool cancelling;
    struct sched_job sched;
    struct pool_job pool;
    struct live_job *next_unsaved;
    struct dispatch *dispatch;
    UT_hash_handle hh;
};

struct dispatch {
    sd_event *event;
    struct dispatch_settings settings;
    struct store *store;
    struct pool *pool;
    struct sched *sched;
    struct live_job *live;    /* by id */
    struct live_job *unsaved; /* SETTLING ones that the store refused */
    unsigned n_active;        /* ACTIVE or SETTLING */
    uint64_t started;         /* CLOCK_REALTIME usec */
    bool running;
    sd_event_source *turn;  /* defer source: give out jobs once in a turn of the loop */
    sd_event_source *retry; /* timer: ask the store again */
    bool store_failing;
};

#define live_of(ptr, member) ((struct live_job *)((char *)(ptr)-offsetof(struct live_job, member)))

static void dispatch_turn(struct dispatch *d);
static void settle(struct live_job *l);

/* ---- live jobs ---- */

static struct live_job *live_find(const struct dispatch *d, int64_t id) {
    struct live_job *l;

    HASH_FIND(hh, d->live, &id, sizeof(id), l);
    return l;
}

static struct live_job *live_new(struct dispatch *d, struct job *row) {
    struct live_job *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->id = l->sched.id = l->pool.id = row->id;
    l->sched.rank = row->rank;
    l->dispatch = d;
    l->maybe_published = row->created <= d->started;
    HASH_ADD(hh, d->live, id, sizeof(l->id), l);
    if (!l->hh.tbl) {
        free(l);
        return NULL;
    }
    l->row = row;
    return l;
}

static void live_free(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    if (l->stage != LIVE_QUEUED)
        d->n_active--;
    HASH_DEL(d->live, l);
    job_free(l->row);
    free(l);
}

/* The host's connection is free again. */
static void live_leave_sched(struct live_job *l) {
    if (!l->in_sched)
        return;
    l->in_sched = false;
    if (l->stage == LIVE_QUEUED)
        sched_remove(l->dispatch->sched, &l->sched);
    else
        sched_ended(l->dispatch->sched, &l->sched);
}

/* Back into the window, as if it had never been given out. */
static void live_requeue(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    live_leave_sched(l);
    if (sched_add(d->sched, l->row->host, &l->sched) < 0) {
        live_free(l); /* it is in the store */
        return;
    }
    l->in_sched = true;
    l->stage = LIVE_QUEUED;
    l->row->state = JOB_QUEUED;
    d->n_active--;
    dispatch_turn(d);
}

/* ---- writing to the store ---- */

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
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
    dispatch_turn(d);
    return 0;
}

static void store_failed(struct dispatch *d, int error) {
    struct log_about about = {.msg_id = MSG_STORE_ERROR};

    if (!d->store_failing)
        log_about(LOG_ERR, &about, "the queue can't be written: %s; trying again every second",
                  strerror(-error));
    d->store_failing = true;
    if (sd_event_source_get_enabled(d->retry, NULL) == 0 &&
        sd_event_source_set_time_relative(d->retry, STORE_RETRY) >= 0)
        sd_event_source_set_enabled(d->retry, SD_EVENT_ONESHOT);
}

static void store_works(struct dispatch *d) {
    if (d->store_failing)
        log_notice("the queue can be written again");
    d->store_failing = false;
}

static void settle_failed(struct live_job *l, int error) {
    struct dispatch *d = l->dispatch;

    LL_PREPEND2(d->unsaved, l, next_unsaved);
    store_failed(d, error);
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
              job->result.message ? job->result.message : error_sentence(job->result.error), job->url);
}

static void on_settled(void *userdata, int error) {
    struct live_job *l = userdata;
    struct dispatch *d = l->dispatch;

    if (error < 0 && error != -EALREADY) {
        settle_failed(l, error);
        return;
    }
    store_works(d);
    if (error == 0 && l->row->state == JOB_QUEUED) {
        live_requeue(l);
        return;
    }
    if (error == 0 && l->row->state == JOB_FAILED)
        log_failure(l->row);
    if (error == 0 && job_state_ended(l->row->state))
        d->settings.ended(d->settings.userdata, l->row);
    live_free(l);
}

/* Writes where the job stands, as its row says. */
static void settle(struct live_job *l) {
    struct dispatch *d = l->dispatch;
    int r;

    if (l->stage == LIVE_QUEUED)
        d->n_active++;
    l->stage = LIVE_SETTLING;
    r = store_put(d->store, l->row, on_settled, l);
    if (r < 0)
        settle_failed(l, r);
}

static void settle_cancelled(struct live_job *l) {
    l->row->state = JOB_CANCELLED;
    l->row->result.finished = now_usec(CLOCK_REALTIME);
    settle(l);
}

static void settle_broken(struct live_job *l, const char *message) {
    job_result_done(&l->row->result);
    l->row->result = (struct job_result){
        .size = -1,
        .error = ERR_INTERNAL,
        .message = strdup(message),
        .finished = now_usec(CLOCK_REALTIME),
    };
    l->row->state = JOB_FAILED;
    settle(l);
}

/* ---- from the store to the workers ---- */

static void fill_message(const struct live_job *l, const struct job_spec *spec, const char *output,
                         struct wire_job *ret) {
    *ret = (struct wire_job){
        .id = l->id,
        .attempt = l->row->attempts + 1,
        .on_conflict = spec->on_conflict,
        .maybe_published = l->maybe_published,
        .max_size = spec->max_size,
        .timeout_usec = spec->timeout_usec,
        .url = l->row->url,
        .output = output,
        .user_agent = spec->user_agent,
        .referer = spec->referer,
        .n_headers = (uint32_t)MIN(spec->n_headers, (size_t)WIRE_HEADERS_MAX),
    };
    for (uint32_t i = 0; i < ret->n_headers; i++)
        ret->headers[i] = spec->headers[i];
}

static int expand_output(const struct live_job *l, const struct job_spec *spec, char **ret) {
    struct url u;
    const char *why;
    size_t column;
    int r = url_parse(l->row->url, &u, &why, &column);

    if (r < 0)
        return r;
    r = output_expand(spec->output, &u, l->id, l->row->index, ret);
    url_done(&u);
    return r;
}

/* Gives the job to a worker: 0, -EAGAIN (no room), or what is wrong with the job. */
static int live_send(struct live_job *l) {
    _cleanup_free_ char *output = NULL;
    _cleanup_(job_spec_done) struct job_spec spec = {.retries = -1};
    struct wire_job message;
    int r = job_spec_parse(l->row->body, &spec);

    if (r == 0)
        r = expand_output(l, &spec, &output);
    if (r < 0)
        return r;
    fill_message(l, &spec, output, &message);
    return pool_start(l->dispatch->pool, &l->pool, l->row->host, &message);
}

/* False: no worker has room. */
static bool live_start(struct live_job *l) {
    struct dispatch *d = l->dispatch;
    int r = live_send(l);

    if (r == -EAGAIN || r == -ENOMEM) {
        sched_unstart(d->sched, &l->sched);
        return false;
    }
    l->stage = LIVE_ACTIVE;
    d->n_active++;
    if (r < 0) {
        live_leave_sched(l);
        settle_broken(l, "the job can't be read back from the queue, or sent to a worker");
        return true;
    }
    l->row->attempts++;
    l->row->state = JOB_ACTIVE;
    return true;
}

struct fetch {
    struct dispatch *dispatch;
    int64_t after_rank, after_id;
    char host[];
};

static void take_row(struct dispatch *d, struct job *row) {
    struct live_job *l;

    if (live_find(d, row->id)) {
        job_free(row);
        return;
    }
    l = live_new(d, row);
    if (!l) {
        job_free(row);
        return;
    }
    l->in_sched = sched_add(d->sched, row->host, &l->sched) == 0;
    if (!l->in_sched)
        live_free(l);
}

static void on_jobs(void *userdata, int error, struct job **jobs, size_t n, bool more) {
    struct fetch *f = userdata;
    struct dispatch *d = f->dispatch;
    struct sched_job *surplus;

    if (error < 0) {
        more = true;
        store_failed(d, error);
    } else if (n > 0) {
        f->after_rank = jobs[n - 1]->rank;
        f->after_id = jobs[n - 1]->id;
    }
    for (size_t i = 0; i < n; i++)
        take_row(d, jobs[i]);
    free(jobs);
    sched_filled(d->sched, f->host, more, f->after_rank, f->after_id);
    while ((surplus = sched_trim(d->sched)))
        live_free(live_of(surplus, sched));
    free(f);
    dispatch_turn(d);
}

static int ask_jobs(struct dispatch *d, const struct sched_request *q) {
    size_t n = strlen(q->host) + 1;
    struct fetch *f = malloc(sizeof(*f) + n);
    int r = -ENOMEM;

    if (f) {
        f->dispatch = d;
        f->after_rank = q->after_rank;
        f->after_id = q->after_id;
        memcpy(f->host, q->host, n);
        r = store_fetch(d->store, f->host, q->after_rank, q->after_id, q->limit, on_jobs, f);
    }
    if (r < 0) {
        sched_filled(d->sched, q->host, true, q->after_rank, q->after_id);
        free(f);
    }
    return r;
}

static void on_hosts(void *userdata, int error, char *const *hosts, size_t n, bool more) {
    struct dispatch *d = userdata;

    if (error < 0)
        store_failed(d, error);
    for (size_t i = 0; i < n; i++)
        sched_ready(d->sched, hosts[i], INT64_MAX);
    sched_hosts_listed(d->sched, more || error < 0, n > 0 ? hosts[n - 1] : "");
    dispatch_turn(d);
}

static int ask_hosts(struct dispatch *d, const struct sched_request *q) {
    int r = store_hosts(d->store, q->host, q->limit, on_hosts, d);

    if (r < 0)
        sched_hosts_listed(d->sched, true, "");
    return r;
}

/* Keeps the scheduler's window filled. */
static void ask_store(struct dispatch *d) {
    int r = 0;

    while (r == 0 && !d->store_failing) {
        struct sched_request q;

        sched_wants(d->sched, &q);
        if (q.want == SCHED_WANT_NOTHING)
            return;
        r = q.want == SCHED_WANT_JOBS ? ask_jobs(d, &q) : ask_hosts(d, &q);
    }
    if (r < 0)
        store_failed(d, r);
}

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
    return 0;
}

/* Something has changed: give out jobs when this turn of the loop has come to its end. */
static void dispatch_turn(struct dispatch *d) {
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

static void result_failed(struct live_job *l, const struct wire_result *result) {
    struct attempt_policy policy = l->dispatch->settings.policy;
    _cleanup_(job_spec_done) struct job_spec spec = {.retries = -1};
    uint32_t random = 0;

    if (job_spec_parse(l->row->body, &spec) == 0 && spec.retries >= 0)
        policy.retries = (unsigned)spec.retries;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = UINT32_MAX / 2;
    attempt_failed(l->row, result->transient, result->retry_after_usec, &policy,
                   l->row->result.finished, random);
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

void dispatch_on_result(void *userdata, struct pool_job *job, const struct wire_result *result) {
    struct live_job *l = live_of(job, pool);
    struct dispatch *d = userdata;
    unsigned worker = l->pool.last_worker;

    live_leave_sched(l);
    if (result->outcome == OUTCOME_RELEASED ||
        (result->outcome == OUTCOME_CANCELLED && !l->cancelling)) {
        attempt_void(l);
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
    if (to_blame && !l->cancelling) {
        l->row->attempts--;
        attempt_crashed(l->row, &d->settings.policy, now_usec(CLOCK_REALTIME));
        settle(l);
    } else {
        attempt_void(l);
    }
}

void dispatch_on_room(void *userdata) {
    dispatch_turn(userdata);
}

void dispatch_on_ready(void *userdata, const char *host, int64_t rank) {
    struct dispatch *d = userdata;

    sched_ready(d->sched, host, rank);
    dispatch_turn(d);
}

/* ---- cancelling ---- */

static bool chosen(const struct live_job *l, const struct dispatch_choice *c) {
    if (c->batch && l->row->batch != c->batch)
        return false;
    for (size_t i = 0; c->ids && i < c->n_ids; i++)
        if (c->ids[i] == l->id)
            return true;
    return c->ids == NULL;
}

int64_t *dispatch_cancel(struct dispatch *d, const struct dispatch_choice *choice, size_t *ret_n) {
    int64_t *ids = malloc((d->n_active + 1) * sizeof(*ids));
    struct live_job *l, *tmp;
    size_t n = 0;

    if (!ids)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp) {
        if (l->stage != LIVE_ACTIVE || !chosen(l, choice))
            continue;
        if (!l->cancelling)
            pool_cancel(d->pool, &l->pool);
        l->cancelling = true;
        ids[n++] = l->id;
    }
    *ret_n = n;
    return ids;
}

void dispatch_cancelled(struct dispatch *d, const int64_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct live_job *l = live_find(d, ids[i]);

        if (l && l->stage == LIVE_QUEUED) {
            live_leave_sched(l);
            live_free(l);
        } else if (l && l->stage == LIVE_ACTIVE && !l->cancelling) {
            l->cancelling = true;
            pool_cancel(d->pool, &l->pool);
        }
    }
    dispatch_turn(d);
}

/* ---- for showing ---- */

bool dispatch_overlay(const struct dispatch *d, struct job *job, struct job_progress *ret) {
    const struct live_job *l = live_find(d, job->id);
    struct pool_progress p;

    if (!l || l->stage == LIVE_QUEUED || job->state != JOB_QUEUED)
        return false;
    job->state = JOB_ACTIVE;
    job->attempts = l->row->attempts;
    job->result.worker = l->pool.last_worker;
    *ret = (struct job_progress){.total = -1};
    if (l->stage == LIVE_ACTIVE && pool_progress(&l->pool, &p) == 0)
        *ret = (struct job_progress){.bytes = p.bytes, .speed = p.speed, .total = p.total};
    return true;
}

static int compare_ids(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int64_t *dispatch_active_ids(const struct dispatch *d, int64_t after, size_t *ret_n) {
    int64_t *ids = malloc((d->n_active + 1) * sizeof(*ids));
    const struct live_job *l, *tmp;
    size_t n = 0;

    if (!ids)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp)
        if (l->stage != LIVE_QUEUED && l->id > after)
            ids[n++] = l->id;
    qsort(ids, n, sizeof(*ids), compare_ids);
    *ret_n = n;
    return ids;
}

unsigned dispatch_n_active(const struct dispatch *d, int64_t batch, uint64_t *ret_speed) {
    const struct live_job *l, *tmp;
    struct pool_progress p;
    unsigned n = 0;

    *ret_speed = 0;
    HASH_ITER(hh, d->live, l, tmp) {
        if (l->stage == LIVE_QUEUED || (batch && l->row->batch != batch))
            continue;
        n++;
        if (l->stage == LIVE_ACTIVE && pool_progress(&l->pool, &p) == 0)
            *ret_speed += p.speed;
    }
    return n;
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
        r = sd_event_add_time_relative(event, &d->retry, CLOCK_MONOTONIC, 0, 0, on_retry, d);
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
    dispatch_turn(d);
}

void dispatch_stop(struct dispatch *d) {
    d->running = false;
}
