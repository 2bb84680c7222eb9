#include "common/util.h"
#include "daemon/sched_part.h"

/* What sched_evict() takes: a lane, and what is to be said of it. */
struct victim {
    struct sched_lane *lane;
    uint64_t wait;
    bool stays;
};

/* One whose host can't be asked for a while. Time has gone by since it was listed. */
static bool victim_away(struct sched *s, struct sched_user *u, struct victim *ret) {
    struct sched_lane *lane;

    while ((lane = u->waiting[LANE_WAITS_LONG])) {
        if (lane->host->wake > s->now + AWAY_USEC) {
            *ret = (struct victim){.lane = lane, .wait = lane->host->wake - s->now};
            return true;
        }
        sched_host_changed(s, lane->host);
    }
    return false;
}

static bool victim_pick(struct sched *s, struct sched_user *u, struct victim *ret) {
    if (victim_away(s, u, ret))
        return true;
    if (u->had) {
        *ret = (struct victim){.lane = u->had};
        return true;
    }
    if (u->eligible.n == 0 && u->waiting[LANE_WAITS_SHORT]) {
        *ret = (struct victim){.lane = u->waiting[LANE_WAITS_SHORT], .wait = AWAY_USEC};
        return true;
    }
    return false;
}

/* The last in the line goes back to its place there. */
static void victim_last(struct sched_user *u, struct victim *ret) {
    *ret = (struct victim){.lane = heap_first(&u->by_turn), .stays = true};
}

/* In a window that is too full somebody has more than his share. */
static struct sched_user *user_crowded(struct sched *s) {
    size_t room = sched_user_room(s);
    struct sched_user *u;

    if (s->crowded && s->crowded->n_lanes > room)
        return s->crowded;
    s->crowded = NULL;
    for (u = s->users; u; u = u->hh.next)
        if (u->n_lanes > room && (!s->crowded || u->n_lanes > s->crowded->n_lanes))
            s->crowded = u;
    return s->crowded;
}

/* A user whose lanes all wait makes room too. */
static void find_leaver(struct sched *s) {
    struct sched_user *u;

    if (s->leaving || !sched_users_wait(s) || s->now < s->users_seen + USERS_USEC)
        return;
    s->users_seen = s->now;
    for (u = s->users; u && !s->leaving; u = u->hh.next)
        if (u->n_lanes > 0 && u->eligible.n == 0 && u->line.reads == CURSOR_IDLE &&
            u->entered + AWAY_USEC <= s->now)
            s->leaving = u;
}

static bool victim_find(struct sched *s, struct victim *ret) {
    struct sched_user *u;

    find_leaver(s);
    if (s->leaving && s->leaving->n_lanes > 0) {
        victim_last(s->leaving, ret);
        return true;
    }
    u = s->n_lanes > s->settings.max_lanes ? user_crowded(s) : NULL;
    if (u) {
        if (!victim_pick(s, u, ret))
            victim_last(u, ret);
        return true;
    }
    while ((u = s->pressed_users)) {
        if (victim_pick(s, u, ret))
            return true;
        sched_user_changed(s, u);
        if (s->pressed_users == u)
            return false;
    }
    return false;
}

/* To be written down: one at least where a probe is to be the first. */
static unsigned failures_of(const struct sched_host *h) {
    return h->health.state == SCHED_HOST_OPEN ? h->health.unreached : MAX(h->health.unreached, 1u);
}

static struct sched_job *lane_empty(struct sched *s, struct sched_lane *lane) {
    struct sched_job *jobs = NULL, *job;

    while ((job = lane->jobs)) {
        sched_job_take(s, job);
        job->lane = NULL;
        job->host = NULL;
        DL_APPEND(jobs, job);
    }
    return jobs;
}

static void evict(struct sched *s, const struct victim *victim, struct sched_evicted *ret) {
    struct sched_lane *lane = victim->lane;
    struct sched_user *u = lane->user;

    *ret = (struct sched_evicted){
        .lane = lane->id,
        .turn = lane->turn,
        .uid = u->uid,
        .priority = lane->jobs ? lane->jobs->priority : 0,
        .stays = victim->stays,
        .wait = victim->wait,
        .failures = failures_of(lane->host),
    };
    sched_lane_leave(s, lane);
    lane->evicted = true;
    ret->jobs = lane_empty(s, lane);
    if (victim->stays)
        sched_cursor_back(&u->line, lane->turn, lane->id);
    sched_lane_changed(s, lane);
}

bool sched_evict(struct sched *s, uint64_t now, struct sched_evicted *ret) {
    struct victim victim;

    sched_refresh(s, now);
    if (!victim_find(s, &victim))
        return false;
    evict(s, &victim, ret);
    return true;
}

bool sched_evict_away(struct sched *s, uint64_t now, struct sched_evicted *ret) {
    struct victim victim;
    struct sched_user *u;

    sched_refresh(s, now);
    for (u = s->users; u; u = u->hh.next)
        if (victim_away(s, u, &victim)) {
            evict(s, &victim, ret);
            return true;
        }
    return false;
}

void sched_hosts_away(const struct sched *s, uint64_t now, sched_away_fn *fn, void *userdata) {
    for (const struct sched_host *h = s->hosts; h; h = h->hh.next)
        if (h->health.state == SCHED_HOST_BACKOFF && h->health.until > now + AWAY_USEC)
            fn(userdata, h->name, h->health.until - now, failures_of(h));
}
