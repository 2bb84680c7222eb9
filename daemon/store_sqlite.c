#include "daemon/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store_backup.h"
#include "daemon/store_batch.h"
#include "daemon/store_chores.h"
#include "daemon/store_errno.h"
#include "daemon/store_lane.h"
#include "daemon/store_repair.h"
#include "daemon/store_row.h"
#include "daemon/store_schema.h"
#include "daemon/store_wal.h"

/* Pages in the log (of 4 KiB) at which it is moved into the database: each page is moved once
 * however often it was written to the log, and a start after a crash reads all of it. */
#ifdef FAULTS
#define CHECKPOINT_FRAMES 16 /* soon enough to be killed at it */
#else
#define CHECKPOINT_FRAMES 16384
#endif

#define RESULT_PARAMETERS "?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20"

/* What a job's end and its waiting for another attempt record alike. */
#define PUT_RESULT                                                                                 \
    "attempts = ?5, crashes = ?6, (" RESULT_COLUMNS ", " KEPT_COLUMNS ") = (" RESULT_PARAMETERS    \
    ", ?21, ?22, ?23, ?24, ?25, ?26, ?32), (" PATIENCE_COLUMNS ") = (?27, ?28, ?29, ?30)"                            \
    " WHERE id = ?1 AND state = ?2 AND lane = ?31"

#define NEXT_ATTEMPT "ifnull((SELECT max(n) FROM attempts WHERE job = ?1), 0) + 1"

#define JOB_INSERT                                                                                 \
    "INSERT OR FAIL INTO jobs(id, state, batch, idx, rank, created, lane, url, body, due, tag,"    \
    " rate_limit) VALUES"
#define JOB_VALUES "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define JOB_VALUES_5                                                                               \
    JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES

/* OR FAIL where many rows are changed or returned: SQLite would else copy each page to a temporary
 * file before it changes it, to undo that statement alone. Here all of the transaction is undone.
 */
