#include "daemon/store_history.h"

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store_batch.h"

/* What is over for less than this waits, so that a step has more to do than a job. */
#define HISTORY_PAUSE USEC_PER_SEC

/* Free pages are used again before the file grows, so some are always there: it shrinks when they
 * are more than so many and more than a quarter of it. */
#define FREE_MAX 1024

/* ---- history ---- */

static uint64_t jobs_ended(const struct db *db) {
    const uint64_t *n = db->now.counts;

    return n[JOB_DONE] + n[JOB_FAILED] + n[JOB_CANCELLED];
}

uint64_t history_next(const struct db *db, uint64_t now) {
    uint64_t next = USEC_INFINITY;

    if (db->keep_count > 0 && jobs_ended(db) > db->keep_count)
        next = now + HISTORY_PAUSE;
    if (db->keep_age > 0)
        next = MIN(next, now + MAX(db->keep_age, HISTORY_PAUSE));
    return next;
}

static int row_delete(struct db *db, int64_t id, int64_t batch, enum job_state state) {
    sqlite3_stmt *st = db_statement(db, ST_ATTEMPTS_DELETE);

    sqlite3_bind_int64(st, 1, id);
    int r = db_exec(db, st);
    if (r < 0)
        return r;
    st = db_statement(db, ST_JOB_DELETE);
    sqlite3_bind_int64(st, 1, id);
    r = db_exec(db, st);
    fault_point(purge_done);
    return r < 0 ? r : db_note_purged(db, batch, state);
}

int history_delete(struct db *db, int64_t id, int64_t batch, enum job_state state) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_FORGET);

    sqlite3_bind_int64(st, 1, id);
    int r = db_exec(db, st);
    if (r < 0)
        return r;
    if (sqlite3_changes(db->sqlite) == 0)
        return row_delete(db, id, batch, state);
    fault_point(purge_deferred);
    db->leftovers = true;
    return 0;
}

int history_delete_forgotten(struct db *db, int64_t id) {
    sqlite3_stmt *st = db_statement(db, ST_JOB_FORGOTTEN);

    sqlite3_bind_int64(st, 1, id);
    int r = db_step(db, st);
    enum job_state state = (enum job_state)sqlite3_column_int(st, 0);
    int64_t batch = sqlite3_column_int64(st, 1);
    sqlite3_reset(st);
    return r > 0 ? row_delete(db, id, batch, state) : r;
}

/* Deletes up to n jobs that ended up to `until`, the oldest first; *ret_n is how many there were.
 * The index that gives them loses the one that it is at, so it is asked again for each few. */
static int jobs_purge(struct db *db, int64_t until, uint64_t n, uint64_t *ret_n) {
    struct {
        int64_t id, batch;
        enum job_state state;
    } found[64];
    size_t got = 1;
    int r = 0;

    for (*ret_n = 0; *ret_n < n && got > 0 && r >= 0; *ret_n += got) {
        sqlite3_stmt *st = db_statement(db, ST_JOBS_ENDED);

        got = 0;
        sqlite3_bind_int64(st, 1, until);
        sqlite3_bind_int64(st, 2, (int64_t)MIN(n - *ret_n, ELEMENTSOF(found)));
        while ((r = db_step(db, st)) > 0) {
            found[got].id = sqlite3_column_int64(st, 0);
            found[got].state = (enum job_state)sqlite3_column_int(st, 1);
            found[got++].batch = sqlite3_column_int64(st, 2);
        }
        sqlite3_reset(st);
        for (size_t i = 0; i < got && r >= 0; i++)
            r = history_delete(db, found[i].id, found[i].batch, found[i].state);
    }
    return r;
}

/* A statement's one number: 1, or 0: it has none. */
static int number_get(struct db *db, enum statement n, int64_t *ret) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, n);
    int r = db_step(db, st);

    if (r > 0)
        *ret = sqlite3_column_int64(st, 0);
    return r;
}

