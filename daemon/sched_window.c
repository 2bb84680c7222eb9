#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/sched_part.h"

/* ---- users ---- */

static bool lane_before(const void *a, const void *b) {
    const struct sched_lane *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key;
    return x->seq != y->seq ? x->seq < y->seq : x->id < y->id;
}

static bool lane_behind(const void *a, const void *b) {
    const struct sched_lane *x = a, *y = b;

    return x->turn != y->turn ? x->turn > y->turn : x->id > y->id;
}

struct sched_user *sched_user_find(struct sched *s, uid_t uid) {
    struct sched_user *u;

    HASH_FIND(hh, s->users, &uid, sizeof(uid), u);
    return u;
}

struct sched_user *sched_user_get(struct sched *s, uid_t uid) {
    struct sched_user *u = sched_user_find(s, uid);

    if (u)
        return u;
    if (heap_reserve(&s->turns, HASH_COUNT(s->users) + 1) < 0)
        return NULL;
    u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->uid = uid;
    heap_init(&u->eligible, lane_before, offsetof(struct sched_lane, eligible_place));
    heap_init(&u->by_turn, lane_behind, offsetof(struct sched_lane, by_turn_place));
    HASH_ADD(hh, s->users, uid, sizeof(u->uid), u);
    if (!u->hh.tbl) {
        free(u);
        return NULL;
    }
    return u;
}

/* Nobody knows what else he has in the store. */
void sched_user_enter(struct sched *s, struct sched_user *u) {
    if (u->in_window)
        return;
    u->in_window = true;
    u->turn = ++s->clock;
    u->n_started = 0;
    u->entered = s->now;
    u->filling = true;
    u->filled_from = u->vtime;
    sched_cursor_init(&u->line);
    s->n_users++;
}

void sched_user_leave(struct sched *s, struct sched_user *u) {
    u->in_window = false;
    s->n_users--;
    if (sched_cursor_pending(&u->line))
        s->users_missed = s->users_more = true;
    if (s->leaving == u)
        s->leaving = NULL;
}

void sched_user_release(struct sched *s, struct sched_user *u) {
    if (u->in_window || u->n_structs > 0)
        return;
    if (s->crowded == u)
        s->crowded = NULL;
    heap_remove(&s->turns, u);
    HASH_DEL(s->users, u);
    heap_done(&u->eligible);
    heap_done(&u->by_turn);
    free(u);
}

/* ---- hosts ---- */

static struct sched_host *host_new(struct sched *s, const char *name) {
    struct sched_host *h;

    if (heap_reserve(&s->wakes, HASH_COUNT(s->hosts) + 1) < 0)
        return NULL;
    h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->name = strdup(name);
    if (h->name)
        HASH_ADD_KEYPTR(hh, s->hosts, h->name, strlen(h->name), h);
    if (!h->name || !h->hh.tbl) {
        free(h->name);
        free(h);
        return NULL;
    }
    s->settings.policy(s->settings.userdata, name, &h->policy);
    sched_health_init(&h->health, &h->policy);
    h->open = true;
    h->wake = USEC_INFINITY;
    sched_hosts_forget(s);
    return h;
}

struct sched_host *sched_host_get(struct sched *s, const char *name) {
    struct sched_host *h;

    HASH_FIND_STR(s->hosts, name, h);
    if (!h)
        return host_new(s, name);
    if (h->idle && sched_health_blank(&h->health, &h->policy, s->now))
        sched_health_init(&h->health, &h->policy);
    return h;
}

void sched_host_free(struct sched *s, struct sched_host *h) {
    if (h->idle)
        DL_DELETE2(s->idle, h, idle_prev, idle_next);
    heap_remove(&s->wakes, h);
    HASH_DEL(s->hosts, h);
    free(h->name);
    free(h);
}

/* ---- lanes ---- */

struct sched_lane *sched_lane_find(struct sched *s, int64_t id) {
    struct sched_lane *lane;

    HASH_FIND(hh, s->lanes, &id, sizeof(id), lane);
    return lane;
}

/* Room in the heaps for all lanes in memory: putting one in can't fail then. */
static int lane_reserve(struct sched_user *u) {
    int r = heap_reserve(&u->eligible, u->n_structs + 1);

    return r < 0 ? r : heap_reserve(&u->by_turn, u->n_structs + 1);
}

void sched_lane_new(struct sched *s, struct sched_lane **ret, struct sched_user *u, int64_t id,
                    const char *host) {
    struct sched_host *h = sched_host_get(s, host);
    struct sched_lane *lane = NULL;

    *ret = NULL;
    if (h && lane_reserve(u) == 0)
        lane = calloc(1, sizeof(*lane));
    if (lane) {
        lane->id = id;
        HASH_ADD(hh, s->lanes, id, sizeof(lane->id), lane);
        if (!lane->hh.tbl) {
            free(lane);
            lane = NULL;
        }
    }
    if (!lane) {
        if (h)
            sched_host_changed(s, h);
        return;
    }
    lane->user = u;
    lane->host = h;
    lane->seq = ++s->clock;
    lane->size_class = -1;
    u->n_structs++;
    h->n_structs++;
    *ret = lane;
}

void sched_lane_enter(struct sched *s, struct sched_lane *lane) {
    lane->in_window = true;
    lane->evicted = lane->behind = false;
    lane->n_started = 0;
    sched_cursor_init(&lane->queue);
    DL_APPEND2(lane->host->lanes, lane, host_prev, host_next);
    heap_add(&lane->user->by_turn, lane);
    lane->user->n_lanes++;
    s->n_lanes++;
    sched_user_enter(s, lane->user);
}

void sched_lane_leave(struct sched *s, struct sched_lane *lane) {
    struct sched_user *u = lane->user;

    lane->in_window = false;
    lane->stale = lane->asked;
    heap_remove(&u->eligible, lane);
    heap_remove(&u->by_turn, lane);
    if (lane->waits != LANE_WAITS_NOT)
        DL_DELETE2(u->waiting[lane->waits], lane, wait_prev, wait_next);
    lane->waits = LANE_WAITS_NOT;
    if (lane->had)
        DL_DELETE2(u->had, lane, had_prev, had_next);
    if (lane->hungry)
        DL_DELETE2(s->hungry, lane, hungry_prev, hungry_next);
    lane->had = lane->hungry = false;
    DL_DELETE2(lane->host->lanes, lane, host_prev, host_next);
    u->n_lanes--;
    s->n_lanes--;
}

void sched_lane_release(struct sched *s, struct sched_lane *lane) {
    if (lane->in_window || lane->n_active > 0 || lane->asked)
        return;
    HASH_DEL(s->lanes, lane);
    lane->user->n_structs--;
    lane->host->n_structs--;
    free(lane);
}