static const char *const statement_sql[ST_MAX_] = {
    [ST_BEGIN] = "BEGIN",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_META_SET] = "UPDATE meta SET value = ?2 WHERE name = ?1",
    [ST_COUNTER_SET] = "UPDATE counters SET n = ?2 WHERE state = ?1",

    [ST_BATCH_ADD] = "UPDATE batches SET done = done + ?2, failed = failed + ?3,"
                     " cancelled = cancelled + ?4, bytes = bytes + ?5,"
                     " purged = purged + ?7, finished ="
                     " iif(done + ?2 + failed + ?3 + cancelled + ?4 = count, ifnull(finished, ?6),"
                     " NULL)"
                     " WHERE id = ?1",
    [ST_BATCH_BY_ID] = "SELECT " BATCH_COLUMNS " FROM batches WHERE id = ?1",
    [ST_BATCH_BY_KEY] = "SELECT " BATCH_COLUMNS " FROM batches WHERE uid = ?1 AND submit_key = ?2",
    [ST_BATCH_FIRST] = "SELECT " BATCH_COLUMNS " FROM batches WHERE phase <> 2 AND phase = ?1"
                       " ORDER BY touched LIMIT 1",
    [ST_BATCHES_RELEASING] = "SELECT min(max(coalesce(cursor, 0), first_id - 1)), max(last_id)"
                             " FROM batches WHERE phase <> 2 AND phase = 1",
    [ST_BATCH_PUT] =
        "INSERT INTO batches(id, uid, submit_key, phase, created, touched, finished, count,"
        " first_id, last_id, cursor) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT(id) DO UPDATE SET phase = ?4, touched = ?6, finished = ?7,"
        " count = ?8, first_id = ?9, last_id = ?10, cursor = ?11",
    [ST_BATCH_PUT_PHASE] = "UPDATE batches SET phase = ?2, cursor = ?3, touched = ?4,"
                           " submit_key = iif(?2 = 3, NULL, submit_key) WHERE id = ?1",
    [ST_BATCH_DELETE] = "DELETE FROM batches WHERE id = ?1",
    [ST_BATCH_UID] = "SELECT uid FROM batches WHERE id = ?1",
    [ST_BATCHES_GONE] = "SELECT id FROM batches WHERE purged = count AND finished <= ?1"
                        " ORDER BY finished LIMIT ?2",
    [ST_BATCH_GONE_FIRST] = "SELECT finished FROM batches WHERE purged = count AND finished > 0"
                            " ORDER BY finished LIMIT 1",
    [ST_RUN_NEXT] = "SELECT first_id, last_id FROM batch_runs WHERE batch = ?1 AND last_id > ?2"
                    " ORDER BY last_id LIMIT 1",
    [ST_RUN_INSERT] = "INSERT INTO batch_runs(batch, first_id, last_id) VALUES(?1, ?2, ?3)",
    [ST_RUN_EXTEND] = "UPDATE batch_runs SET last_id = ?3 WHERE batch = ?1 AND last_id = ?2",
    [ST_RUNS_DELETE] = "DELETE FROM batch_runs WHERE batch = ?1",

    [ST_JOB_INSERT] = JOB_INSERT JOB_VALUES,
    [ST_JOBS_INSERT] = JOB_INSERT JOB_VALUES_5 ", " JOB_VALUES_5 ", " JOB_VALUES_5
                                  ", " JOB_VALUES_5,
    [ST_JOB_GET] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1",
    [ST_JOB_BRIEF] = "SELECT " BRIEF_COLUMNS " FROM jobs WHERE id = ?1",
    [ST_JOB_SCAN] =
        "SELECT " BRIEF_COLUMNS " FROM jobs WHERE id >= ?1 AND id <= ?2 ORDER BY id",
    [ST_JOB_SCAN_TAG] =
        "SELECT " BRIEF_COLUMNS " FROM jobs WHERE tag = ?1 AND id > ?2 ORDER BY id",
    [ST_JOB_SCAN_SAME_RANK] = "SELECT " BRIEF_COLUMNS " FROM jobs WHERE lane = ?1 AND state = ?2"
                              " AND state <> 7 AND rank = ?3 AND id > ?4 ORDER BY id",
    [ST_JOB_SCAN_HIGHER_RANK] = "SELECT " BRIEF_COLUMNS " FROM jobs WHERE lane = ?1"
                                " AND state = ?2 AND state <> 7 AND rank > ?3 ORDER BY rank, id",
    [ST_JOB_URL] = "SELECT url, rank, due FROM jobs WHERE id = ?1",
    [ST_JOB_DONE] = "UPDATE jobs SET state = ?3, due = NULL, lane = NULL, attempts = ?5, crashes = ?6,"
                    " (" RESULT_COLUMNS ") = (" RESULT_PARAMETERS "),"
                    " (" KEPT_COLUMNS ", " PATIENCE_COLUMNS ") = (NULL, NULL, NULL, NULL, NULL, NULL,"
                    " NULL, NULL, NULL, NULL, NULL)"
                    " WHERE id = ?1 AND state = ?2 AND lane = ?31",
    [ST_JOB_END] = "UPDATE jobs SET state = ?3, due = NULL, lane = NULL, " PUT_RESULT,
    [ST_JOB_WAIT] = "UPDATE jobs SET state = ?3, due = ?4, " PUT_RESULT,
    [ST_JOB_HOLD] = "UPDATE jobs SET state = ?3, due = ?4, attempts = ?5, crashes = ?6,"
                    " (" KEPT_COLUMNS ") = (?7, ?8, ?9, ?10, ?11, ?12, ?32),"
                    " (" PATIENCE_COLUMNS ") = (?13, ?14, ?15, ?16)"
                    " WHERE id = ?1 AND state = ?2 AND lane = ?31",
    [ST_JOB_MOVE] = "UPDATE jobs SET lane = ?2, url = ?3 WHERE id = ?1 AND (lane <> ?2 OR url <> ?3)",
    [ST_JOB_CHECKPOINT] = "UPDATE jobs SET (" KEPT_COLUMNS ") = (?2, ?3, ?4, ?5, ?6, ?7, ?32)"
                          " WHERE id = ?1 AND state = 0",
    [ST_LEFTOVER_GONE] = "UPDATE jobs SET kept_offset = NULL WHERE id = ?1 AND state IN (5, 6)"
                         " AND kept_offset = -1",
    [ST_LEFTOVERS] = "SELECT " JOB_COLUMNS " FROM jobs WHERE kept_offset < 0 AND state > 4"
                     " ORDER BY id LIMIT ?1",
    [ST_JOB_REQUEUE] = "UPDATE jobs SET state = 0, due = NULL, attempts = ?3, crashes = ?4"
                       " WHERE id = ?1 AND state = ?2 AND lane = ?31",
    /* One that was never tried keeps its not_before, for it may be tried again. */
    [ST_JOB_CANCEL] = "UPDATE jobs SET state = 6, lane = NULL,"
                      " due = iif(attempts IS NULL, due, NULL), finished = ?2,"
                      " error = NULL, message = NULL,"
                      " kept_offset = iif(kept_offset IS NULL AND NOT ?3, NULL, -1) WHERE id = ?1",
    [ST_JOB_PAUSE] = "UPDATE jobs SET state = 2 WHERE id = ?1",
    [ST_JOB_RESUME] = "UPDATE OR FAIL jobs SET state = iif(due > ?2, 1, 0), due = iif(due > ?2, due, NULL)"
                      " WHERE id = ?1 RETURNING rank, due",
    [ST_JOB_PRIORITY] = "UPDATE OR FAIL jobs SET rank = created - ?2 WHERE id = ?1 AND rank <> created - ?2"
                        " RETURNING rank",
    [ST_JOB_RATE] = "UPDATE jobs SET rate_limit = ?2 WHERE id = ?1 AND rate_limit IS NOT ?2",
    [ST_JOB_FORGET] = "UPDATE jobs SET kept_offset = -2, finished = -abs(finished)"
                      " WHERE id = ?1 AND state > 4 AND kept_offset IS NOT NULL",
    [ST_JOB_FORGOTTEN] = "SELECT state, batch FROM jobs WHERE id = ?1 AND kept_offset = -2",
    [ST_JOB_DELETE] = "DELETE FROM jobs WHERE id = ?1",
    [ST_JOB_RETRY] = "UPDATE jobs SET state = iif(?3, 1, 0), due = iif(?3, due, NULL), lane = ?2,"
                     " attempts = NULL, crashes = NULL,"
                     " kept_offset = max(kept_offset, -1),"
                     " (" PATIENCE_COLUMNS ") = (NULL, NULL, NULL, NULL), (" RESULT_COLUMNS
                     ") = (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
                     " NULL, NULL)"
                     " WHERE id = ?1",
    /* Without RETURNING, which would have SQLite copy each row twice. */
    [ST_JOBS_STAGED] =
        "SELECT lane, rank, due FROM jobs WHERE id >= ?1 AND id <= ?2 AND state = 7",
    [ST_JOBS_RELEASE] = "UPDATE OR FAIL jobs SET state = 0"
                        " WHERE id >= ?1 AND id <= ?2 AND state = 7 AND due IS NULL",
    [ST_JOBS_RELEASE_DUE] = "UPDATE OR FAIL jobs SET state = iif(due > ?3, 1, 0),"
                            " due = iif(due > ?3, due, NULL)"
                            " WHERE id >= ?1 AND id <= ?2 AND state = 7",
    [ST_JOBS_DUE] = "UPDATE OR FAIL jobs SET state = 0, due = NULL WHERE id IN (SELECT id FROM jobs"
                    " WHERE state = 1 AND due <= ?1 ORDER BY due LIMIT ?2) RETURNING lane, rank",
    [ST_JOBS_DELETE] = "DELETE FROM jobs WHERE id >= ?1 AND id <= ?2 RETURNING lane",
    [ST_JOBS_ENDED] = "SELECT id, state, batch FROM jobs WHERE state >= 4 AND state <= 6"
                      " AND finished > 0 AND finished <= ?1 ORDER BY finished LIMIT ?2",
    [ST_ENDED_FIRST] = "SELECT finished FROM jobs WHERE state >= 4 AND state <= 6"
                       " AND finished > 0 ORDER BY finished LIMIT 1",
    [ST_FORGOTTEN] = "SELECT count(*) FROM jobs WHERE state >= 4 AND state <= 6 AND finished < 0",
    [ST_DUE_FIRST] = "SELECT due FROM jobs WHERE state = 1 ORDER BY due LIMIT 1",

    /* Two statements, because SQLite seeks by a row value only up to the last named column of an
     * index: behind (rank, id) it would read all ids of that rank, and a batch has one rank. */
    [ST_FETCH_SAME_RANK] = "SELECT " QUEUED_COLUMNS " FROM jobs WHERE lane = ?1 AND state = 0"
                           " AND state <> 7 AND rank = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
    [ST_FETCH_HIGHER_RANK] = "SELECT " QUEUED_COLUMNS " FROM jobs WHERE lane = ?1 AND state = 0"
                             " AND state <> 7 AND rank > ?2 ORDER BY rank, id LIMIT ?4",

    [ST_USER_JOBS] = "SELECT jobs FROM users WHERE uid = ?1",
    [ST_USER_ADD] = "INSERT INTO users VALUES(?1, ?2) ON CONFLICT(uid) DO UPDATE SET jobs = jobs + ?2",
    [ST_LANE_FIND] = "SELECT id FROM lanes WHERE hash = ?1 AND uid = ?2 AND host = ?3",
    [ST_LANE_INSERT] = "INSERT INTO lanes(id, hash, uid, host, turn, queued, waiting, paused,"
                       " staged, in_line) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
                       " iif(?6 > 0, 1, NULL))",
    [ST_LANE_LOOK] = "SELECT uid, turn, due IS NULL, in_line IS NOT NULL, queued, waiting, paused,"
                     " staged FROM lanes WHERE id = ?1",
    /* Two, because the first does without a change of the index. */
    [ST_LANE_NUMBERS] = "UPDATE lanes SET queued = ?2, waiting = ?3, paused = ?4, staged = ?5"
                        " WHERE id = ?1",
    [ST_LANE_NUMBERS_AND_LINE] = "UPDATE lanes SET queued = ?2, waiting = ?3, paused = ?4,"
                                 " staged = ?5, in_line = iif(?6, 1, NULL) WHERE id = ?1",
    [ST_LANE_DELETE] = "DELETE FROM lanes WHERE id = ?1",
    [ST_LANE_HURRY] = "UPDATE lanes SET turn = ?2 WHERE id = ?1 AND turn > ?2",
    [ST_LANE_BY_ID] = "SELECT " LANE_COLUMNS " FROM lanes WHERE id = ?1",
    [ST_LANE_PUT] = "UPDATE lanes SET turn = ?2, due = ?3, failures = ?4,"
                    " in_line = iif(?3 IS NULL AND queued > 0, 1, NULL) WHERE id = ?1",
    [ST_LANES_PARK] = "UPDATE OR FAIL lanes SET due = ?3, failures = ?4, in_line = NULL"
                      " WHERE hash = ?1 AND host = ?2 RETURNING id",
    [ST_LANES_DUE] = "UPDATE OR FAIL lanes SET due = NULL, in_line = iif(queued > 0, 1, NULL)"
                     " WHERE id IN (SELECT id FROM lanes"
                     " WHERE due IS NOT NULL AND due <= ?1 ORDER BY due LIMIT ?2)"
                     " RETURNING id, queued",
    [ST_LANES_HASTEN] = "UPDATE lanes SET due = ?1 WHERE due IS NOT NULL AND due > ?2",
    [ST_LANE_DUE_FIRST] = "SELECT due FROM lanes WHERE due IS NOT NULL ORDER BY due LIMIT 1",
    /* Two, as for jobs. */
    [ST_LINE_SAME_TURN] = "SELECT " LANE_COLUMNS " FROM lanes WHERE in_line IS NOT NULL"
                          " AND uid = ?1 AND turn = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
    [ST_LINE_HIGHER_TURN] = "SELECT " LANE_COLUMNS " FROM lanes WHERE in_line IS NOT NULL"
                            " AND uid = ?1 AND turn > ?2 ORDER BY turn, id LIMIT ?4",
    [ST_USER_NEXT] = "SELECT uid FROM lanes WHERE in_line IS NOT NULL AND uid > ?1"
                     " ORDER BY uid LIMIT 1",
    [ST_LANES_ALL] = "SELECT " LANE_COLUMNS " FROM lanes WHERE id > ?1 ORDER BY id LIMIT ?2",
    [ST_LANES_OF_HOST] = "SELECT " LANE_COLUMNS " FROM lanes WHERE hash = ?3 AND host = ?4"
                         " AND id > ?1 ORDER BY id LIMIT ?2",
    [ST_LANE_FIRST_RANK] = "SELECT rank FROM jobs WHERE lane = ?1 AND state = 0"
                           " AND state <> 7 ORDER BY rank LIMIT 1",

    [ST_ATTEMPT_PUT] = "INSERT INTO attempts(job, n, " RESULT_COLUMNS ") VALUES(?1, " NEXT_ATTEMPT
                       ", " RESULT_PARAMETERS ") RETURNING n",
    [ST_ATTEMPT_KEEP] = "INSERT INTO attempts(job, n, " RESULT_COLUMNS ") SELECT id, " NEXT_ATTEMPT
                        ", " RESULT_COLUMNS " FROM jobs WHERE id = ?1 AND error > 0 RETURNING n",
    [ST_ATTEMPTS_TRIM] = "DELETE FROM attempts WHERE job = ?1 AND n <= ?2",
    [ST_ATTEMPTS_DELETE] = "DELETE FROM attempts WHERE job = ?1",
    [ST_FREE_PAGES] = "PRAGMA freelist_count",
    [ST_PAGES] = "PRAGMA page_count",
    [ST_VACUUM] = "PRAGMA incremental_vacuum",
    [ST_ATTEMPTS_GET] = "SELECT " RESULT_COLUMNS " FROM attempts WHERE job = ?1 ORDER BY n",
};

