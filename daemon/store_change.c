/* Changing many jobs at a time. */

#include <errno.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store.h"
#include "daemon/store_batch.h"
#include "daemon/store_chores.h"
#include "daemon/store_history.h"
#include "daemon/store_lane.h"
#include "daemon/store_request.h"
#include "daemon/store_row.h"
#include "daemon/store_scan.h"

struct change;
/* 0, 1: the job was so already, or a negative errno. */
typedef int change_one_fn(struct db *db, const struct change *q, const struct scan_found *f);

struct change {
    struct request request;
    struct scan_filter filter;
    const struct change_kind *what;
    int64_t value;
    uint64_t now;
    store_change_fn *fn;
    void *userdata;
    int64_t *ids;
    size_t n;
    struct store_cursor next;
};

struct change_kind {
    unsigned from; /* the states that it is for */
    change_one_fn *one;
};

static int note_move(struct db *db, const struct scan_found *f, enum job_state to, int64_t rank) {
    struct db_move m = {
        .batch = f->batch, .lane = f->lane, .from = f->state, .to = to, .rank = rank};

    return db_note_move(db, &m);
}

static int job_cancel(struct db *db, const struct change *q, const struct scan_found *f) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_CANCEL);

    sqlite3_bind_int64(st, 1, f->id);
    sqlite3_bind_int64(st, 2, (int64_t)q->now);
    sqlite3_bind_int(st, 3, f->id < db->doubted || given_has(&db->given, f->id));
    int r = db_exec(db, st);
    return r < 0 ? r : note_move(db, f, JOB_CANCELLED, 0);
}

/* The lane of an ended job's host and batch, which gets one more that is queued, or waits for its
 * due time (else *ret_due is 0). */
static int lane_again(struct db *db, const struct change *q, const struct scan_found *f,
                      int64_t *ret_lane, uint64_t *ret_due) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_JOB_URL);
    _cleanup_free_ char *host = NULL;
    uint64_t added[LANE_NUMBER_MAX_] = {0};
    uid_t uid;

    sqlite3_bind_int64(st, 1, f->id);
    int r = db_step(db, st);
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    int64_t rank = sqlite3_column_int64(st, 1);
    uint64_t due = (uint64_t)sqlite3_column_int64(st, 2);
    bool waits = due > q->now;
    r = row_url_host((const char *)sqlite3_column_text(st, 0), &host);
    if (r >= 0)
        r = batch_uid(db, f->batch, &uid);
    if (r < 0)
        return r;
    *ret_due = waits ? due : 0;
    added[waits ? LANE_WAITING : LANE_QUEUED] = 1;
    return lane_add(db, uid, lane_hash(db, host), host, rank, added, waits ? INT64_MAX : rank,
                    waits ? INT64_MIN : rank, ret_lane);
}

/* What made it fail becomes an attempt among others, and it starts anew. */
static int job_retry(struct db *db, const struct change *q, const struct scan_found *f) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_RETRY);
    sqlite3_stmt *keep = db_statement(db, ST_ATTEMPT_KEEP);
    enum job_state to;
    uint64_t due;
    int64_t lane;

    sqlite3_bind_int64(keep, 1, f->id);
    int r = row_attempt_keep(db, keep, f->id);
    if (r >= 0)
        r = lane_again(db, q, f, &lane, &due);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, f->id);
    sqlite3_bind_int64(st, 2, lane);
    sqlite3_bind_int(st, 3, due > 0);
    r = db_exec(db, st);
    if (r < 0)
        return r;
    to = due > 0 ? JOB_WAITING : JOB_QUEUED;
    if (due > 0)
        chores_note_due(db, due);
    db->now.counts[f->state]--;
    db->now.counts[to]++;
    return batch_note_end(db, f->batch, f->state, to, 0);
}

/* One that waits keeps its time. */
static int job_pause(struct db *db, const struct change *q, const struct scan_found *f) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_PAUSE);

    (void)q;
    sqlite3_bind_int64(st, 1, f->id);
    int r = db_exec(db, st);
    return r < 0 ? r : note_move(db, f, JOB_PAUSED, 0);
}

static int job_resume(struct db *db, const struct change *q, const struct scan_found *f) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_JOB_RESUME);

    sqlite3_bind_int64(st, 1, f->id);
    sqlite3_bind_int64(st, 2, (int64_t)q->now);
    int r = db_step(db, st);
    if (r <= 0)
        return r;
    uint64_t due = (uint64_t)sqlite3_column_int64(st, 1);
    if (due > 0)
        chores_note_due(db, due);
    return note_move(db, f, due > 0 ? JOB_WAITING : JOB_QUEUED, sqlite3_column_int64(st, 0));
}

