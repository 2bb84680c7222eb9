/*
 * sched_world.h - the world of the scheduler's simulation: hosts of several tempers, a queue in a store
 * (sched_store.h), and the scheduler's owner, who asks the store and holds the window's jobs.
 */
#ifndef DLD_TEST_SCHED_WORLD_H
#define DLD_TEST_SCHED_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/heap.h"
#include "daemon/sched.h"
#include "tests/unit/sched_store.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC
#define ATTEMPTS 3
#define BASE (200 * MSEC)

struct size {
    uint32_t hosts, users, slots;
    size_t jobs;
    struct sched_settings window;
};

enum temper { FINE, DEAD, BUSY, SHAKY, PACED };

struct host {
    enum temper temper;
    unsigned connections, active;
    uint64_t delay, latency;
    uint64_t last_start, last_trouble, closed_until;
    bool started, reached;
    uint64_t could_since; /* a job of it could have started since then, and slots were free */
    uint32_t seen;        /* by the check that is going on */
};

/* Something that happens at a time. */
struct event {
    uint64_t at, order;
    size_t place;
    enum { JOB_ENDS, ROW_DUE, LANE_DUE, ANSWER } what;
    uint32_t index; /* row or lane */
    struct held *held;
    struct sched_request q;
    bool more;
    size_t n;
    int64_t last, last_id;
    uint32_t *list; /* rows or lanes or users */
};

struct held {
    struct sched_job sched;
    bool refused, counts;
    size_t at; /* in world.held */
};

struct world {
    struct sched *s;
    struct store store;
    struct host *hosts;
    struct size size;
    struct heap events;
    struct held **held;
    size_t n_held, held_room;
    uint32_t *late; /* rows to be submitted by and by */
    size_t n_late;
    size_t n_ended, n_active, n_starts, n_refused, n_again;
    size_t most_lanes, most_jobs, most_hosts, evicted, longest_wait;
    uint64_t now, order, random, turns;
    uint64_t full; /* when all slots were taken */
    uint32_t check;
};

static inline uint32_t pick(struct world *w, uint32_t below) {
    w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(((w->random >> 32) * below) >> 32);
}

static inline void *need(size_t n, size_t size) {
    void *p = calloc(MAX(n, (size_t)1), size);

    assert_non_null(p);
    return p;
}