/* ---- errors ---- */

int db_error(struct db *db) {
    snprintf(db->error, sizeof(db->error), "%s (SQLite %d)", sqlite3_errmsg(db->sqlite),
             sqlite3_extended_errcode(db->sqlite));
    return store_errno(db->sqlite);
}

const char *db_error_text(struct db *db) {
    return db->error;
}

/* ---- statements ---- */

sqlite3_stmt *db_statement(struct db *db, enum statement n) {
    return db->statements[n];
}

void db_resetp(sqlite3_stmt **st) {
    sqlite3_reset(*st);
}

int db_step(struct db *db, sqlite3_stmt *st) {
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return db_error(db);
    }
}

int db_exec(struct db *db, sqlite3_stmt *st) {
    int r = db_step(db, st);

    sqlite3_reset(st);
    return MIN(r, 0);
}

/* Binding can't fail here: the numbers are in range, and static text is not copied. */
void db_bind_text(sqlite3_stmt *st, int at, const char *s) {
    if (s)
        sqlite3_bind_text(st, at, s, (int)strlen(s), SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

void db_bind_number(sqlite3_stmt *st, int at, int64_t n) {
    if (n != 0)
        sqlite3_bind_int64(st, at, n);
    else
        sqlite3_bind_null(st, at);
}

/* ---- changes ---- */

/* What is STAGED and moves is in a complete batch, so it is counted as QUEUED. */
static enum job_state counted(enum job_state s) {
    return s == JOB_STAGED ? JOB_QUEUED : s;
}

int db_note_move(struct db *db, const struct db_move *m) {
    int r;

    db->now.counts[counted(m->from)]--;
    db->now.counts[counted(m->to)]++;
    r = lane_note_move(db, m->lane, m->from, m->to, m->rank);
    if (r < 0 || (!job_state_ended(m->from) && !job_state_ended(m->to)))
        return r;
    chores_note_ended(db);
    return batch_note_end(db, m->batch, m->from, m->to, m->bytes);
}

int db_note_purged(struct db *db, int64_t batch, enum job_state from) {
    db->now.counts[from]--;
    return batch_note_purged(db, batch);
}

/* ---- transactions ---- */

int db_begin(struct db *db) {
    db->committed = db->now;
    db->error[0] = '\0';
    return db_exec(db, db_statement(db, ST_BEGIN));
}

void db_rollback(struct db *db) {
    /* SQLite has done it already for some errors. */
    if (!sqlite3_get_autocommit(db->sqlite))
        db_exec(db, db_statement(db, ST_ROLLBACK));
    db->now = db->committed;
    batch_deltas_drop(db);
    lanes_drop(db);
    db->n_ready = db->n_ready_sure;
    db->chores_at = 0; /* it may have been set by what is undone now */
}

static int meta_set(struct db *db, const char *name, int64_t value) {
    sqlite3_stmt *st = db_statement(db, ST_META_SET);

    db_bind_text(st, 1, name);
    sqlite3_bind_int64(st, 2, value);
    return db_exec(db, st);
}

static int numbers_write(struct db *db) {
    const struct db_numbers *now = &db->now, *then = &db->committed;
    sqlite3_stmt *st = db_statement(db, ST_COUNTER_SET);
    int r = 0;

    for (int i = 0; i < JOB_STATE_MAX_ && r >= 0; i++) {
        if (now->counts[i] == then->counts[i])
            continue;
        sqlite3_bind_int(st, 1, i);
        sqlite3_bind_int64(st, 2, (int64_t)now->counts[i]);
        r = db_exec(db, st);
    }
    if (r >= 0 && now->next_job != then->next_job)
        r = meta_set(db, "next_job", now->next_job);
    if (r >= 0 && now->next_batch != then->next_batch)
        r = meta_set(db, "next_batch", now->next_batch);
    if (r >= 0 && now->next_lane != then->next_lane)
        r = meta_set(db, "next_lane", now->next_lane);
    return r;
}

int db_commit(struct db *db) {
    int r = batch_deltas_write(db);

    if (r >= 0)
        r = lanes_finish(db);
    if (r >= 0)
        r = numbers_write(db);
    db->wrote = sqlite3_txn_state(db->sqlite, "main") == SQLITE_TXN_WRITE;
    fault_point(commit_due);
    if (r >= 0)
        r = db_exec(db, db_statement(db, ST_COMMIT));
    if (r < 0)
        return r;
    fault_point(commit_done);
    lanes_drop(db);
    db->n_ready_sure = db->n_ready;
    return 0;
}

static int on_commit(void *userdata, sqlite3 *sqlite, const char *name, int frames) {
    struct db *db = userdata;

    (void)sqlite;
    (void)name;
    db->wal_frames = frames;
    return SQLITE_OK;
}

void db_checkpoint(struct db *db) {
    if (db->wal_frames < db->checkpoint_at || backup_holds(db))
        return;
    fault_point(log_moved_due);
    if (sqlite3_wal_checkpoint_v2(db->sqlite, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) ==
        SQLITE_OK)
        db->checkpoint_at = CHECKPOINT_FRAMES;
    else
        db->checkpoint_at = db->wal_frames + CHECKPOINT_FRAMES;
    db->wal_frames = 0;
    fault_point(log_moved);
}

/* ---- opening ---- */

static int statements_prepare(struct db *db) {
    for (int i = 0; i < ST_MAX_; i++)
        if (sqlite3_prepare_v3(db->sqlite, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &db->statements[i], NULL) != SQLITE_OK)
            return db_error(db);
    return 0;
}

/* 0; there is no row: -EUCLEAN. */
static int number_read(struct db *db, sqlite3_stmt *st, int64_t *ret) {
    int r = db_step(db, st);

    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

static void finalizep(sqlite3_stmt **st) {
    sqlite3_finalize(*st);
}

static int meta_number(struct db *db, sqlite3_stmt *st, const char *name, int64_t *ret) {
    db_bind_text(st, 1, name);
    int r = number_read(db, st, ret);
    sqlite3_reset(st);
    return r;
}

static int meta_read(struct db *db) {
    _cleanup_(finalizep) sqlite3_stmt *st = NULL;
    const char *text;
    int64_t open;
    int r;

    if (sqlite3_prepare_v2(db->sqlite, "SELECT value FROM meta WHERE name = ?1", -1, &st, NULL) !=
        SQLITE_OK)
        return db_error(db);
    r = meta_number(db, st, "next_job", &db->now.next_job);
    if (r >= 0)
        r = meta_number(db, st, "next_batch", &db->now.next_batch);
    if (r >= 0)
        r = meta_number(db, st, "next_lane", &db->now.next_lane);
    if (r >= 0)
        r = meta_number(db, st, "open", &open);
    if (r >= 0)
        r = meta_number(db, st, "doubted", &db->doubted);
    if (r < 0)
        return r;
    if (open)
        db->doubted = db->now.next_job;
    db_bind_text(st, 1, "store_id");
    r = db_step(db, st);
    text = r > 0 ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (!text || strlen(text) != STORE_ID_LENGTH)
        return r < 0 ? r : -EUCLEAN;
    strcpy(db->id, text);
    memcpy(&db->hash_seed, db->id, sizeof(db->hash_seed));
    return 0;
}

static int counters_read(struct db *db) {
    _cleanup_(finalizep) sqlite3_stmt *st = NULL;
    int r;

    if (sqlite3_prepare_v2(db->sqlite, "SELECT state, n FROM counters", -1, &st, NULL) != SQLITE_OK)
        return db_error(db);
    while ((r = db_step(db, st)) > 0) {
        int state = sqlite3_column_int(st, 0);

        if (state < 0 || state >= JOB_STATE_MAX_)
            return -EUCLEAN;
        db->now.counts[state] = (uint64_t)sqlite3_column_int64(st, 1);
    }
    return r;
}

static int sync_parent(const char *path) {
    _cleanup_free_ char *dir = strdup(path);

    if (!dir)
        return -ENOMEM;
    *strrchr(dir, '/') = '\0';
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Made here and not by SQLite, because nobody else may read what is in it: URLs and headers carry
 * secrets. The log beside it gets the same mode. It gets its name when there are tables in it, so
 * that an empty one is a damaged one. */
static int file_make(const char *path, char **ret_why) {
    _cleanup_free_ char *new = NULL;
    sqlite3 *sqlite = NULL;

    if (asprintf(&new, "%s.new", path) < 0)
        return -ENOMEM;
    unlink(new);
    _cleanup_close_ int fd = open(new, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    int r = fd < 0 ? -errno : 0;
    if (r >= 0 && sqlite3_open_v2(new, &sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE,
                                  NULL) != SQLITE_OK)
        r = -EIO;
    if (r >= 0)
        r = schema_prepare(sqlite, new, ret_why);
    /* Closing does this too, but doesn't tell whether it did. */
    if (r >= 0 && sqlite3_wal_checkpoint_v2(sqlite, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                            NULL) != SQLITE_OK)
        r = sqlite3_errcode(sqlite) == SQLITE_FULL ? -ENOSPC : -EIO;
    if (sqlite3_close(sqlite) != SQLITE_OK && r >= 0)
        r = -EIO;
    if (r >= 0 && (rename(new, path) < 0 || sync_parent(path) < 0))
        r = -errno;
    if (r < 0 && !*ret_why && asprintf(ret_why, "%s can't be made: %s", path, strerror(-r)) < 0)
        *ret_why = NULL;
    if (r < 0)
        unlink(new);
    return r;
}

static int db_load(struct db *db, const char *path, char **ret_why) {
    int r = repair_look(path, ret_why), copy = 0;

    if (r == 0)
        r = file_make(path, ret_why);
    if (r < 0)
        return r;
    copy = backup_find(path);
    if (copy < 0)
        return copy;
    r = store_wal_register();
    if (r < 0)
        return r;
    if (sqlite3_open_v2(path, &db->sqlite,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        STORE_WAL_VFS) != SQLITE_OK)
        return db->sqlite ? db_error(db) : -ENOMEM;
    r = schema_prepare(db->sqlite, path, ret_why);
    if (r < 0)
        return r;
    if (copy)
        r = backup_adopt(db->sqlite);
    if (r >= 0)
        r = statements_prepare(db);
    if (r >= 0)
        r = meta_read(db);
    if (r >= 0)
        r = counters_read(db);
    if (r >= 0)
        r = repair_look_rows(db->sqlite, ret_why);
    if (r >= 0)
        r = meta_set(db, "doubted", db->doubted);
    if (r >= 0)
        r = meta_set(db, "open", 1);
    if (r >= 0)
        r = lanes_hasten(db);
    if (r < 0) /* nothing is written to it, not even what its log has */
        sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (r == -EUCLEAN && !*ret_why)
        *ret_why = repair_advice(path, db_error_text(db));
    if (r < 0 && !*ret_why)
        store_errno_explain(db->sqlite, path, ret_why);
    return r;
}

static void db_closep(struct db **db) {
    db_close(*db);
}

int db_open(struct db **ret, const char *dir, char **ret_why) {
    _cleanup_(db_closep) struct db *db = calloc(1, sizeof(*db));
    _cleanup_free_ char *path = NULL;
    int r;

    *ret_why = NULL;
    if (db)
        given_init(&db->given);
    /* Counting its memory takes a lock for each piece of it. Too late once it is in use: no matter.
     * */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (!db || asprintf(&path, "%s/queue.db", dir) < 0)
        return -ENOMEM;
    r = db_load(db, path, ret_why);
    if (r < 0)
        return r;
    db->checkpoint_at = CHECKPOINT_FRAMES;
    sqlite3_wal_hook(db->sqlite, on_commit, db);
    *ret = TAKE_PTR(db);
    return 0;
}

int db_settle(struct db *db) {
    return meta_set(db, "open", 0);
}

struct db *db_close(struct db *db) {
    if (!db)
        return NULL;
    for (int i = 0; i < ST_MAX_; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->sqlite);
    batch_deltas_drop(db);
    lanes_drop(db);
    given_done(&db->given);
    free(db->ready);
    free(db);
    return NULL;
}
