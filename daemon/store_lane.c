#define HASH_NONFATAL_OOM 1
#include "daemon/store_lane.h"

#include <errno.h>
#include <string.h>

#include "common/backoff.h"
#include "common/util.h"

/* From so many on they are written in order of their rows. */
#define SORT_MIN 64

/* What a transaction does to a lane. */
struct lane_delta {
    UT_hash_handle hh;
    int64_t id;
    int64_t added[LANE_NUMBER_MAX_];
    bool dirty; /* added holds something */
    bool ready; /* to be told of, with: */
    int64_t first_rank, last_rank;
    bool known; /* these are those of the row: */
    bool in_line, parked;
    uid_t uid;
    int64_t turn;
};

struct user_delta {
    UT_hash_handle hh;
    uid_t uid;
    int64_t added; /* jobs that have not ended */
};

int lane_number(enum job_state state) {
    switch (state) {
    case JOB_QUEUED:
        return LANE_QUEUED;
    case JOB_WAITING:
        return LANE_WAITING;
    case JOB_PAUSED:
        return LANE_PAUSED;
    case JOB_STAGED:
        return LANE_STAGED;
    default:
        return -1;
    }
}

/* FNV-1a, from a start that only this queue has, so that nobody can choose hosts with one hash. */
int32_t lane_hash(const struct db *db, const char *host) {
    uint64_t h = db->hash_seed;

    for (; *host; host++)
        h = (h ^ (unsigned char)*host) * UINT64_C(0x100000001b3);
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (int32_t)(h >> 32);
}

/* ---- noting ---- */

static struct lane_delta *delta_get(struct db *db, int64_t lane) {
    struct lane_delta *d = db->lane_last;

    if (!d || d->id != lane)
        HASH_FIND(hh, db->lanes, &lane, sizeof(lane), d);
    if (!d) {
        d = calloc(1, sizeof(*d));
        if (!d)
            return NULL;
        d->id = lane;
        d->first_rank = INT64_MAX;
        d->last_rank = INT64_MIN;
        HASH_ADD(hh, db->lanes, id, sizeof(d->id), d);
        if (!d->hh.tbl) {
            free(d);
            return NULL;
        }
    }
    return db->lane_last = d;
}

static void delta_ready(struct lane_delta *d, int64_t first_rank, int64_t last_rank) {
    d->ready = true;
    d->first_rank = MIN(d->first_rank, first_rank);
    d->last_rank = MAX(d->last_rank, last_rank);
}

int lane_note_move(struct db *db, int64_t lane, enum job_state from, enum job_state to,
                   int64_t rank) {
    int less = lane_number(from), more = lane_number(to);
    struct lane_delta *d;

    if (less == more)
        return 0;
    d = delta_get(db, lane);
    if (!d)
        return -ENOMEM;
    if (less >= 0)
        d->added[less]--;
    if (more >= 0)
        d->added[more]++;
    if (more == LANE_QUEUED)
        delta_ready(d, rank, rank);
    if (!d->dirty)
        db->lanes_dirty++;
    d->dirty = true;
    return 0;
}

int lane_note_ready(struct db *db, int64_t lane, int64_t first_rank, int64_t last_rank) {
    struct lane_delta *d = delta_get(db, lane);

    if (!d)
        return -ENOMEM;
    delta_ready(d, first_rank, last_rank);
    return 0;
}

int lane_hurry(struct db *db, int64_t lane, int64_t rank) {
    sqlite3_stmt *st = db_statement(db, ST_LANE_HURRY);

    sqlite3_bind_int64(st, 1, lane);
    sqlite3_bind_int64(st, 2, rank);
    int r = db_exec(db, st);
    if (r == 0 && sqlite3_changes(db->sqlite) > 0)
        lane_note_changed(db, lane);
    return r;
}

void lane_note_changed(struct db *db, int64_t lane) {
    struct lane_delta *d;

    HASH_FIND(hh, db->lanes, &lane, sizeof(lane), d);
    if (d)
        d->known = false;
}

static int user_note(struct db *db, uid_t uid, int64_t added) {
    struct user_delta *u;

    if (added == 0)
        return 0;
    HASH_FIND(hh, db->users, &uid, sizeof(uid), u);
    if (!u) {
        u = calloc(1, sizeof(*u));
        if (!u)
            return -ENOMEM;
        u->uid = uid;
        HASH_ADD(hh, db->users, uid, sizeof(u->uid), u);
        if (!u->hh.tbl) {
            free(u);
            return -ENOMEM;
        }
    }
    u->added += added;
    return 0;
}

