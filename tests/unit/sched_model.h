/*
 * sched_model.h - what the scheduler has to decide, written as plainly as it can be said: arrays and
 * linear scans, nothing kept that can be computed. Everything that is queued is in its window.
 *
 * Where sched.h leaves open who of equals goes first: the one who had his turn longer ago, or came
 * earlier.
 */
#ifndef DLD_TEST_SCHED_MODEL_H
#define DLD_TEST_SCHED_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/sched.h"

#define MODEL_USERS 5
#define MODEL_HOSTS 50
#define MODEL_LANES (MODEL_USERS * MODEL_HOSTS)
#define MODEL_NEVER UINT64_MAX

enum model_where { MODEL_ABSENT, MODEL_QUEUED, MODEL_ACTIVE, MODEL_REFUSED, MODEL_ENDED };

struct model_job {
    int64_t id, rank;
    int priority;
    int user, host;
    enum model_where where;
    uint64_t started;
};

struct model_user {
    bool known, present;
    uint64_t vtime, turn;
};

struct model_lane {
    bool known, eligible, began;
    uint64_t start, floor, seq;
};

struct model_host {
    struct sched_policy policy;
    enum sched_host_state state; /* OPEN, BACKOFF, PROBE */
    unsigned limit, failures, unreached, backoffs;
    bool reached_ever;
    int64_t trouble, last_start, start_before; /* -1: never */
    uint64_t until;
    int probe; /* job, -1: none */
};

struct model {
    struct model_user users[MODEL_USERS];
    struct model_lane lanes[MODEL_LANES];
    struct model_host hosts[MODEL_HOSTS];
    struct model_job *jobs;
    int n_jobs;
    uint64_t now, clock;
    struct {
        int head[MODEL_LANES], lane_jobs[MODEL_LANES];
        int user_queued[MODEL_USERS];
        int host_jobs[MODEL_HOSTS], host_queued[MODEL_HOSTS];
        unsigned host_active[MODEL_HOSTS];
    } seen; /* by model_look() */
};

static inline int model_lane_of(const struct model_job *j) {
    return j->user * MODEL_HOSTS + j->host;
}

static inline bool model_before(const struct model_job *a, const struct model_job *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
}

/* All jobs, looked at once: of each lane the first queued one (-1: none) and how many there are, queued
 * and active; of each user how many are queued; of each host how many there are, and how many active. */
static inline void model_look(struct model *m) {
    memset(&m->seen, 0, sizeof(m->seen));
    memset(m->seen.head, -1, sizeof(m->seen.head));
    for (int i = 0; i < m->n_jobs; i++) {
        const struct model_job *j = &m->jobs[i];
        int *head = &m->seen.head[model_lane_of(j)];

        if (j->where == MODEL_ABSENT || j->where == MODEL_ENDED)
            continue;
        m->seen.lane_jobs[model_lane_of(j)]++;
        m->seen.host_jobs[j->host]++;
        m->seen.host_active[j->host] += j->where == MODEL_ACTIVE;
        if (j->where != MODEL_QUEUED)
            continue;
        m->seen.user_queued[j->user]++;
        m->seen.host_queued[j->host]++;
        if (*head < 0 || model_before(j, &m->jobs[*head]))
            *head = i;
    }
}

/* ---- hosts ---- */

static inline bool model_down(const struct model_host *h, uint64_t now) {
    return h->state == SCHED_HOST_BACKOFF && h->unreached >= h->policy.patience && now < h->until;
}

/* From when on a job may really start. */
static inline uint64_t model_opens(const struct model *m, int host) {
    const struct model_host *h = &m->hosts[host];
    unsigned active = m->seen.host_active[host];
    uint64_t spaced =
        h->last_start < 0 || h->policy.delay == 0 ? 0 : (uint64_t)h->last_start + h->policy.delay;

    switch (h->state) {
    case SCHED_HOST_OPEN:
        return active < h->limit ? spaced : MODEL_NEVER;
    case SCHED_HOST_BACKOFF:
        if (active >= h->policy.connections)
            return MODEL_NEVER;
        return h->until > spaced ? h->until : spaced;
    default:
        return MODEL_NEVER;
    }
}

static inline bool model_gives(const struct model *m, int host) {
    return model_down(&m->hosts[host], m->now) || model_opens(m, host) <= m->now;
}

