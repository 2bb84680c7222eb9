#include "daemon/dispatch_live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/fault.h"

struct live_job *live_find(const struct dispatch *d, int64_t id) {
    struct live_job *l;

    HASH_FIND(hh, d->live, &id, sizeof(id), l);
    return l;
}

struct live_job *live_new(struct dispatch *d, struct job *row) {
    struct live_job *l = calloc(1, sizeof(*l));
    const struct suspect *s;

    if (!l)
        return NULL;
    l->id = l->sched.id = l->pool.id = row->id;
    l->sched.rank = row->rank;
    l->sched.priority = job_priority(row);
    l->dispatch = d;
    HASH_FIND(hh, d->suspects, &row->id, sizeof(row->id), s);
    l->maybe_published = s || row->created <= d->started;
    row->kept.leftover |= s != NULL; /* the row may have been read before that was written */
    HASH_ADD(hh, d->live, id, sizeof(l->id), l);
    if (!l->hh.tbl) {
        free(l);
        return NULL;
    }
    l->row = row;
    return l;
}

static void drop_bucket(struct live_job *l) {
    rates_host_drop(l->dispatch->settings.rates, l->host_bucket);
    l->host_bucket = 0;
}

void live_drop(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    drop_bucket(l);
    if (l->stage != LIVE_QUEUED)
        d->n_active--;
    HASH_DEL(d->live, l);
    job_free(l->row);
    free(l);
}

void live_free(struct live_job *l) {
    store_job_back(l->dispatch->store, l->id);
    live_drop(l);
}

void live_leave_sched(struct live_job *l, const struct live_says *says) {
    if (!l->in_sched)
        return;
    l->in_sched = false;
    answer_forget(l);
    drop_bucket(l);
    if (l->stage == LIVE_QUEUED)
        sched_remove(l->dispatch->sched, &l->sched);
    else
        sched_ended(l->dispatch->sched, &l->sched, says->says, says->retry_after, says->error,
                    now_usec(CLOCK_MONOTONIC));
}

void live_suspect(struct live_job *l) {
    struct suspect *s = NULL;

    l->maybe_published = l->row->kept.leftover = true;
    HASH_FIND(hh, l->dispatch->suspects, &l->id, sizeof(l->id), s);
    if (s || !(s = calloc(1, sizeof(*s))))
        return;
    s->id = l->id;
    HASH_ADD(hh, l->dispatch->suspects, id, sizeof(s->id), s);
    if (!s->hh.tbl)
        free(s);
}

void suspect_drop(struct dispatch *d, int64_t id) {
    struct suspect *s;

    HASH_FIND(hh, d->suspects, &id, sizeof(id), s);
    if (!s)
        return;
    HASH_DEL(d->suspects, s);
    free(s);
}

void lane_again(struct dispatch *d, uid_t uid, const struct job *row) {
    int r = sched_lane_add(d->sched, uid, row->lane, row->rank, row->host, 0, 0,
                           now_usec(CLOCK_MONOTONIC));

    if (r == 0)
        sched_filled(d->sched, row->lane, true, INT64_MIN, 0);
    else if (r == -EEXIST)
        sched_ready(d->sched, uid, row->lane, row->rank, INT64_MIN, INT64_MAX);
    dispatch_turn(d);
}

void live_requeue(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    if (l->moved || sched_add(d->sched, l->row->lane, &l->sched) < 0) {
        lane_again(d, l->sched.uid, l->row);
        live_free(l); /* it is in the store */
        return;
    }
    l->in_sched = true;
    l->stage = LIVE_QUEUED;
    l->row->state = JOB_QUEUED;
    d->n_active--;
    dispatch_turn(d);
}

/* ---- to a worker ---- */

