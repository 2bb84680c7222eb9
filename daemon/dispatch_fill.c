#include "daemon/dispatch_live.h"

#include <errno.h>
#include <inttypes.h>

struct fetch {
    struct dispatch *dispatch;
    struct sched_request request;
};

static struct fetch *fetch_new(struct dispatch *d, const struct sched_request *q) {
    struct fetch *f = malloc(sizeof(*f));

    if (f)
        *f = (struct fetch){.dispatch = d, .request = *q};
    return f;
}

/* The window may have become too full, and there is more to give out. */
static void filled(struct dispatch *d) {
    struct sched_job *surplus;

    while ((surplus = sched_trim(d->sched)))
        live_free(live_of(surplus, sched));
    dispatch_turn(d);
}

static void take_row(struct dispatch *d, struct job *row, uid_t uid) {
    struct live_job *l;

    if (discards_hold(d, row, uid))
        return;
    l = live_find(d, row->id) ? NULL : live_new(d, row);
    if (!l) {
        job_free(row);
        return;
    }
    l->in_sched = sched_add(d->sched, row->lane, &l->sched) == 0;
    if (!l->in_sched)
        live_free(l);
}

/* Takes the array too. */
static void take_rows(struct dispatch *d, uid_t uid, int64_t lane, struct job **jobs, size_t n, bool more,
                      int64_t after, int64_t after_id) {
    if (n > 0) {
        after = jobs[n - 1]->rank;
        after_id = jobs[n - 1]->id;
    }
    for (size_t i = 0; i < n; i++)
        take_row(d, jobs[i], uid);
    free(jobs);
    sched_filled(d->sched, lane, more, after, after_id);
}

/* ---- jobs of a lane ---- */

static void on_jobs(void *userdata, int error, struct job **jobs, size_t n, bool more) {
    struct fetch *f = userdata;
    struct dispatch *d = f->dispatch;

    if (error < 0)
        store_let_rest(d);
    take_rows(d, f->request.uid, f->request.lane, jobs, n, more || error < 0, f->request.after,
              f->request.after_id);
    free(f);
    filled(d);
}

static int ask_jobs(struct dispatch *d, const struct sched_request *q) {
    struct fetch *f = fetch_new(d, q);
    int r = f ? store_fetch(d->store, q->lane, q->after, q->after_id, q->limit, on_jobs, f)
              : -ENOMEM;

    if (r < 0) {
        sched_filled(d->sched, q->lane, true, q->after, q->after_id);
        free(f);
    }
    return r;
}

/* ---- lanes of a user ---- */

static void take_lane(struct dispatch *d, struct store_lane *lane) {
    uint64_t due = lane->due, real = now_usec(CLOCK_REALTIME);
    struct job **jobs = TAKE_PTR(lane->jobs);
    size_t n = lane->n_jobs;
    int r = sched_lane_add(d->sched, lane->uid, lane->id, lane->turn, lane->host, lane->failures,
                           due > real ? due - real : 0, now_usec(CLOCK_MONOTONIC));

    lane->n_jobs = 0;
    if (r < 0)
        job_free_many(jobs, n);
    else
        take_rows(d, lane->uid, lane->id, jobs, n, lane->more, INT64_MIN, 0);
}

static void on_lanes(void *userdata, int error, struct store_lane *lanes, size_t n, bool more) {
    struct fetch *f = userdata;
    struct dispatch *d = f->dispatch;
    int64_t turn = f->request.after, last = f->request.after_id;

    if (error < 0)
        store_let_rest(d);
    for (size_t i = 0; i < n; i++) {
        turn = lanes[i].turn;
        last = lanes[i].id;
        take_lane(d, &lanes[i]);
    }
    sched_lanes_listed(d->sched, f->request.uid, more || error < 0, turn, last);
    free(f);
    filled(d);
}