/* How many are more than are kept. Those that are forgotten already wait for their part files. */
static int jobs_over(struct db *db, uint64_t *ret) {
    uint64_t n = jobs_ended(db);
    int64_t forgotten = 0;
    int r = 0;

    if (db->keep_count > 0 && n > db->keep_count)
        r = number_get(db, ST_FORGOTTEN, &forgotten);
    n -= MIN(n, (uint64_t)forgotten);
    *ret = db->keep_count > 0 && n > db->keep_count ? n - db->keep_count : 0;
    return MIN(r, 0);
}

static int batches_purge(struct db *db, int64_t until, uint64_t *ret_n) {
    int64_t found[64];
    int r = batch_deltas_write(db);

    *ret_n = 0;
    if (r < 0)
        return r;
    sqlite3_stmt *st = db_statement(db, ST_BATCHES_GONE);
    sqlite3_bind_int64(st, 1, until);
    sqlite3_bind_int64(st, 2, ELEMENTSOF(found));
    while ((r = db_step(db, st)) > 0)
        found[(*ret_n)++] = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    for (size_t i = 0; i < *ret_n && r >= 0; i++)
        r = batch_delete(db, found[i]);
    return r;
}

/* Up to which time nothing is kept; where only a number is, that is the oldest of them. */
static int history_until(struct db *db, uint64_t now, int64_t *ret) {
    int64_t oldest = 0;
    int r = 0;

    if (db->keep_count > 0 && jobs_ended(db) >= db->keep_count)
        r = number_get(db, ST_ENDED_FIRST, &oldest);
    *ret = db->keep_age > 0 ? MAX(oldest, (int64_t)now - (int64_t)db->keep_age) : oldest;
    return MIN(r, 0);
}

/* When the oldest that is there is old enough. */
static int next_by_age(struct db *db, uint64_t now, uint64_t *next) {
    static const enum statement oldest[] = {ST_ENDED_FIRST, ST_BATCH_GONE_FIRST};

    for (size_t i = 0; i < ELEMENTSOF(oldest); i++) {
        int64_t finished;
        int r = number_get(db, oldest[i], &finished);

        if (r < 0)
            return r;
        if (r > 0)
            *next = MIN(*next, MAX((uint64_t)finished + db->keep_age, now + HISTORY_PAUSE));
    }
    return 0;
}

int history_step(struct db *db, uint64_t now, uint64_t *next) {
    uint64_t most = (uint64_t)db->step_rows, over;
    uint64_t by_count = 0, by_age = 0, batches;
    int64_t until;

    if (db->keep_age == 0 && db->keep_count == 0)
        return 0;
    int r = jobs_over(db, &over);
    if (r >= 0 && over > 0)
        r = jobs_purge(db, INT64_MAX, MIN(over, most), &by_count);
    if (r >= 0 && db->keep_age > 0 && by_count < most)
        r = jobs_purge(db, (int64_t)now - (int64_t)db->keep_age, most - by_count, &by_age);
    if (r >= 0)
        r = history_until(db, now, &until);
    if (r >= 0)
        r = batches_purge(db, until, &batches);
    if (r < 0)
        return r;
    if (by_count + by_age + batches > 0)
        *next = 0;
    return db->keep_age > 0 ? next_by_age(db, now, next) : 0;
}

/* ---- room ---- */

int vacuum_step(struct db *db, uint64_t end, uint64_t *next) {
    int64_t unused = 0, pages = 0;
    int r = number_get(db, ST_FREE_PAGES, &unused);

    if (r >= 0)
        r = number_get(db, ST_PAGES, &pages);
    if (r < 0 || unused <= FREE_MAX || unused <= pages / 4)
        return MIN(r, 0);
    *next = 0;
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_VACUUM);
    do
        r = db_step(db, st);
    while (r > 0 && now_usec(CLOCK_MONOTONIC) < end);
    return MIN(r, 0);
}