static void fill_message(const struct live_job *l, const struct job_spec *spec, const char *output,
                         uint64_t now, struct wire_job *ret) {
    *ret = (struct wire_job){
        .id = l->id,
        .attempt = l->row->attempts + 1,
        .on_conflict = spec->on_conflict,
        .maybe_published = l->maybe_published,
        .max_size = spec->max_size,
        .timeout_usec = attempt_timeout(spec, now),
        .deadline_usec = spec->deadline,
        .rate = l->row->rate_limit,
        .host_bucket = l->host_bucket,
        .url = l->row->url,
        .output = output,
        .user_agent = spec->user_agent,
        .referer = spec->referer,
        .size = spec->size,
        .max_decoded_size = spec->max_decoded_size,
        .checksum = spec->checksum,
        .content_disposition = spec->content_disposition,
        .if_modified = spec->if_modified,
        .remote_time = spec->remote_time,
        .compressed = spec->compressed,
        .kept = {.offset = l->row->kept.offset,
                 .total = l->row->kept.total,
                 .etag = l->row->kept.etag,
                 .last_modified = l->row->kept.last_modified,
                 .file = l->row->kept.file,
                 .source = l->row->kept.source,
                 .ranges = l->row->kept.ranges},
        /* Put together from parts it was wrong: that is not done again. */
        .connections = l->row->result.error == ERR_CHECKSUM ? 1 : spec->connections,
        .n_headers = (uint32_t)MIN(spec->n_headers, (size_t)WIRE_HEADERS_MAX),
    };
    for (uint32_t i = 0; i < ret->n_headers; i++)
        ret->headers[i] = spec->headers[i];
}

/* The name is that of the preferred URL, from whichever mirror the file comes. */
static int expand_output(const struct job *row, const struct job_spec *spec, char **ret) {
    struct url u;
    const char *why;
    size_t column;
    int r = url_parse(spec->n_urls > 0 ? spec->urls[0] : row->url, &u, &why, &column);

    if (r < 0)
        return r;
    r = output_expand(spec->output, &u, row->id, row->index, ret);
    url_done(&u);
    return r;
}

int job_output(const struct job *row, char **ret) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    int r = job_spec_parse(row->body, &spec);

    return r < 0 ? r : expand_output(row, &spec, ret);
}

/* Jobs that came together often have the same body: it is read once. */
static int spec_read(struct dispatch *d, const char *body) {
    struct job_spec spec = JOB_SPEC_INIT;
    const char *key = body ? body : "";
    char *copy;
    int r;

    if (d->spec_body && streq(d->spec_body, key))
        return 0;
    r = job_spec_parse(body, &spec);
    if (r < 0)
        return r;
    copy = strdup(key);
    if (!copy) {
        job_spec_done(&spec);
        return -ENOMEM;
    }
    free(d->spec_body);
    job_spec_done(&d->spec);
    d->spec_body = copy;
    d->spec = spec;
    return 0;
}

/* Gives the job to a worker: 0, -EAGAIN (no room), -ETIME (its deadline has passed), -ENOKEY (a
 * credential can't be used, as why says), or what is wrong with the job. */
static int live_send(struct live_job *l, char why[CREDENTIAL_WHY_MAX]) {
    _cleanup_(access_done) struct access access = {0};
    _cleanup_free_ char *output = NULL;
    const struct job_spec *spec = &l->dispatch->spec;
    uint64_t now = now_usec(CLOCK_REALTIME);
    struct wire_job message;
    int r = spec_read(l->dispatch, l->row->body);

    if (r == 0 && spec->deadline > 0 && now >= spec->deadline)
        r = -ETIME;
    if (r == 0)
        r = expand_output(l->row, spec, &output);
    if (r < 0)
        return r;
    r = rates_host_take(l->dispatch->settings.rates, l->row->host, &l->host_bucket);
    if (r < 0)
        return r;
    fill_message(l, spec, output, now, &message);
    r = access_fill(&access, &l->dispatch->settings.access, spec, &message, why);
    if (r == 0)
        r = pool_start(l->dispatch->pool, &l->pool, l->row->host, &message);
    if (r < 0)
        drop_bucket(l);
    return r;
}

