#include <errno.h>

#include "common/util.h"
#include "daemon/sched_part.h"

int sched_user_add(struct sched *s, uid_t uid) {
    struct sched_user *u = sched_user_find(s, uid);

    if (u && u->in_window)
        return 0;
    if (s->n_users >= s->settings.max_users) {
        s->users_more = s->users_missed = true;
        return 0;
    }
    u = sched_user_get(s, uid);
    if (!u) {
        s->users_more = s->users_missed = true;
        return -ENOMEM;
    }
    sched_user_enter(s, u);
    sched_user_changed(s, u);
    return 0;
}

int sched_ready(struct sched *s, uid_t uid, int64_t id, int64_t turn, int64_t first_rank,
                int64_t last_rank) {
    struct sched_lane *lane = sched_lane_find(s, id);
    struct sched_user *u;

    if (lane && lane->in_window) {
        sched_cursor_ready(&lane->queue, first_rank, CURSOR_ANY_ID, last_rank, CURSOR_ANY_ID);
        if (turn > INT64_MIN && turn < lane->turn) {
            lane->turn = turn;
            heap_reorder(&lane->user->by_turn, lane);
        }
        sched_lane_changed(s, lane);
        return 0;
    }
    u = sched_user_find(s, uid);
    if (!u || !u->in_window)
        return sched_user_add(s, uid);
    sched_cursor_ready(&u->line, turn, id, turn, id);
    sched_user_changed(s, u);
    return 0;
}

/* ---- what is wanted ---- */

static void want_jobs(struct sched *s, struct sched_request *ret) {
    struct sched_lane *lane = s->hungry;
    bool again = lane->queue.again;

    *ret = (struct sched_request){
        .want = SCHED_WANT_JOBS,
        .uid = lane->user->uid,
        .lane = lane->id,
        .limit = again ? AGAIN_JOBS : sched_lane_ahead(s) - lane->n_jobs,
    };
    lane->asked = true;
    sched_cursor_begin(&lane->queue, &ret->after, &ret->after_id);
    sched_lane_changed(s, lane);
}

/* So that the window is never much more than full, whatever the answers. */
static bool may_list_lanes(const struct sched *s) {
    return s->n_lanes <= s->settings.max_lanes &&
           (s->lanes_asked == 0 || s->lanes_asked < s->settings.max_lanes / 4);
}

static void want_lanes(struct sched *s, struct sched_request *ret) {
    struct sched_user *u = s->hungry_users;
    size_t page = MAX(s->settings.max_lanes / 16, (size_t)1);
    size_t room = u->line.again ? AGAIN_LANES : sched_user_room(s) - u->n_lanes;

    *ret = (struct sched_request){
        .want = SCHED_WANT_LANES,
        .uid = u->uid,
        .limit = MIN(room, page),
        .jobs_each = LANE_JOBS_MIN,
    };
    u->asked = ret->limit;
    s->lanes_asked += u->asked;
    sched_cursor_begin(&u->line, &ret->after, &ret->after_id);
    sched_user_changed(s, u);
}

static bool may_list_users(const struct sched *s) {
    return s->users_more && !s->users_asked && s->n_users < s->settings.max_users;
}

static void want_users(struct sched *s, struct sched_request *ret) {
    s->users_asked = true;
    *ret = (struct sched_request){
        .want = SCHED_WANT_USERS,
        .after_id = s->users_after,
        .limit = s->settings.max_users - s->n_users,
    };
}

/* The shares have become smaller since some were listed as hungry. */
static void skip_the_fed(struct sched *s) {
    struct sched_lane *lane;
    struct sched_user *u;

    while ((lane = s->hungry) && (sched_lane_changed(s, lane), s->hungry != lane))
        ;
    while ((u = s->hungry_users) && (sched_user_changed(s, u), s->hungry_users != u))
        ;
}

void sched_wants(struct sched *s, struct sched_request *ret) {
    skip_the_fed(s);
    if (s->hungry_users && may_list_lanes(s))
        want_lanes(s, ret);
    else if (s->hungry)
        want_jobs(s, ret);
    else if (may_list_users(s))
        want_users(s, ret);
    else
        *ret = (struct sched_request){.want = SCHED_WANT_NOTHING};
}

