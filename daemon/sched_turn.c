#include <math.h>

#include "common/util.h"
#include "daemon/sched_part.h"

#define STRIDE 65536 /* of a lane of priority 0 */

/* ---- shares ---- */

size_t sched_lane_room(const struct sched *s) {
    size_t share = s->settings.max_jobs / MAX(s->n_lanes, (size_t)1);

    return MIN(MAX(share, (size_t)LANE_JOBS_MIN), (size_t)LANE_JOBS_MAX);
}

size_t sched_lane_ahead(const struct sched *s) {
    return s->lanes_asked > 0 ? LANE_JOBS_MIN : sched_lane_room(s);
}

size_t sched_user_room(const struct sched *s) {
    return MAX(s->settings.max_lanes / MAX(s->n_users, (size_t)1), (size_t)1);
}

bool sched_users_wait(const struct sched *s) {
    return s->users_more && s->n_users >= s->settings.max_users;
}

/* ---- a lane's turn among its user's ---- */

static uint64_t stride(int priority) {
    return (uint64_t)llround(STRIDE * exp2(-priority / 25.0));
}

/* Where those begin that are listed while others have turns already: with these, if that is not too
 * many turns ago. So a user's lanes go through their jobs side by side, as they came: in the store
 * those lie together. */
static uint64_t begin_behind(const struct sched_user *u) {
    uint64_t most = (uint64_t)LANE_QUANTUM * STRIDE;

    return MAX(u->filled_from, u->vtime - MIN(u->vtime, most));
}

static void lane_become_eligible(struct sched_lane *lane) {
    struct sched_user *u = lane->user;

    if (lane->behind)
        lane->start = MAX(lane->start, begin_behind(u));
    else if (!lane->had_start)
        lane->start = u->vtime;
    if (!lane->behind)
        lane->floor = MAX(lane->floor, u->vtime);
    lane->had_start = true;
}

static void lane_place(struct sched_lane *lane, bool eligible) {
    struct heap *heap = &lane->user->eligible;
    uint64_t key;

    if (!eligible) {
        lane->behind |= heap_has(heap, lane) && !lane->jobs && sched_cursor_pending(&lane->queue);
        heap_remove(heap, lane);
        return;
    }
    if (!heap_has(heap, lane))
        lane_become_eligible(lane);
    key = MAX(lane->start + stride(lane->jobs->priority), lane->floor);
    if (!heap_has(heap, lane)) {
        lane->key = key;
        heap_add(heap, lane);
    } else if (key != lane->key) {
        lane->key = key;
        heap_reorder(heap, lane);
    }
}

void sched_lane_served(struct sched *s, struct sched_lane *lane) {
    struct sched_user *u = lane->user;

    u->vtime = MAX(u->vtime, lane->key);
    lane->behind = lane->behind && lane->key < u->vtime;
    lane->start = lane->behind ? lane->key : u->vtime;
    lane->floor = 0;
    lane->seq = ++s->clock;
    u->turn = ++s->clock;
    heap_reorder(&u->eligible, lane);
    heap_reorder(&s->turns, u);
    if (lane->n_started++ == LANE_QUANTUM - 1) {
        lane->had = true;
        DL_APPEND2(u->had, lane, had_prev, had_next);
    }
    if (u->n_started++ >= USER_QUANTUM && !s->leaving && sched_users_wait(s))
        s->leaving = u;
}

void sched_lane_unserved(struct sched *s, struct sched_lane *lane) {
    lane->start = lane->floor = lane->seq = 0;
    lane->had_start = true;
    lane->behind = false;
    lane->user->turn = 0;
    heap_reorder(&s->turns, lane->user);
    heap_reorder(&lane->user->eligible, lane);
}

/* ---- where lanes, users and hosts belong ---- */

static void lane_wait(struct sched_lane *lane, enum lane_waits waits) {
    struct sched_lane **lists = lane->user->waiting;

    if (waits == lane->waits)
        return;
    if (lane->waits != LANE_WAITS_NOT)
        DL_DELETE2(lists[lane->waits], lane, wait_prev, wait_next);
    if (waits != LANE_WAITS_NOT)
        DL_APPEND2(lists[waits], lane, wait_prev, wait_next);
    lane->waits = waits;
}