static int job_reprioritise(struct db *db, const struct change *q, const struct scan_found *f) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_JOB_PRIORITY);

    sqlite3_bind_int64(st, 1, f->id);
    sqlite3_bind_int64(st, 2, q->value * (int64_t)JOB_PRIORITY_STEP);
    int r = db_step(db, st);
    if (r <= 0)
        return r < 0 ? r : 1;
    if (f->state != JOB_QUEUED)
        return 0;
    int64_t rank = sqlite3_column_int64(st, 0);
    r = lane_hurry(db, f->lane, rank);
    return r < 0 ? r : lane_note_ready(db, f->lane, rank, rank);
}

static int job_limit_rate(struct db *db, const struct change *q, const struct scan_found *f) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_RATE);

    sqlite3_bind_int64(st, 1, f->id);
    db_bind_number(st, 2, q->value);
    int r = db_exec(db, st);
    return r < 0 ? r : sqlite3_changes(db->sqlite) == 0;
}

static int job_purge(struct db *db, const struct change *q, const struct scan_found *f) {
    (void)q;
    chores_note_free(db);
    return history_delete(db, f->id, f->batch, f->state);
}

static const struct change_kind changes[] = {
    [STORE_CANCEL] = {~STATES_ENDED, job_cancel},
    [STORE_RETRY] = {STATE_BIT(JOB_FAILED) | STATE_BIT(JOB_CANCELLED), job_retry},
    [STORE_PAUSE] = {STATE_BIT(JOB_QUEUED) | STATE_BIT(JOB_WAITING), job_pause},
    [STORE_RESUME] = {STATE_BIT(JOB_PAUSED), job_resume},
    [STORE_PRIORITY] = {~STATES_ENDED, job_reprioritise},
    [STORE_RATE] = {~STATES_ENDED, job_limit_rate},
};
static const struct change_kind purge = {STATES_ENDED, job_purge};

static int change_run(struct db *db, struct request *r) {
    struct change *q = (struct change *)r;
    _cleanup_(scan_done) struct scan found = {0};
    int k = scan_run(db, &q->filter, q->what->from, &found);

    if (k < 0)
        return k;
    q->now = now_usec(CLOCK_REALTIME);
    q->ids = calloc(found.n + 1, sizeof(*q->ids));
    if (!q->ids)
        return -ENOMEM;
    for (size_t i = 0; i < found.n; i++) {
        k = q->what->one(db, q, &found.found[i]);
        if (k < 0)
            return k;
        if (k == 0 || q->filter.f.ids)
            q->ids[q->n++] = found.found[i].id;
    }
    q->next = found.next;
    fault_point(change_made);
    return 0;
}

static void change_clear(struct request *r) {
    struct change *q = (struct change *)r;

    free(q->ids);
    q->ids = NULL;
    q->n = 0;
    q->next = (struct store_cursor){0};
}

static void change_deliver(struct request *r) {
    struct change *q = (struct change *)r;

    fault_point(change_committed);
    q->fn(q->userdata, r->error, q->ids, q->n, &q->next);
}

static void change_free(struct request *r) {
    struct change *q = (struct change *)r;

    scan_filter_done(&q->filter);
    free(q);
}

static const struct request_kind change_kind = {
    .name = "change",
    .run = change_run,
    .clear = change_clear,
    .deliver = change_deliver,
    .free = change_free,
};

static int change_enqueue(struct store *s, const struct store_filter *filter,
                          const struct change_kind *what, int64_t value, store_change_fn *fn,
                          void *userdata) {
    struct change *q = calloc(1, sizeof(*q));

    if (!q || scan_filter_copy(&q->filter, filter) < 0) {
        free(q);
        return -ENOMEM;
    }
    q->request.kind = &change_kind;
    q->what = what;
    q->value = value;
    q->fn = fn;
    q->userdata = userdata;
    store_enqueue(s, &q->request);
    return 0;
}

int store_change(struct store *s, const struct store_filter *filter, enum store_change what,
                 int64_t value, store_change_fn *fn, void *userdata) {
    return change_enqueue(s, filter, &changes[what], value, fn, userdata);
}

int store_purge(struct store *s, const struct store_filter *filter, store_change_fn *fn,
                void *userdata) {
    return change_enqueue(s, filter, &purge, 0, fn, userdata);
}
