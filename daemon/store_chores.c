#include "daemon/store_chores.h"

#include <errno.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store_batch.h"
#include "daemon/store_history.h"
#include "daemon/store_lane.h"

/* Requests that come in the meantime wait for a step: it takes as many rows as go into this time.
 * That is thousands where they lie together in the indexes, and hundreds where each is on a page
 * of its own. */
#define STEP_USEC (50 * USEC_PER_MSEC)
#define STEP_ROWS_MIN 100
#define STEP_ROWS_MAX 10000

/* A client that comes back later than this to go on with a batch has to send it from the start. */
#define OPEN_MAX_USEC (UINT64_C(3600) * USEC_PER_SEC)

void chores_note_ended(struct db *db) {
    if (db->keep_age > 0 || db->keep_count > 0)
        db->chores_at = MIN(db->chores_at, history_next(db, now_usec(CLOCK_REALTIME)));
}

void chores_note_free(struct db *db) {
    db->chores_at = 0;
}

void chores_note_due(struct db *db, uint64_t due) {
    db->chores_at = MIN(db->chores_at, due);
}

void chores_note_open(struct db *db, uint64_t touched) {
    db->chores_at = MIN(db->chores_at, touched + OPEN_MAX_USEC);
}

/* A statement's next row, of a job that went from one state to another; its first columns are lane
 * and rank. */
static int row_moved(struct db *db, sqlite3_stmt *st, enum job_state from, enum job_state to) {
    db->now.counts[from == JOB_STAGED ? JOB_QUEUED : from]--;
    db->now.counts[to]++;
    return lane_note_move(db, sqlite3_column_int64(st, 0), from, to, sqlite3_column_int64(st, 1));
}

static int due_step(struct db *db, uint64_t now, uint64_t *next) {
    _cleanup_(db_resetp) sqlite3_stmt *move = db_statement(db, ST_JOBS_DUE);
    _cleanup_(db_resetp) sqlite3_stmt *first = db_statement(db, ST_DUE_FIRST);
    int r;

    sqlite3_bind_int64(move, 1, (int64_t)now);
    sqlite3_bind_int64(move, 2, db->step_rows);
    while ((r = db_step(db, move)) > 0) {
        r = row_moved(db, move, JOB_WAITING, JOB_QUEUED);
        if (r < 0)
            return r;
        fault_point(waiting_due);
    }
    if (r >= 0)
        r = db_step(db, first);
    if (r > 0)
        *next = MIN(*next, (uint64_t)sqlite3_column_int64(first, 0));
    return MIN(r, 0);
}

/* The lane is told of with all its jobs that are queued, if it has some. */
static int lane_due(struct db *db, int64_t lane) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_LANE_FIRST_RANK);

    sqlite3_bind_int64(st, 1, lane);
    int r = db_step(db, st);
    if (r > 0)
        r = lane_note_ready(db, lane, sqlite3_column_int64(st, 0), INT64_MAX);
    return r;
}

static int lanes_due_step(struct db *db, uint64_t now, uint64_t *next) {
    _cleanup_(db_resetp) sqlite3_stmt *move = db_statement(db, ST_LANES_DUE);
    _cleanup_(db_resetp) sqlite3_stmt *first = db_statement(db, ST_LANE_DUE_FIRST);
    int r;

    sqlite3_bind_int64(move, 1, (int64_t)now);
    sqlite3_bind_int64(move, 2, db->step_rows);
    while ((r = db_step(db, move)) > 0) {
        lane_note_changed(db, sqlite3_column_int64(move, 0));
        r = lane_due(db, sqlite3_column_int64(move, 0));
        if (r < 0)
            return r;
    }
    if (r >= 0)
        r = db_step(db, first);
    if (r > 0)
        *next = MIN(*next, (uint64_t)sqlite3_column_int64(first, 0));
    return MIN(r, 0);
}

static void range_bind(sqlite3_stmt *st, int64_t first, int64_t last) {
    sqlite3_bind_int64(st, 1, first);
    sqlite3_bind_int64(st, 2, last);
}