/* ---- finding and making ---- */

static int lane_insert(struct db *db, struct lane_delta *d, int32_t hash, const char *host,
                       const uint64_t *added) {
    sqlite3_stmt *st = db_statement(db, ST_LANE_INSERT);
    int64_t sum = 0;

    sqlite3_bind_int64(st, 1, d->id);
    sqlite3_bind_int(st, 2, hash);
    sqlite3_bind_int64(st, 3, d->uid);
    db_bind_text(st, 4, host);
    sqlite3_bind_int64(st, 5, d->turn);
    for (int i = 0; i < LANE_NUMBER_MAX_; i++) {
        sqlite3_bind_int64(st, 6 + i, (int64_t)added[i]);
        sum += (int64_t)added[i];
    }
    int r = db_exec(db, st);
    return r < 0 ? r : user_note(db, d->uid, sum);
}

/* 1: found, 0: there is none. */
static int lane_find(struct db *db, uid_t uid, int32_t hash, const char *host, int64_t *ret) {
    sqlite3_stmt *st = db_statement(db, ST_LANE_FIND);

    sqlite3_bind_int(st, 1, hash);
    sqlite3_bind_int64(st, 2, uid);
    db_bind_text(st, 3, host);
    int r = db_step(db, st);
    if (r > 0)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return r;
}

static void delta_add(struct db *db, struct lane_delta *d, const uint64_t *added) {
    for (int i = 0; i < LANE_NUMBER_MAX_; i++)
        d->added[i] += (int64_t)added[i];
    if (!d->dirty)
        db->lanes_dirty++;
    d->dirty = true;
}

/* A lane whose last job has just ended may still be in the table: it goes on. */
int lane_add(struct db *db, uid_t uid, int32_t hash, const char *host, int64_t turn,
             const uint64_t added[LANE_NUMBER_MAX_], int64_t first_rank, int64_t last_rank,
             int64_t *ret_lane) {
    int64_t id = 0;
    int r = lane_find(db, uid, hash, host, &id);

    if (r < 0)
        return r;
    struct lane_delta *d = delta_get(db, r > 0 ? id : db->now.next_lane);
    if (!d)
        return -ENOMEM;
    if (r > 0)
        delta_add(db, d, added);
    else {
        db->now.next_lane++;
        d->known = true;
        d->in_line = added[LANE_QUEUED] > 0;
        d->uid = uid;
        d->turn = turn;
        r = lane_insert(db, d, hash, host, added);
    }
    if (added[LANE_QUEUED] > 0)
        delta_ready(d, first_rank, last_rank);
    *ret_lane = d->id;
    return MIN(r, 0);
}

/* ---- writing ---- */

/* What the row says: 1, or 0: there is none. */
static int delta_look(struct db *db, struct lane_delta *d, uint64_t numbers[LANE_NUMBER_MAX_]) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANE_LOOK);

    sqlite3_bind_int64(st, 1, d->id);
    int r = db_step(db, st);
    if (r <= 0)
        return r;
    d->known = true;
    d->uid = (uid_t)sqlite3_column_int64(st, 0);
    d->turn = sqlite3_column_int64(st, 1);
    d->parked = !sqlite3_column_int(st, 2);
    d->in_line = sqlite3_column_int(st, 3);
    for (int i = 0; i < LANE_NUMBER_MAX_; i++)
        numbers[i] = (uint64_t)sqlite3_column_int64(st, 4 + i);
    return 1;
}

static int delta_write(struct db *db, struct lane_delta *d) {
    uint64_t numbers[LANE_NUMBER_MAX_], sum = 0;
    int64_t added = 0;
    int r = delta_look(db, d, numbers);
    enum statement n = ST_LANE_NUMBERS;

    if (r <= 0)
        return r;
    for (int i = 0; i < LANE_NUMBER_MAX_; i++) {
        added += d->added[i];
        sum += numbers[i] += (uint64_t)d->added[i];
    }
    bool in_line = numbers[LANE_QUEUED] > 0 && !d->parked;
    if (sum == 0)
        n = ST_LANE_DELETE;
    else if (in_line != d->in_line)
        n = ST_LANE_NUMBERS_AND_LINE;
    sqlite3_stmt *st = db_statement(db, n);
    sqlite3_bind_int64(st, 1, d->id);
    for (int i = 0; i < LANE_NUMBER_MAX_ && n != ST_LANE_DELETE; i++)
        sqlite3_bind_int64(st, 2 + i, (int64_t)numbers[i]);
    if (n == ST_LANE_NUMBERS_AND_LINE)
        sqlite3_bind_int(st, 6, in_line);
    d->in_line = in_line;
    r = db_exec(db, st);
    return r < 0 ? r : user_note(db, d->uid, added);
}

