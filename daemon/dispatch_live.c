#include "daemon/dispatch_live.h"

#include <errno.h>

struct live_job *live_find(const struct dispatch *d, int64_t id) {
    struct live_job *l;

    HASH_FIND(hh, d->live, &id, sizeof(id), l);
    return l;
}

struct live_job *live_new(struct dispatch *d, struct job *row) {
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

static void drop_bucket(struct live_job *l) {
    rates_host_drop(l->dispatch->settings.rates, l->host_bucket);
    l->host_bucket = 0;
}

void live_free(struct live_job *l) {
    struct dispatch *d = l->dispatch;

    drop_bucket(l);
    if (l->stage != LIVE_QUEUED)
        d->n_active--;
    HASH_DEL(d->live, l);
    job_free(l->row);
    free(l);
}

void live_leave_sched(struct live_job *l) {
    if (!l->in_sched)
        return;
    l->in_sched = false;
    drop_bucket(l);
    if (l->stage == LIVE_QUEUED)
        sched_remove(l->dispatch->sched, &l->sched);
    else
        sched_ended(l->dispatch->sched, &l->sched);
}

void live_requeue(struct live_job *l) {
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
        .rate = spec->rate_limit,
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
                 .last_modified = l->row->kept.last_modified},
        .n_headers = (uint32_t)MIN(spec->n_headers, (size_t)WIRE_HEADERS_MAX),
    };
    for (uint32_t i = 0; i < ret->n_headers; i++)
        ret->headers[i] = spec->headers[i];
}

/* The name is that of the preferred URL, from whichever mirror the file comes. */
static int expand_output(const struct live_job *l, const struct job_spec *spec, char **ret) {
    struct url u;
    const char *why;
    size_t column;
    int r = url_parse(spec->n_urls > 0 ? spec->urls[0] : l->row->url, &u, &why, &column);

    if (r < 0)
        return r;
    r = output_expand(spec->output, &u, l->id, l->row->index, ret);
    url_done(&u);
    return r;
}

/* Gives the job to a worker: 0, -EAGAIN (no room), -ETIME (its deadline has passed), or what is
 * wrong with the job. */
static int live_send(struct live_job *l) {
    _cleanup_free_ char *output = NULL;
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    uint64_t now = now_usec(CLOCK_REALTIME);
    struct wire_job message;
    int r = job_spec_parse(l->row->body, &spec);

    if (r == 0 && spec.deadline > 0 && now >= spec.deadline)
        r = -ETIME;
    if (r == 0)
        r = expand_output(l, &spec, &output);
    if (r < 0)
        return r;
    r = rates_host_take(l->dispatch->settings.rates, l->row->host, &l->host_bucket);
    if (r < 0)
        return r;
    fill_message(l, &spec, output, now, &message);
    r = pool_start(l->dispatch->pool, &l->pool, l->row->host, &message);
    if (r < 0)
        drop_bucket(l);
    return r;
}

bool live_start(struct live_job *l) {
    struct dispatch *d = l->dispatch;
    int r = live_send(l);

    if (r == -EAGAIN || r == -EBUSY || r == -ENOMEM) {
        sched_unstart(d->sched, &l->sched);
        return false;
    }
    l->stage = LIVE_ACTIVE;
    d->n_active++;
    if (r < 0) {
        live_leave_sched(l);
        if (r == -ETIME)
            settle_error(l, ERR_DEADLINE, "the deadline had passed before an attempt could begin");
        else
            settle_error(l, ERR_INTERNAL,
                         "the job can't be read back from the queue, or sent to a worker");
        return true;
    }
    l->kept_before = l->row->kept.offset;
    l->row->attempts++;
    l->row->state = JOB_ACTIVE;
    return true;
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

static int compare_ids(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
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
    qsort(ids, n, sizeof(*ids), compare_ids);
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

/* ---- changing ---- */

int dispatch_set_rate(struct dispatch *d, int64_t id, uint64_t rate, uint64_t *ret) {
    _cleanup_(job_spec_done) struct job_spec spec = JOB_SPEC_INIT;
    struct live_job *l = live_find(d, id);
    int r = 0;

    if (!l || l->stage != LIVE_ACTIVE || !l->in_sched)
        return -ENOENT;
    if (rate == RATE_DEFAULT) {
        r = job_spec_parse(l->row->body, &spec);
        rate = spec.rate_limit;
    }
    if (r < 0)
        return r;
    *ret = rate;
    return pool_set_rate(d->pool, &l->pool, rate);
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