static inline void model_back_off(struct model_host *h, uint64_t retry_after, uint64_t now) {
    uint64_t wait = h->policy.base;

    for (unsigned i = 0; i < h->backoffs && wait < h->policy.max; i++)
        wait *= 2;
    if (wait > h->policy.max)
        wait = h->policy.max;
    if (retry_after > 0)
        wait = retry_after < 3600000000u ? retry_after : 3600000000u;
    h->backoffs++;
    h->state = SCHED_HOST_BACKOFF;
    h->limit = 1;
    h->until = now + wait;
}

static inline void model_learn(struct model *m, int job, enum sched_says says,
                               uint64_t retry_after) {
    struct model_job *j = &m->jobs[job];
    struct model_host *h = &m->hosts[j->host];
    bool probe = h->probe == job;

    if (probe)
        h->probe = -1;
    if (says == SCHED_SAYS_NOTHING) {
        if (probe)
            h->state = SCHED_HOST_BACKOFF;
        return;
    }
    if (says == SCHED_SAYS_FINE)
        h->reached_ever = true;
    if (!probe && (h->state != SCHED_HOST_OPEN || (int64_t)j->started <= h->trouble)) {
        if (says == SCHED_SAYS_BUSY && h->state == SCHED_HOST_OPEN && retry_after > 0) {
            h->state = SCHED_HOST_BACKOFF;
            h->until = m->now + retry_after;
        }
        if (says == SCHED_SAYS_BUSY && h->state == SCHED_HOST_BACKOFF &&
            m->now + retry_after > h->until)
            h->until = m->now + retry_after;
        return;
    }
    if (says == SCHED_SAYS_FINE) {
        h->limit = probe ? 2 : h->limit + 1;
        if (h->limit > h->policy.connections)
            h->limit = h->policy.connections;
        h->state = SCHED_HOST_OPEN;
        h->failures = h->unreached = h->backoffs = 0;
        return;
    }
    h->failures++;
    h->trouble = (int64_t)m->now;
    h->unreached = says == SCHED_SAYS_BUSY ? 0 : h->unreached + 1;
    if (says == SCHED_SAYS_UNREACHED && !probe && h->reached_ever && h->limit > 1)
        h->limit /= 2;
    else
        model_back_off(h, says == SCHED_SAYS_BUSY ? retry_after : 0, m->now);
}

static inline bool model_blank(const struct model *m, int host) {
    const struct model_host *h = &m->hosts[host];

    return h->state == SCHED_HOST_OPEN && h->failures == 0 && h->limit >= h->policy.connections &&
           (h->last_start < 0 || (uint64_t)h->last_start + h->policy.delay <= m->now);
}

static inline void model_host_reset(struct model_host *h) {
    *h = (struct model_host){
        .policy = h->policy,
        .limit = h->policy.connections,
        .trouble = -1,
        .last_start = -1,
        .start_before = -1,
        .probe = -1,
    };
}

/* ---- who is there, and since when ---- */

/* A lane is forgotten when nothing of it is left, a user when no lane of his is. */
static inline void model_forget(struct model *m) {
    for (int u = 0; u < MODEL_USERS; u++) {
        bool any = false;

        if (m->seen.user_queued[u] == 0)
            m->users[u].present = false;
        for (int l = u * MODEL_HOSTS; l < (u + 1) * MODEL_HOSTS; l++) {
            if (m->seen.lane_jobs[l] == 0)
                m->lanes[l] = (struct model_lane){.known = false};
            any = any || m->lanes[l].known;
        }
        if (!any)
            m->users[u] = (struct model_user){.known = false};
    }
}

/* After every event, and when time has gone by. */
static inline void model_settle(struct model *m) {
    model_look(m);
    for (int l = 0; l < MODEL_LANES; l++) {
        struct model_lane *lane = &m->lanes[l];
        struct model_user *u = &m->users[l / MODEL_HOSTS];
        bool eligible = m->seen.head[l] >= 0 && model_gives(m, l % MODEL_HOSTS);

        if (eligible && !lane->eligible) {
            if (!lane->began)
                lane->start = u->vtime;
            lane->began = true;
            lane->floor = lane->floor > u->vtime ? lane->floor : u->vtime;
        }
        lane->eligible = eligible;
    }
    model_forget(m);
}

static inline void model_advance(struct model *m, uint64_t now) {
    m->now = now;
    model_settle(m);
}