/* ---- answers ---- */

void sched_users_listed(struct sched *s, bool more, int64_t last_uid) {
    s->users_asked = false;
    s->users_after = more ? last_uid : -1;
    if (!more) {
        s->users_more = s->users_missed;
        s->users_missed = false;
    }
}

int sched_lane_add(struct sched *s, uid_t uid, int64_t id, int64_t turn, const char *host,
                   unsigned failures, uint64_t wait, uint64_t now) {
    struct sched_lane *lane = sched_lane_find(s, id);
    struct sched_user *u;

    sched_refresh(s, now);
    if (lane && lane->in_window)
        return -EEXIST;
    u = sched_user_get(s, uid);
    if (!u)
        return -ENOMEM;
    if (!lane)
        sched_lane_new(s, &lane, u, id, host);
    if (!lane) {
        sched_cursor_back(&u->line, turn, id);
        sched_user_changed(s, u);
        return -ENOMEM;
    }
    lane->turn = turn;
    sched_lane_enter(s, lane);
    lane->fresh = true;
    lane->behind = u->filling && u->line.reads == CURSOR_READS_ON;
    lane->missed = sched_cursor_missed(&u->line, turn, id);
    sched_health_restore(&lane->host->health, failures, wait, s->now);
    sched_lane_changed(s, lane);
    return 0;
}

void sched_lanes_listed(struct sched *s, uid_t uid, bool more, int64_t last_turn,
                        int64_t last_lane) {
    struct sched_user *u = sched_user_find(s, uid);

    if (!u || u->line.reads == CURSOR_IDLE)
        return;
    s->lanes_asked -= u->asked;
    u->asked = 0;
    sched_cursor_answered(&u->line, more, last_turn, last_lane);
    u->filling = u->filling && u->line.more && u->n_lanes <= sched_user_room(s) * 3 / 4;
    sched_user_changed(s, u);
}

int sched_add(struct sched *s, int64_t id, struct sched_job *job) {
    struct sched_lane *lane = sched_lane_find(s, id);

    if (!lane || (!lane->in_window && lane->evicted))
        return -ENOENT;
    if (!lane->in_window)
        sched_lane_enter(s, lane);
    job->uid = lane->user->uid;
    sched_job_insert(s, lane, job);
    sched_lane_changed(s, lane);
    return 0;
}

void sched_filled(struct sched *s, int64_t id, bool more, int64_t last_rank, int64_t last_id) {
    struct sched_lane *lane = sched_lane_find(s, id);

    bool of_list;

    if (!lane)
        return;
    of_list = lane->fresh && (!lane->asked || lane->stale);
    if (of_list || (lane->in_window && !lane->stale)) {
        sched_cursor_answered(&lane->queue, more, last_rank, last_id);
        if (of_list && lane->missed)
            sched_cursor_back(&lane->queue, INT64_MIN, 1);
        if (lane->n_jobs > sched_lane_room(s))
            sched_cursor_give_up(&lane->queue);
    }
    if (!of_list)
        lane->asked = lane->stale = false;
    lane->fresh = false;
    sched_lane_changed(s, lane);
}

/* The last job of one of the longest lanes. */
struct sched_job *sched_trim(struct sched *s) {
    struct sched_lane *lane = NULL;
    struct sched_job *last;

    for (int i = SIZE_CLASSES - 1; i >= 0 && !lane; i--)
        lane = s->sizes[i];
    if (s->n_queued <= s->settings.max_jobs || !lane)
        return NULL;
    last = lane->jobs->prev;
    sched_job_take(s, last);
    last->lane = NULL;
    last->host = NULL;
    sched_cursor_back(&lane->queue, last->rank, last->id);
    sched_lane_changed(s, lane);
    return last;
}

void sched_remove(struct sched *s, struct sched_job *job) {
    struct sched_lane *lane = job->lane;

    sched_job_take(s, job);
    job->lane = NULL;
    job->host = NULL;
    sched_lane_changed(s, lane);
}