static bool lane_is_hungry(const struct sched *s, const struct sched_lane *lane) {
    const struct sched_cursor *c = &lane->queue;

    return lane->in_window && !lane->asked &&
           (c->again || (c->more && lane->n_jobs <= sched_lane_ahead(s) / 2));
}

static void lane_feed(struct sched *s, struct sched_lane *lane) {
    bool hungry = lane_is_hungry(s, lane);

    if (hungry && !lane->hungry)
        DL_APPEND2(s->hungry, lane, hungry_prev, hungry_next);
    if (!hungry && lane->hungry)
        DL_DELETE2(s->hungry, lane, hungry_prev, hungry_next);
    lane->hungry = hungry;
}

static void lane_settle(struct sched *s, struct sched_lane *lane) {
    struct sched_user *u = lane->user;
    bool has = lane->in_window && lane->jobs;
    const struct sched_host *h = lane->host;

    lane_place(lane, has && h->open);
    lane_wait(lane, !has || h->open ? LANE_WAITS_NOT
                    : h->away       ? LANE_WAITS_LONG
                                    : LANE_WAITS_SHORT);
    lane_feed(s, lane);
    if (lane->in_window && !lane->jobs && !sched_cursor_pending(&lane->queue))
        sched_lane_leave(s, lane);
    sched_lane_release(s, lane);
    sched_user_changed(s, u);
}

static bool user_is_hungry(const struct sched *s, const struct sched_user *u) {
    const struct sched_cursor *c = &u->line;

    return u->in_window && u != s->leaving && c->reads == CURSOR_IDLE &&
           (c->again || (c->more && u->n_lanes <= sched_user_room(s) * 3 / 4));
}

static bool user_is_pressed(const struct sched *s, const struct sched_user *u) {
    const struct sched_cursor *c = &u->line;

    return u->in_window && (c->more || c->again) && u->n_lanes > sched_user_room(s) * 3 / 4 &&
           (u->waiting[LANE_WAITS_LONG] || u->had ||
            (u->eligible.n == 0 && u->waiting[LANE_WAITS_SHORT]));
}

static void user_list(struct sched *s, struct sched_user *u) {
    bool hungry = user_is_hungry(s, u), pressed = user_is_pressed(s, u);

    if (hungry && !u->hungry)
        DL_APPEND2(s->hungry_users, u, hungry_prev, hungry_next);
    if (!hungry && u->hungry)
        DL_DELETE2(s->hungry_users, u, hungry_prev, hungry_next);
    if (pressed && !u->pressed)
        DL_APPEND2(s->pressed_users, u, pressed_prev, pressed_next);
    if (!pressed && u->pressed)
        DL_DELETE2(s->pressed_users, u, pressed_prev, pressed_next);
    u->hungry = hungry;
    u->pressed = pressed;
}

void sched_user_changed(struct sched *s, struct sched_user *u) {
    bool leaves = s->leaving == u && u->line.reads == CURSOR_IDLE;

    if (u->eligible.n == 0)
        heap_remove(&s->turns, u);
    else if (!heap_has(&s->turns, u))
        heap_add(&s->turns, u);
    if (u->in_window && u->n_lanes == 0 && (leaves || !sched_cursor_pending(&u->line)))
        sched_user_leave(s, u);
    user_list(s, u);
    sched_user_release(s, u);
}

void sched_lane_changed(struct sched *s, struct sched_lane *lane) {
    struct sched_host *h = lane->host;

    lane_settle(s, lane);
    sched_host_changed(s, h);
}

/* ---- hosts ---- */

static void host_wait(struct sched *s, struct sched_host *h, bool down) {
    uint64_t until = down ? h->health.until : h->wake;
    bool in = h->n_queued > 0 && (down || !h->open) && until < USEC_INFINITY;

    h->wake = until;
    if (!in)
        heap_remove(&s->wakes, h);
    else if (heap_has(&s->wakes, h))
        heap_reorder(&s->wakes, h);
    else
        heap_add(&s->wakes, h);
}