/* Those of a batch with these ids: whose time is still to come wait for it, all others are QUEUED. */
static int release_range(struct db *db, int64_t first, int64_t last, uint64_t now) {
    _cleanup_(db_resetp) sqlite3_stmt *staged = db_statement(db, ST_JOBS_STAGED);
    sqlite3_stmt *release = db_statement(db, ST_JOBS_RELEASE);
    bool any_due = false;
    int r;

    range_bind(staged, first, last);
    while ((r = db_step(db, staged)) > 0) {
        uint64_t due = (uint64_t)sqlite3_column_int64(staged, 2);

        any_due |= due > 0;
        r = row_moved(db, staged, JOB_STAGED, due > now ? JOB_WAITING : JOB_QUEUED);
        if (r < 0)
            return r;
    }
    range_bind(release, first, last);
    if (r >= 0)
        r = db_exec(db, release);
    if (r < 0 || !any_due)
        return r;
    release = db_statement(db, ST_JOBS_RELEASE_DUE);
    range_bind(release, first, last);
    sqlite3_bind_int64(release, 3, (int64_t)now);
    return db_exec(db, release);
}

static int release_step(struct db *db, uint64_t now, uint64_t *next) {
    int64_t first, last;
    struct batch b;
    int r = batch_first(db, BATCH_RELEASING, &b);

    if (r <= 0)
        return r;
    *next = 0;
    r = batch_run_next(db, &b, b.cursor, &first, &last);
    if (r < 0)
        return r;
    if (r > 0) {
        b.cursor = MIN(last, first + db->step_rows - 1);
        r = release_range(db, first, b.cursor, now);
        if (r < 0)
            return r;
        fault_point(batch_released);
    } else
        b.phase = BATCH_VISIBLE;
    b.touched = now; /* the next step is another batch's */
    return batch_put_phase(db, &b);
}

static int delete_step(struct db *db, struct batch *b) {
    _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_JOBS_DELETE);
    int64_t first, last;
    int r = batch_run_next(db, b, b->cursor, &first, &last);

    if (r < 0)
        return r;
    if (r == 0)
        return batch_delete(db, b->seen.id);
    b->cursor = MIN(last, first + db->step_rows - 1);
    sqlite3_bind_int64(st, 1, first);
    sqlite3_bind_int64(st, 2, b->cursor);
    while ((r = db_step(db, st)) > 0) {
        r = lane_note_move(db, sqlite3_column_int64(st, 0), JOB_STAGED, JOB_CANCELLED, 0);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : batch_put_phase(db, b);
}

static int expire_step(struct db *db, uint64_t now, uint64_t *next) {
    struct batch b;
    int r = batch_first(db, BATCH_EXPIRED, &b);

    if (r > 0) {
        *next = 0;
        return delete_step(db, &b);
    }
    if (r == 0)
        r = batch_first(db, BATCH_OPEN, &b);
    if (r <= 0)
        return r;
    if (b.touched + OPEN_MAX_USEC > now) {
        *next = MIN(*next, b.touched + OPEN_MAX_USEC);
        return 0;
    }
    *next = 0;
    b.phase = BATCH_EXPIRED;
    return batch_put_phase(db, &b);
}

static void step_rows_adapt(struct db *db, uint64_t took) {
    if (took > STEP_USEC)
        db->step_rows = MAX(db->step_rows / 2, STEP_ROWS_MIN);
    else if (took < STEP_USEC / 2)
        db->step_rows = MIN(db->step_rows * 2, STEP_ROWS_MAX);
}

static int chores_run(struct db *db, struct request *r) {
    uint64_t now = now_usec(CLOCK_REALTIME), next = USEC_INFINITY;
    uint64_t start = now_usec(CLOCK_MONOTONIC);
    int k;

    (void)r;
    db->step_rows = MAX(db->step_rows, STEP_ROWS_MIN);
    k = due_step(db, now, &next);
    if (k >= 0)
        k = lanes_due_step(db, now, &next);
    if (k >= 0)
        k = release_step(db, now, &next);
    if (k >= 0)
        k = expire_step(db, now, &next);
    if (k >= 0)
        k = history_step(db, now, &next);
    if (k >= 0)
        k = vacuum_step(db, start + STEP_USEC, &next);
    if (k < 0)
        return k;
    db->chores_at = next;
    if (next <= now)
        step_rows_adapt(db, now_usec(CLOCK_MONOTONIC) - start);
    return 0;
}

const struct request_kind chores_kind = {.name = "housekeeping", .run = chores_run};