static int ask_lanes(struct dispatch *d, const struct sched_request *q) {
    struct fetch *f = fetch_new(d, q);
    int r = f ? store_lanes(d->store, q->uid, q->after, q->after_id, q->limit, q->jobs_each,
                            on_lanes, f)
              : -ENOMEM;

    if (r < 0) {
        sched_lanes_listed(d->sched, q->uid, true, q->after, q->after_id);
        free(f);
    }
    return r;
}

/* ---- users ---- */

static void on_users(void *userdata, int error, const uid_t *uids, size_t n, bool more) {
    struct fetch *f = userdata;
    struct dispatch *d = f->dispatch;
    int64_t last = f->request.after_id;

    if (error < 0)
        store_let_rest(d);
    for (size_t i = 0; i < n; i++) {
        last = uids[i];
        sched_user_add(d->sched, uids[i]);
    }
    sched_users_listed(d->sched, more || error < 0, last);
    free(f);
    dispatch_turn(d);
}

static int ask_users(struct dispatch *d, const struct sched_request *q) {
    struct fetch *f = fetch_new(d, q);
    int r = f ? store_users(d->store, q->after_id, q->limit, on_users, f) : -ENOMEM;

    if (r < 0) {
        sched_users_listed(d->sched, true, q->after_id);
        free(f);
    }
    return r;
}

void ask_store(struct dispatch *d) {
    int r = 0;

    while (r == 0 && !store_rests(d)) {
        struct sched_request q;

        sched_wants(d->sched, &q);
        if (q.want == SCHED_WANT_NOTHING)
            return;
        r = q.want == SCHED_WANT_JOBS    ? ask_jobs(d, &q)
            : q.want == SCHED_WANT_LANES ? ask_lanes(d, &q)
                                         : ask_users(d, &q);
    }
    if (r < 0)
        store_let_rest(d);
}

/* ---- out of the window ---- */

/* It keeps its place in the line, and comes again too early. */
static void on_moved(void *userdata, int error, const struct store_move *m) {
    struct dispatch *d = userdata;

    if (error == 0)
        return;
    store_let_rest(d);
    sched_ready(d->sched, m->uid, m->lane, m->from, INT64_MAX, INT64_MAX);
}

/* Where a lane goes that has had its turn: behind those that wait since before now, as a job that
 * is submitted now would. */
static void lane_put(struct dispatch *d, const struct sched_evicted *e) {
    uint64_t real = now_usec(CLOCK_REALTIME);
    struct store_move m = {
        .lane = e->lane,
        .uid = e->uid,
        .from = e->turn,
        .turn = (int64_t)real - e->priority * (int64_t)JOB_PRIORITY_STEP,
        .due = e->wait > 0 ? real + e->wait : 0,
        .failures = e->failures,
    };
    int r = store_move(d->store, &m, on_moved, d);

    if (r < 0)
        on_moved(d, r, &m);
    else if (e->wait == 0)
        sched_ready(d->sched, e->uid, e->lane, m.turn, INT64_MAX, INT64_MAX);
}

static void evicted(struct dispatch *d, struct sched_evicted *e) {
    while (e->jobs) {
        struct live_job *l = live_of(e->jobs, sched);

        e->jobs = e->jobs->next;
        l->in_sched = false;
        live_free(l);
    }
    if (!e->stays)
        lane_put(d, e);
}

void evict_lanes(struct dispatch *d, uint64_t now) {
    struct sched_evicted e;

    while (sched_evict(d->sched, now, &e))
        evicted(d, &e);
}

/* For the lanes that are not in the window, too. */
static void park(void *userdata, const char *host, uint64_t wait, unsigned failures) {
    struct dispatch *d = userdata;

    (void)store_park(d->store, host, now_usec(CLOCK_REALTIME) + wait, failures);
}

void evict_away(struct dispatch *d) {
    struct sched_evicted e;

    while (sched_evict_away(d->sched, now_usec(CLOCK_MONOTONIC), &e))
        evicted(d, &e);
    sched_hosts_away(d->sched, now_usec(CLOCK_MONOTONIC), park, d);
}
