#include "daemon/sched.h"

#include <errno.h>
#include <stdlib.h>

#include "common/util.h"
#include "daemon/sched_part.h"

static bool user_before(const void *a, const void *b) {
    const struct sched_user *x = a, *y = b;

    return x->turn != y->turn ? x->turn < y->turn : x->uid < y->uid;
}

static bool host_before(const void *a, const void *b) {
    return ((const struct sched_host *)a)->wake < ((const struct sched_host *)b)->wake;
}

struct sched *sched_new(const struct sched_settings *settings) {
    struct sched *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->settings = *settings;
    heap_init(&s->turns, user_before, offsetof(struct sched_user, turns_place));
    heap_init(&s->wakes, host_before, offsetof(struct sched_host, wakes_place));
    s->users_more = true;
    s->users_after = -1;
    return s;
}

struct sched *sched_free(struct sched *s) {
    struct sched_lane *lane, *next_lane;
    struct sched_user *u, *next_user;
    struct sched_host *h, *next_host;
    struct sched_loan *l, *next_loan;

    if (!s)
        return NULL;
    DL_FOREACH_SAFE(s->loans, l, next_loan) {
        free(l);
    }
    HASH_ITER(hh, s->lanes, lane, next_lane) {
        HASH_DEL(s->lanes, lane);
        free(lane);
    }
    HASH_ITER(hh, s->users, u, next_user) {
        u->in_window = false;
        u->n_structs = 0;
        sched_user_release(s, u);
    }
    HASH_ITER(hh, s->hosts, h, next_host) {
        sched_host_free(s, h);
    }
    heap_done(&s->turns);
    heap_done(&s->wakes);
    free(s);
    return NULL;
}

void sched_policies_changed(struct sched *s) {
    struct sched_host *h, *next;

    HASH_ITER(hh, s->hosts, h, next) {
        struct sched_policy old = h->policy;

        s->settings.policy(s->settings.userdata, h->name, &h->policy);
        sched_health_adapt(&h->health, &old, &h->policy);
    }
    HASH_ITER(hh, s->hosts, h, next) {
        if (!h->idle)
            sched_host_changed(s, h);
    }
}

/* ---- running ---- */

static void host_start(struct sched_host *h, struct sched_job *job, uint64_t now) {
    job->started = now;
    job->answered = false;
    job->refused = sched_health_down(&h->health, &h->policy, now);
    if (job->refused) {
        h->n_refused++;
        return;
    }
    h->n_active++;
    if (sched_health_start(&h->health, now))
        h->probe = job;
}

struct sched_job *sched_next(struct sched *s, uint64_t now, bool *ret_refused) {
    struct sched_user *u;
    struct sched_lane *lane;
    struct sched_job *job;

    sched_refresh(s, now);
    u = heap_first(&s->turns);
    if (!u)
        return NULL;
    lane = heap_first(&u->eligible);
    job = lane->jobs;
    sched_lane_served(s, lane);
    sched_job_take(s, job);
    lane->n_active++;
    host_start(lane->host, job, s->now);
    *ret_refused = job->refused;
    sched_lane_changed(s, lane);
    return job;
}

uint64_t sched_wake(const struct sched *s) {
    const struct sched_host *h = heap_first(&s->wakes);
    uint64_t wake = h ? h->wake : USEC_INFINITY;

    if (s->leaving || !sched_users_wait(s))
        return wake;
    return MIN(wake, s->users_seen + USERS_USEC);
}

/* All that it has. */
static void loans_return(struct sched *s, struct sched_job *job) {
    struct sched_loan *l, *next;

    if (job->wide == 0)
        return;
    job->wide = 0;
    DL_FOREACH_SAFE(s->loans, l, next) {
        if (l->job != job)
            continue;
        l->host->n_wide -= l->n;
        sched_host_changed(s, l->host);
        DL_DELETE(s->loans, l);
        free(l);
    }
}

/* The job is active no more. True: it was its host's probe. */
static bool host_leave(struct sched *s, struct sched_job *job) {
    struct sched_host *h = job->host;
    bool probe = h->probe == job;

    if (job->refused)
        h->n_refused--;
    else
        h->n_active--;
    loans_return(s, job);
    if (probe)
        h->probe = NULL;
    job->lane->n_active--;
    return probe;
}