bool live_start(struct live_job *l) {
    static const struct live_says nothing = {.says = SCHED_SAYS_NOTHING};
    struct dispatch *d = l->dispatch;
    char why[CREDENTIAL_WHY_MAX];
    int r;

    fault_point(start_due);
    r = live_send(l, why);

    if (r == -EAGAIN || r == -EBUSY || r == -ENOMEM) {
        sched_unstart(d->sched, &l->sched);
        return false;
    }
    l->stage = LIVE_ACTIVE;
    d->n_active++;
    if (r < 0) {
        live_leave_sched(l, &nothing);
        if (r == -ETIME)
            settle_error(l, ERR_DEADLINE, "the deadline had passed before an attempt could begin");
        else if (r == -ENOKEY)
            settle_error(l, ERR_CREDENTIAL, why);
        else
            settle_error(l, ERR_INTERNAL,
                         "the job can't be read back from the queue, or sent to a worker");
        return true;
    }
    l->kept_before = job_kept_bytes(&l->row->kept);
    l->row->attempts++;
    l->row->state = JOB_ACTIVE;
    l->fetched = 0;
    answer_await(l);
    return true;
}

/* As if a worker had tried and found the host as dead as those before it did. */
void live_refuse(struct live_job *l) {
    static const struct live_says nothing = {.says = SCHED_SAYS_NOTHING};
    struct job_result *result = &l->row->result;
    struct sched_host_info host = {.error = ERR_CONNECT};
    uint64_t real = now_usec(CLOCK_REALTIME), now = now_usec(CLOCK_MONOTONIC), since;

    sched_host_info(l->dispatch->sched, l->row->host, now, &host);
    since = now - MIN(now, host.unreached_since);
    l->stage = LIVE_ACTIVE;
    l->dispatch->n_active++;
    live_leave_sched(l, &nothing);
    l->kept_before = job_kept_bytes(&l->row->kept);
    l->row->attempts++;
    job_result_done(result);
    *result =
        (struct job_result){.size = -1, .error = host.error, .started = real, .finished = real};
    if (asprintf(&result->message,
                 "not tried: %s has not been reached for %" PRIu64 " s (%u failures in a row)",
                 l->row->host, since / USEC_PER_SEC, host.failures) < 0)
        result->message = NULL;
    attempt_ended(l, true, 0);
    settle(l);
}

/* ---- changes from outside ---- */

static bool chosen_by_tag(const struct live_job *l, const char *tag) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;

    return job_spec_parse(l->row->body, &spec) == 0 && spec.tag && streq(spec.tag, tag);
}

static bool chosen(const struct live_job *l, const struct dispatch_choice *c) {
    if (c->batch && l->row->batch != c->batch)
        return false;
    if (c->host && !streq(l->row->host, c->host))
        return false;
    if (c->tag && !chosen_by_tag(l, c->tag))
        return false;
    for (size_t i = 0; c->ids && i < c->n_ids; i++)
        if (c->ids[i] == l->id)
            return true;
    return c->ids == NULL;
}

static int compare_ids(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Tells the worker, unless it has been told already. False: the wish is not for this one. */
static bool live_wish(struct live_job *l, enum dispatch_wish wish) {
    if (wish == WISH_NONE ? l->wish != WISH_PAUSE : wish < l->wish)
        return false;
    if (wish == WISH_CANCEL && l->wish != wish)
        pool_cancel(l->dispatch->pool, &l->pool);
    else if (wish == WISH_PAUSE && l->wish != wish)
        pool_release(l->dispatch->pool, &l->pool);
    l->wish = wish;
    return true;
}

int64_t *dispatch_wish(struct dispatch *d, const struct dispatch_choice *choice,
                       enum dispatch_wish wish, size_t *ret_n) {
    int64_t *ids = malloc((d->n_active + 1) * sizeof(*ids));
    struct live_job *l, *tmp;
    size_t n = 0;

    if (!ids)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp)
    if (l->stage == LIVE_ACTIVE && chosen(l, choice) && live_wish(l, wish))
        ids[n++] = l->id;
    qsort(ids, n, sizeof(*ids), compare_ids);
    *ret_n = n;
    return ids;
}

