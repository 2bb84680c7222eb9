#include "daemon/dispatch_live.h"

#include <errno.h>
#include <string.h>

struct fetch {
    struct dispatch *dispatch;
    int64_t after_rank, after_id;
    char host[];
};

static void take_row(struct dispatch *d, struct job *row) {
    struct live_job *l;

    if (live_find(d, row->id) || discards_hold(d, row)) {
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
    sched_hosts_listed(d->sched, more || error<0, n> 0 ? hosts[n - 1] : "");
    dispatch_turn(d);
}

static int ask_hosts(struct dispatch *d, const struct sched_request *q) {
    int r = store_hosts(d->store, q->host, q->limit, on_hosts, d);

    if (r < 0)
        sched_hosts_listed(d->sched, true, "");
    return r;
}

void ask_store(struct dispatch *d) {
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