static inline void model_submit(struct model *m, int job) {
    struct model_job *j = &m->jobs[job];
    struct model_user *u = &m->users[j->user];
    struct model_lane *lane = &m->lanes[model_lane_of(j)];

    /* A host that nobody used and of which there is nothing to remember is like new. */
    if (m->seen.host_jobs[j->host] == 0 && model_blank(m, j->host))
        model_host_reset(&m->hosts[j->host]);
    if (!lane->known)
        *lane = (struct model_lane){.known = true, .seq = ++m->clock};
    if (!u->present)
        u->turn = ++m->clock;
    u->known = u->present = true;
    j->where = MODEL_QUEUED;
    model_settle(m);
}

/* ---- choosing ---- */

static inline uint64_t model_key(const struct model *m, int lane) {
    const struct model_lane *l = &m->lanes[lane];
    double share = exp2(m->jobs[m->seen.head[lane]].priority / 25.0);
    uint64_t key = l->start + (uint64_t)llround(65536 / share);

    return key > l->floor ? key : l->floor;
}

static inline int model_choose_user(const struct model *m) {
    int best = -1;

    for (int l = 0; l < MODEL_LANES; l++) {
        int u = l / MODEL_HOSTS;

        if (m->lanes[l].eligible && (best < 0 || m->users[u].turn < m->users[best].turn))
            best = u;
    }
    return best;
}

static inline int model_choose_lane(const struct model *m, int user) {
    int best = -1;

    for (int l = user * MODEL_HOSTS; l < (user + 1) * MODEL_HOSTS; l++) {
        uint64_t key, best_key;

        if (!m->lanes[l].eligible)
            continue;
        key = model_key(m, l);
        best_key = best < 0 ? 0 : model_key(m, best);
        if (best < 0 || key < best_key || (key == best_key && m->lanes[l].seq < m->lanes[best].seq))
            best = l;
    }
    return best;
}

/* The job that starts, or -1. */
static inline int model_next(struct model *m) {
    int user = model_choose_user(m), lane, job;
    struct model_user *u;
    struct model_host *h;
    uint64_t key;

    if (user < 0)
        return -1;
    u = &m->users[user];
    lane = model_choose_lane(m, user);
    job = m->seen.head[lane];
    h = &m->hosts[lane % MODEL_HOSTS];
    key = model_key(m, lane);
    u->vtime = u->vtime > key ? u->vtime : key;
    m->lanes[lane].start = u->vtime;
    m->lanes[lane].floor = 0;
    m->lanes[lane].seq = ++m->clock;
    u->turn = ++m->clock;
    m->jobs[job].started = m->now;
    if (model_down(h, m->now)) {
        m->jobs[job].where = MODEL_REFUSED;
    } else {
        m->jobs[job].where = MODEL_ACTIVE;
        h->start_before = h->last_start;
        h->last_start = (int64_t)m->now;
        if (h->state == SCHED_HOST_BACKOFF) {
            h->state = SCHED_HOST_PROBE;
            h->probe = job;
        }
    }
    model_settle(m);
    return job;
}

static inline void model_unstart(struct model *m, int job) {
    struct model_job *j = &m->jobs[job];
    struct model_user *u = &m->users[j->user];
    struct model_lane *lane = &m->lanes[model_lane_of(j)];
    struct model_host *h = &m->hosts[j->host];

    if (j->where == MODEL_ACTIVE && h->last_start == (int64_t)j->started)
        h->last_start = h->start_before;
    if (h->probe == job) {
        h->probe = -1;
        h->state = SCHED_HOST_BACKOFF;
    }
    j->where = MODEL_QUEUED;
    lane->began = true;
    lane->start = lane->floor = lane->seq = 0;
    u->present = true;
    u->turn = 0;
    model_settle(m);
}

static inline void model_end(struct model *m, int job, enum sched_says says, uint64_t retry_after) {
    model_learn(m, job, says, retry_after);
    m->jobs[job].where = MODEL_ENDED;
    model_settle(m);
}

static inline void model_remove(struct model *m, int job) {
    m->jobs[job].where = MODEL_ENDED;
    model_settle(m);
}

/* When something changes by time alone. */
static inline uint64_t model_wake(const struct model *m) {
    uint64_t first = MODEL_NEVER;

    for (int i = 0; i < MODEL_HOSTS; i++) {
        const struct model_host *h = &m->hosts[i];
        uint64_t at = model_opens(m, i);

        if (m->seen.host_queued[i] == 0)
            continue;
        if (model_down(h, m->now))
            at = h->until;
        else if (at <= m->now)
            continue;
        first = at < first ? at : first;
    }
    return first;
}

#endif