static int delta_compare(const struct lane_delta *a, const struct lane_delta *b) {
    return (a->id > b->id) - (a->id < b->id);
}

static int users_write(struct db *db) {
    sqlite3_stmt *st = db_statement(db, ST_USER_ADD);

    for (struct user_delta *u = db->users; u; u = u->hh.next) {
        if (u->added == 0)
            continue;
        sqlite3_bind_int64(st, 1, u->uid);
        sqlite3_bind_int64(st, 2, u->added);
        int r = db_exec(db, st);
        if (r < 0)
            return r;
        u->added = 0;
    }
    return 0;
}

int lanes_write(struct db *db) {
    struct lane_delta *d;

    if (db->lanes_dirty >= SORT_MIN)
        HASH_SORT(db->lanes, delta_compare);
    for (d = db->lanes; d && db->lanes_dirty > 0; d = d->hh.next) {
        if (!d->dirty)
            continue;
        int r = delta_write(db, d);
        if (r < 0)
            return r;
        memset(d->added, 0, sizeof(d->added));
        d->dirty = false;
        db->lanes_dirty--;
    }
    return users_write(db);
}

static int ready_add(struct db *db, const struct lane_delta *d) {
    if (db->n_ready == db->ready_room) {
        size_t room = MAX(db->ready_room * 2, 64u);
        void *p = reallocarray(db->ready, room, sizeof(*db->ready));

        if (!p)
            return -ENOMEM;
        db->ready = p;
        db->ready_room = room;
    }
    db->ready[db->n_ready++] =
        (struct store_ready){d->id, d->uid, d->turn, d->first_rank, d->last_rank};
    return 0;
}

int lanes_finish(struct db *db) {
    uint64_t numbers[LANE_NUMBER_MAX_];
    int r = lanes_write(db);

    for (struct lane_delta *d = db->lanes; d && r >= 0; d = d->hh.next) {
        if (!d->ready)
            continue;
        if (!d->known)
            r = delta_look(db, d, numbers);
        if (r >= 0 && d->known && d->in_line)
            r = ready_add(db, d);
    }
    return r;
}

size_t lanes_met(const struct db *db) {
    return HASH_COUNT(db->lanes);
}

static void users_drop(struct db *db) {
    struct user_delta *u = db->users, *next;

    HASH_CLEAR(hh, db->users);
    for (; u; u = next) {
        next = u->hh.next;
        free(u);
    }
}

void lanes_drop(struct db *db) {
    struct lane_delta *d, *next;

    d = db->lanes;
    HASH_CLEAR(hh, db->lanes);
    for (; d; d = next) {
        next = d->hh.next;
        free(d);
    }
    db->lane_last = NULL;
    db->lanes_dirty = 0;
    users_drop(db);
}

/* ---- reading ---- */

int lane_read(sqlite3_stmt *st, struct store_lane *ret) {
    const char *host = (const char *)sqlite3_column_text(st, 2);
    char *copy = host ? strdup(host) : NULL;

    if (!copy)
        return -ENOMEM;
    *ret = (struct store_lane){
        .id = sqlite3_column_int64(st, 0),
        .uid = (uid_t)sqlite3_column_int64(st, 1),
        .host = copy,
        .turn = sqlite3_column_int64(st, 3),
        .queued = (uint64_t)sqlite3_column_int64(st, 4),
        .waiting = (uint64_t)sqlite3_column_int64(st, 5),
        .paused = (uint64_t)sqlite3_column_int64(st, 6),
        .due = (uint64_t)sqlite3_column_int64(st, 7),
        .failures = (unsigned)sqlite3_column_int64(st, 8),
    };
    return 0;
}

int lane_by_id(struct db *db, int64_t id, struct store_lane *ret) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANE_BY_ID);

    sqlite3_bind_int64(st, 1, id);
    int r = db_step(db, st);
    if (r <= 0)
        return r;
    r = lane_read(st, ret);
    return r < 0 ? r : 1;
}

int lanes_hasten(struct db *db) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANES_HASTEN);
    uint64_t now = now_usec(CLOCK_REALTIME);

    sqlite3_bind_int64(st, 1, (int64_t)now);
    sqlite3_bind_int64(st, 2, (int64_t)(now + HOST_WAIT_MAX));
    return db_exec(db, st);
}