static struct sched_loan *loan_of(struct sched *s, const struct sched_job *job,
                                  struct sched_host *h) {
    struct sched_loan *l;

    DL_FOREACH(s->loans, l) {
        if (l->job == job && l->host == h)
            return l;
    }
    l = calloc(1, sizeof(*l));
    if (l) {
        *l = (struct sched_loan){.job = job, .host = h};
        DL_APPEND(s->loans, l);
    }
    return l;
}

bool sched_widen(struct sched *s, struct sched_job *job, const char *host) {
    struct sched_host *h = job->refused ? NULL : sched_host_get(s, host);
    struct sched_loan *l = NULL;

    if (!h)
        return false;
    if (h->health.state == SCHED_HOST_OPEN && h->n_active + h->n_wide < h->health.limit &&
        h->policy.delay == 0)
        l = loan_of(s, job, h);
    if (l) {
        l->n++;
        h->n_wide++;
        job->wide++;
    }
    sched_host_changed(s, h);
    return l;
}

void sched_unstart(struct sched *s, struct sched_job *job) {
    struct sched_lane *lane = job->lane;
    bool probe = host_leave(s, job);

    if (!job->refused)
        sched_health_unstart(&job->host->health, probe, job->started);
    if (!lane->in_window)
        sched_lane_enter(s, lane);
    sched_lane_unserved(s, lane);
    sched_job_insert(s, lane, job);
    sched_lane_changed(s, lane);
}

bool sched_is_curious(const struct sched_job *job) {
    const struct sched_host *h = job->host;

    return !job->refused && (h->probe == job || h->health.limit < h->policy.connections);
}

void sched_answered(struct sched *s, struct sched_job *job, uint64_t now) {
    struct sched_host *h = job->host;
    struct sched_end end = {.says = SCHED_SAYS_FINE, .started = job->started, .probe = h->probe == job};

    sched_refresh(s, now);
    if (end.probe)
        h->probe = NULL;
    job->answered = true;
    sched_health_end(&h->health, &h->policy, &end, s->now);
    sched_lane_changed(s, job->lane);
}

void sched_ended(struct sched *s, struct sched_job *job, enum sched_says says, uint64_t retry_after,
                 unsigned error, uint64_t now) {
    struct sched_lane *lane = job->lane;
    struct sched_end end = {
        .says = says == SCHED_SAYS_FINE && job->answered ? SCHED_SAYS_NOTHING : says,
        .started = job->started,
        .retry_after = retry_after,
        .error = error,
    };

    sched_refresh(s, now);
    end.probe = host_leave(s, job);
    sched_health_end(&lane->host->health, &lane->host->policy, &end, s->now);
    job->lane = NULL;
    job->host = NULL;
    sched_lane_changed(s, lane);
}

/* ---- for showing ---- */

static enum sched_host_state host_state(const struct sched_host *h, uint64_t now) {
    if (sched_health_down(&h->health, &h->policy, now))
        return SCHED_HOST_DOWN;
    if (h->health.state == SCHED_HOST_BACKOFF && now >= h->health.until)
        return SCHED_HOST_PROBE;
    return h->health.state;
}

static unsigned host_limit(const struct sched_host *h, enum sched_host_state state) {
    if (state == SCHED_HOST_OPEN)
        return h->health.limit;
    return state == SCHED_HOST_PROBE ? 1 : 0;
}

bool sched_host_info(const struct sched *s, const char *host, uint64_t now,
                     struct sched_host_info *ret) {
    const struct sched_host *h;
    uint64_t wake;

    HASH_FIND_STR(s->hosts, host, h);
    if (!h)
        return false;
    wake = sched_health_wake(&h->health, &h->policy, 0);
    *ret = (struct sched_host_info){
        .state = host_state(h, now),
        .active = h->n_active,
        .next_start = wake > now && wake < USEC_INFINITY ? wake : 0,
        .failures = h->health.failures,
        .error = h->health.error,
    };
    ret->limit = host_limit(h, ret->state);
    if (ret->state == SCHED_HOST_DOWN)
        ret->unreached_since = h->health.unreached_since;
    return true;
}

size_t sched_n_queued(const struct sched *s) {
    return s->n_queued;
}

size_t sched_n_lanes(const struct sched *s) {
    return s->n_lanes;
}

size_t sched_n_users(const struct sched *s) {
    return s->n_users;
}

size_t sched_n_hosts(const struct sched *s) {
    return HASH_COUNT(s->hosts);
}