void dispatch_changed(struct dispatch *d, const int64_t *ids, size_t n, enum dispatch_wish wish) {
    static const struct live_says nothing = {.says = SCHED_SAYS_NOTHING};

    for (size_t i = 0; i < n; i++) {
        struct live_job *l = live_find(d, ids[i]);

        if (wish == WISH_CANCEL && (!l || l->stage == LIVE_QUEUED))
            suspect_drop(d, ids[i]);
        if (l && l->stage == LIVE_QUEUED) {
            live_leave_sched(l, &nothing);
            live_free(l);
        } else if (l && wish == WISH_NONE) {
            l->moved = true;
        } else if (l) {
            l->stored = wish;
            if (l->stage == LIVE_ACTIVE)
                live_wish(l, wish);
        }
    }
    if (n > 0)
        discards_look(d);
    dispatch_turn(d);
}

void dispatch_resumed(struct dispatch *d, const int64_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct live_job *l = live_find(d, ids[i]);

        if (!l)
            continue;
        l->stored = WISH_NONE;
        if (l->stage == LIVE_ACTIVE)
            live_wish(l, WISH_NONE);
    }
}

void dispatch_set_rate(struct dispatch *d, const int64_t *ids, size_t n, uint64_t rate) {
    for (size_t i = 0; i < n; i++) {
        struct live_job *l = live_find(d, ids[i]);

        if (!l)
            continue;
        l->row->rate_limit = rate;
        if (l->stage == LIVE_ACTIVE)
            pool_set_rate(d->pool, &l->pool, rate); /* in want of memory: the next attempt's */
    }
}

/* ---- for showing ---- */

bool dispatch_overlay(const struct dispatch *d, struct job *job, struct job_progress *ret) {
    const struct live_job *l = live_find(d, job->id);
    struct pool_progress p;

    if (!l || l->stage == LIVE_QUEUED || (job->state != JOB_QUEUED && job->state != JOB_PAUSED))
        return false;
    job->state = JOB_ACTIVE;
    job->attempts = l->row->attempts;
    job->result.worker = l->pool.last_worker;
    job->result.started = now_usec(CLOCK_REALTIME) - (now_usec(CLOCK_MONOTONIC) - l->sched.started);
    *ret = (struct job_progress){.bytes = l->fetched, .total = -1};
    if (l->stage == LIVE_ACTIVE && pool_progress(&l->pool, &p) == 0)
        *ret = (struct job_progress){.bytes = p.bytes, .speed = p.speed, .total = p.total};
    return true;
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

struct dispatch_activity dispatch_activity(const struct dispatch *d, int64_t batch) {
    struct dispatch_activity sum = {0};
    const struct live_job *l, *tmp;
    struct pool_progress p;

    HASH_ITER(hh, d->live, l, tmp) {
        if (l->stage == LIVE_QUEUED || (batch && l->row->batch != batch))
            continue;
        sum.jobs++;
        sum.queued += l->stored == WISH_NONE;
        sum.paused += l->stored == WISH_PAUSE;
        if (l->stage == LIVE_SETTLING) {
            sum.bytes += l->row->result.bytes;
        } else if (pool_progress(&l->pool, &p) == 0) {
            sum.bytes += p.bytes;
            sum.speed += p.speed;
        } else {
            sum.bytes += l->fetched;
        }
    }
    return sum;
}

bool dispatch_host_info(const struct dispatch *d, const char *host, struct sched_host_info *ret) {
    return sched_host_info(d->sched, host, now_usec(CLOCK_MONOTONIC), ret);
}

int64_t *dispatch_active_lanes(const struct dispatch *d, size_t *ret_n) {
    int64_t *lanes = malloc((d->n_active + 1) * sizeof(*lanes));
    const struct live_job *l, *tmp;
    size_t n = 0;

    if (!lanes)
        return NULL;
    HASH_ITER(hh, d->live, l, tmp)
    if (l->stage != LIVE_QUEUED)
        lanes[n++] = l->row->lane;
    qsort(lanes, n, sizeof(*lanes), compare_ids);
    *ret_n = n;
    return lanes;
}