static inline bool event_before(const void *a, const void *b) {
    const struct event *x = a, *y = b;

    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static inline struct event *event_new(struct world *w, uint64_t after, int what, uint32_t index) {
    struct event *e = need(1, sizeof(*e));

    e->at = w->now + after;
    e->order = ++w->order;
    e->what = what;
    e->index = index;
    assert_int_equal(heap_reserve(&w->events, w->events.n + 1), 0);
    heap_add(&w->events, e);
    return e;
}

/* ---- the queue ---- */

static inline void policy(void *userdata, const char *name, struct sched_policy *ret) {
    const struct world *w = userdata;
    const struct host *h = &w->hosts[atoi(name + 1)];

    *ret = (struct sched_policy){
        .connections = h->connections,
        .delay = h->delay,
        .base = BASE,
        .max = 20 * SEC,
        .patience = 3,
    };
}

static inline void make_hosts(struct world *w) {
    w->hosts = need(w->size.hosts, sizeof(*w->hosts));
    for (uint32_t i = 0; i < w->size.hosts; i++) {
        struct host *h = &w->hosts[i];
        uint32_t dice = pick(w, 100);

        h->temper = dice < 4    ? DEAD
                    : dice < 8  ? BUSY
                    : dice < 14 ? SHAKY
                    : dice < 18 ? PACED
                                : FINE;
        h->connections = 1 + pick(w, 8);
        h->latency = 1 * MSEC + pick(w, 40 * MSEC);
        h->delay = h->temper == PACED ? 5 * MSEC + pick(w, 3000 * MSEC) : 0;
    }
    /* The largest ones are as usual, so that time doesn't stand still for the others. */
    for (uint32_t i = 0; i < MIN(w->size.hosts / 100, 20u); i++)
        w->hosts[i].temper = FINE, w->hosts[i].delay = 0, w->hosts[i].connections = 8;
}

static inline uint32_t zipf(struct world *w) {
    double u = pick(w, 1u << 30) / (double)(1u << 30);

    return (uint32_t)pow(w->size.hosts, u) - 1;
}

/* Half of the jobs are the first user's. */
static inline uint32_t some_user(struct world *w) {
    return pick(w, 2) ? 0 : pick(w, w->size.users);
}

static inline void fill_lane(struct world *w, uint32_t lane) {
    struct lane *l = &w->store.lanes[lane];
    int priority = (int)pick(w, 5) * 25 - 50;

    for (uint32_t k = 0; k < l->n; k++) {
        struct row *r = &w->store.rows[l->first + k];

        *r = (struct row){.lane = lane, .rank = (int32_t)(k / 3), .where = ABSENT};
        r->priority = (int8_t)(pick(w, 10) ? priority : (int)pick(w, 201) - 100);
        if (pick(w, 10) == 0)
            w->late[w->n_late++] = l->first + k;
        else
            store_move(&w->store, l->first + k, STORED);
    }
}

static inline void make_queue(struct world *w) {
    struct store *s = &w->store;
    uint32_t *count = need((size_t)w->size.hosts * w->size.users, sizeof(*count));
    uint32_t row = 0;

    for (size_t i = 0; i < w->size.jobs; i++)
        count[(size_t)zipf(w) * w->size.users + some_user(w)]++;
    s->n_rows = w->size.jobs;
    s->n_lanes = (size_t)w->size.hosts * w->size.users;
    s->n_users = w->size.users;
    s->n_turns = w->size.hosts + (uint32_t)(s->n_rows / 8) + 100000;
    s->rows = need(s->n_rows, sizeof(*s->rows));
    s->lanes = need(s->n_lanes, sizeof(*s->lanes));
    s->users = need(s->n_users, sizeof(*s->users));
    w->late = need(s->n_rows, sizeof(*w->late));
    bits_init(&s->live, s->n_rows);
    for (size_t u = 0; u < s->n_users; u++) {
        bits_init(&s->users[u].line, s->n_turns);
        s->users[u].lane_at = need(s->n_turns, sizeof(uint32_t));
        s->users[u].next_turn = w->size.hosts;
    }
    for (uint32_t lane = 0; lane < s->n_lanes; lane++) {
        struct lane *l = &s->lanes[lane];

        l->user = lane % w->size.users;
        l->host = lane / w->size.users;
        /* Large hosts anywhere in the line. */
        l->turn = (uint32_t)(((uint64_t)l->host * 7919 + l->user) % w->size.hosts);
        l->first = row;
        l->n = count[lane];
        row += l->n;
        fill_lane(w, lane);
    }
    free(count);
    for (size_t i = w->n_late; i > 1; i--) {
        size_t k = pick(w, (uint32_t)i);
        uint32_t keep = w->late[k];

        w->late[k] = w->late[i - 1];
        w->late[i - 1] = keep;
    }
}

/* ---- the owner ---- */

static inline void let_go(struct world *w, struct held *h) {
    w->held[h->at] = w->held[--w->n_held];
    w->held[h->at]->at = h->at;
    free(h);
}

static inline void hold(struct world *w, uint32_t row) {
    struct row *r = &w->store.rows[row];
    struct held *h;

    if (r->where != STORED)
        return;
    h = need(1, sizeof(*h));
    h->sched = (struct sched_job){.id = row + 1, .rank = r->rank, .priority = r->priority};
    if (sched_add(w->s, r->lane + 1, &h->sched) < 0) {
        free(h);
        return;
    }
    if (w->n_held == w->held_room) {
        w->held_room = MAX(w->held_room * 2, (size_t)1024);
        w->held = realloc(w->held, w->held_room * sizeof(struct held *));
        assert_non_null(w->held);
    }
    h->at = w->n_held;
    w->held[w->n_held++] = h;
    store_move(&w->store, row, HELD);
}

static inline void give_back(struct world *w, struct sched_job *job) {
    store_move(&w->store, (size_t)job->id - 1, STORED);
    let_go(w, (struct held *)job);
}

static inline void say_ready(struct world *w, uint32_t lane, int64_t rank) {
    const struct lane *l = &w->store.lanes[lane];

    if (!l->parked)
        assert_int_equal(sched_ready(w->s, l->user, lane + 1, l->turn, rank, rank), 0);
}

static inline void submit(struct world *w, uint32_t row) {
    store_move(&w->store, row, STORED);
    say_ready(w, w->store.rows[row].lane, w->store.rows[row].rank);
}

static inline void host_name(uint32_t host, char ret[static 16]) {
    snprintf(ret, 16, "h%u", host);
}

static inline void evict(struct world *w) {
    struct sched_evicted e;

    while (sched_evict(w->s, w->now, &e)) {
        uint32_t lane = (uint32_t)e.lane - 1;
        struct lane *l = &w->store.lanes[lane];

        w->evicted++;
        l->failures = e.failures;
        while (e.jobs) {
            struct sched_job *job = e.jobs;

            e.jobs = job->next;
            give_back(w, job);
        }
        if (e.stays)
            continue;
        if (e.wait > 0) {
            l->parked = true;
            l->due = w->now + e.wait;
            store_line(&w->store, lane);
            event_new(w, e.wait, LANE_DUE, lane);
        } else {
            store_put_back(&w->store, lane);
            say_ready(w, lane, INT64_MIN);
        }
    }
}

/* ---- the store's answers: read now, given later ---- */

static inline void read_jobs(struct world *w, struct event *e) {
    size_t row = store_row_after(&w->store, (uint32_t)e->q.lane - 1, e->last, e->last_id);

    for (; e->n < e->q.limit && row != SIZE_MAX; e->n++) {
        e->list[e->n] = (uint32_t)row;
        e->last = w->store.rows[row].rank;
        e->last_id = (int64_t)row + 1;
        row = store_row_after(&w->store, (uint32_t)e->q.lane - 1, e->last, e->last_id);
    }
    e->more = row != SIZE_MAX;
}

static inline void read_lanes(struct world *w, struct event *e) {
    size_t turn = store_turn_after(&w->store, e->q.uid, e->last, e->last_id);

    for (; e->n < e->q.limit && turn != SIZE_MAX; e->n++) {
        e->list[e->n] = w->store.users[e->q.uid].lane_at[turn];
        e->last = (int64_t)turn;
        e->last_id = (int64_t)e->list[e->n] + 1;
        turn = store_turn_after(&w->store, e->q.uid, e->last, e->last_id);
    }
    e->more = turn != SIZE_MAX;
}

static inline void read_users(struct world *w, struct event *e) {
    uint32_t u = (uint32_t)(e->last_id + 1);

    for (; u < w->size.users; u++) {
        if (bits_next(&w->store.users[u].line, 0) == SIZE_MAX)
            continue;
        if (e->n == e->q.limit)
            break;
        e->list[e->n++] = u;
        e->last_id = u;
    }
    e->more = u < w->size.users;
}

static inline void ask(struct world *w) {
    struct sched_request q;

    while (sched_wants(w->s, &q), q.want != SCHED_WANT_NOTHING) {
        struct event *e = event_new(w, 200 + pick(w, 3 * MSEC), ANSWER, 0);

        assert_true(q.limit > 0 && q.limit <= 4096);
        e->q = q;
        e->list = need(q.limit, sizeof(*e->list));
        e->last = q.after;
        e->last_id = q.after_id;
        if (q.want == SCHED_WANT_JOBS)
            read_jobs(w, e);
        else if (q.want == SCHED_WANT_LANES)
            read_lanes(w, e);
        else
            read_users(w, e);
    }
}

/* A host that the scheduler doesn't know any more; it forgets what matters only if it knows too many. */
static inline void forgive(struct world *w, uint32_t host, const char *name) {
    struct host *h = &w->hosts[host];
    struct sched_host_info info;

    if (sched_host_info(w->s, name, w->now, &info))
        return;
    if (h->closed_until > w->now || (h->started && h->last_start + h->delay > w->now))
        assert_true(w->most_hosts >= 2 * w->size.window.max_lanes);
    h->closed_until = h->last_trouble = 0;
    h->reached = h->started = false;
}

static inline void add_lane(struct world *w, uint32_t lane, size_t jobs_each) {
    struct lane *l = &w->store.lanes[lane];
    uint64_t wait = l->parked && l->due > w->now ? l->due - w->now : 0;
    struct event jobs = {.q = {.lane = lane + 1, .limit = jobs_each}, .last = INT64_MIN};
    uint32_t list[16];
    char name[16];
    int r;

    host_name(l->host, name);
    forgive(w, l->host, name);
    r = sched_lane_add(w->s, l->user, lane + 1, l->turn, name, l->failures, wait, w->now);
    if (r == -EEXIST)
        return;
    assert_int_equal(r, 0);
    if (l->failures > 0) /* what the scheduler may take for the last trouble */
        w->hosts[l->host].last_trouble = w->now;
    assert_true(jobs_each <= ELEMENTSOF(list));
    jobs.list = list;
    read_jobs(w, &jobs);
    l->entered = w->store.users[l->user].starts + 1;
    for (size_t i = 0; i < jobs.n; i++)
        hold(w, list[i]);
    sched_filled(w->s, lane + 1, jobs.more, jobs.last, jobs.last_id);
}

static inline void answer(struct world *w, struct event *e) {
    struct sched_job *surplus;

    if (e->q.want == SCHED_WANT_USERS) {
        for (size_t i = 0; i < e->n; i++)
            sched_user_add(w->s, e->list[i]);
        sched_users_listed(w->s, e->more, e->last_id);
    } else if (e->q.want == SCHED_WANT_LANES) {
        for (size_t i = 0; i < e->n; i++)
            add_lane(w, e->list[i], e->q.jobs_each);
        sched_lanes_listed(w->s, e->q.uid, e->more, e->last, e->last_id);
    } else {
        for (size_t i = 0; i < e->n; i++)
            hold(w, e->list[i]);
        sched_filled(w->s, e->q.lane, e->more, e->last, e->last_id);
    }
    while ((surplus = sched_trim(w->s)))
        give_back(w, surplus);
    w->most_lanes = MAX(w->most_lanes, sched_n_lanes(w->s));
    evict(w);
    free(e->list);
}

#endif