static bool host_is_idle(const struct sched_host *h) {
    return h->n_structs == 0 && h->n_active == 0 && h->n_wide == 0 && h->n_refused == 0;
}

void sched_hosts_forget(struct sched *s) {
    for (int i = 0; i < 2 && s->idle; i++) {
        struct sched_host *h = s->idle;

        if (HASH_COUNT(s->hosts) <= 2 * s->settings.max_lanes &&
            !sched_health_blank(&h->health, &h->policy, s->now))
            return;
        sched_host_free(s, h);
    }
}

/* Remembers an idle host if there is something to remember, but not too many. */
static void host_keep(struct sched *s, struct sched_host *h) {
    bool idle = host_is_idle(h);

    if (idle && sched_health_blank(&h->health, &h->policy, s->now)) {
        sched_host_free(s, h);
        return;
    }
    if (idle == h->idle)
        return;
    h->idle = idle;
    if (idle) {
        DL_APPEND2(s->idle, h, idle_prev, idle_next);
        sched_hosts_forget(s);
    } else {
        DL_DELETE2(s->idle, h, idle_prev, idle_next);
    }
}

void sched_host_changed(struct sched *s, struct sched_host *h) {
    bool down = sched_health_down(&h->health, &h->policy, s->now);
    bool was_open = h->open, was_away = h->away;
    struct sched_lane *lane, *tmp;

    h->wake = sched_health_wake(&h->health, &h->policy, h->n_active + h->n_wide);
    h->open = down || h->wake <= s->now;
    h->away = !h->open && h->wake < USEC_INFINITY && h->wake - s->now > AWAY_USEC;
    host_wait(s, h, down);
    if (h->open != was_open || h->away != was_away) {
        DL_FOREACH_SAFE2(h->lanes, lane, tmp, host_next) {
            lane_settle(s, lane);
        }
    }
    host_keep(s, h);
}

void sched_refresh(struct sched *s, uint64_t now) {
    struct sched_host *h;

    s->now = MAX(s->now, now);
    while ((h = heap_first(&s->wakes)) && h->wake <= s->now)
        sched_host_changed(s, h);
}

/* ---- a lane's jobs ---- */

static bool job_before(const struct sched_job *a, const struct sched_job *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
}

/* 0: up to 2 x LANE_JOBS_MIN, 1: up to 4 x, ...; -1: LANE_JOBS_MIN or less. */
static int size_class(size_t n) {
    int class = -1;

    for (n = n > 0 ? (n - 1) / LANE_JOBS_MIN : 0; n > 0 && class < SIZE_CLASSES - 1; n /= 2)
        class ++;
    return class;
}

static void lane_resize(struct sched *s, struct sched_lane *lane, size_t n) {
    int class = size_class(n);

    lane->n_jobs = n;
    if (class == lane->size_class)
        return;
    if (lane->size_class >= 0)
        DL_DELETE2(s->sizes[lane->size_class], lane, size_prev, size_next);
    if (class >= 0)
        DL_APPEND2(s->sizes[class], lane, size_prev, size_next);
    lane->size_class = class;
}

/* From the end, since that is where a job nearly always belongs; or at the front. */
void sched_job_insert(struct sched *s, struct sched_lane *lane, struct sched_job *job) {
    struct sched_job *at = lane->jobs ? lane->jobs->prev : NULL;

    if (at && job_before(job, lane->jobs))
        at = NULL;
    while (at && job_before(job, at))
        at = at->prev;
    if (at)
        DL_APPEND_ELEM(lane->jobs, at, job);
    else
        DL_PREPEND(lane->jobs, job);
    job->lane = lane;
    job->host = lane->host;
    lane_resize(s, lane, lane->n_jobs + 1);
    lane->host->n_queued++;
    s->n_queued++;
}

void sched_job_take(struct sched *s, struct sched_job *job) {
    struct sched_lane *lane = job->lane;

    DL_DELETE(lane->jobs, job);
    lane_resize(s, lane, lane->n_jobs - 1);
    lane->host->n_queued--;
    s->n_queued--;
}
