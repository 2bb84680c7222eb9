/*
 * store_sqlite.h - the queue's database: one connection, its prepared statements, its transactions.
 *
 * Private to the store. Used by one thread at a time: the opener's, then the store's. All functions
 * return 0 or a negative errno unless they say otherwise: -ENOSPC (disk full), -EIO, -EROFS,
 * -ENOMEM, -EUCLEAN (damaged).
 *
 * Numbers that every change touches (jobs by state, by batch, by lane, the next ids) are gathered
 * in memory during a transaction and written once before its commit; a rollback forgets them.
 */
#ifndef DLD_STORE_SQLITE_H
#define DLD_STORE_SQLITE_H

#include <sqlite3.h>
#include <uthash.h>

#include "daemon/store.h"
#include "daemon/store_given.h"

#define JOB_INSERT_COLUMNS 12
#define JOBS_AT_ONCE 20

/* One name for each line of the table of SQL in store_sqlite.c; all are prepared when the store is
 * opened, so that a schema that doesn't fit is found then. */
enum statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_META_SET,
    ST_COUNTER_SET,
    ST_BATCH_ADD, /* deltas */
    ST_BATCH_BY_ID,
    ST_BATCH_BY_KEY,
    ST_BATCH_FIRST, /* the one in a phase that was touched longest ago */
    ST_BATCHES_RELEASING,
    ST_BATCH_PUT,
    ST_BATCH_PUT_PHASE,
    ST_BATCH_DELETE,
    ST_BATCH_UID,
    ST_BATCHES_GONE,
    ST_BATCH_GONE_FIRST,
    ST_RUN_NEXT,
    ST_RUN_INSERT,
    ST_RUN_EXTEND,
    ST_RUNS_DELETE,
    ST_JOB_INSERT,
    ST_JOBS_INSERT, /* JOBS_AT_ONCE of them, of JOB_INSERT_COLUMNS parameters each */
    ST_JOB_GET,
    ST_JOB_BRIEF,
    ST_JOB_SCAN,
    ST_JOB_SCAN_TAG,
    ST_JOB_SCAN_SAME_RANK,
    ST_JOB_SCAN_HIGHER_RANK,
    ST_JOB_URL,
    ST_JOB_DONE,
    ST_JOB_END,
    ST_JOB_WAIT,
    ST_JOB_HOLD,
    ST_JOB_MOVE,
    ST_JOB_CHECKPOINT,
    ST_LEFTOVER_GONE,
    ST_LEFTOVERS,
    ST_JOB_REQUEUE,
    ST_JOB_CANCEL,
    ST_JOB_PAUSE,
    ST_JOB_RESUME,
    ST_JOB_PRIORITY,
    ST_JOB_RATE,
    ST_JOB_RETRY,
    ST_JOB_FORGET,
    ST_JOB_FORGOTTEN,
    ST_JOB_DELETE,
    ST_JOBS_STAGED,
    ST_JOBS_RELEASE,
    ST_JOBS_RELEASE_DUE,
    ST_JOBS_DUE,
    ST_JOBS_DELETE,
    ST_JOBS_ENDED,
    ST_ENDED_FIRST,
    ST_FORGOTTEN,
    ST_DUE_FIRST,
    ST_FETCH_SAME_RANK,
    ST_FETCH_HIGHER_RANK,
    ST_USER_JOBS,
    ST_USER_ADD,
    ST_LANE_FIND,
    ST_LANE_INSERT,
    ST_LANE_LOOK,
    ST_LANE_NUMBERS,
    ST_LANE_NUMBERS_AND_LINE,
    ST_LANE_DELETE,
    ST_LANE_HURRY,
    ST_LANE_BY_ID,
    ST_LANE_PUT,
    ST_LANES_PARK,
    ST_LANES_DUE,
    ST_LANES_HASTEN,
    ST_LANE_DUE_FIRST,
    ST_LINE_SAME_TURN,
    ST_LINE_HIGHER_TURN,
    ST_USER_NEXT,
    ST_LANES_ALL,
    ST_LANES_OF_HOST,
    ST_LANE_FIRST_RANK,
    ST_ATTEMPT_PUT,
    ST_ATTEMPT_KEEP,
    ST_ATTEMPTS_TRIM,
    ST_ATTEMPTS_GET,
    ST_ATTEMPTS_DELETE,
    ST_FREE_PAGES,
    ST_PAGES,
    ST_VACUUM,
    ST_MAX_
};

/* What is kept as rows and changed by nearly every transaction. counts is by enum job_state; that
 * of STAGED and ACTIVE is always 0. */
struct db_numbers {
    uint64_t counts[JOB_STATE_MAX_];
    int64_t next_job, next_batch, next_lane; /* ids; never given twice */
};

/* Fields are those of the thread that has the connection; id may be read by any, and given has a
 * lock of its own. */
struct db {
    sqlite3 *sqlite;
    sqlite3_stmt *statements[ST_MAX_];
    char id[STORE_ID_LENGTH + 1];

    struct db_numbers now, committed;    /* with, and without, the transaction that runs */
    struct batch_delta *deltas;          /* hash by batch */
    struct batch_delta *delta_last;      /* most changes are to the same one again */
    struct lane_delta *lanes;            /* likewise, by lane */
    struct lane_delta *lane_last;
    struct user_delta *users; /* likewise, by uid */
    size_t lanes_dirty;        /* so many of them have something to write */
    /* Notices, of which the first n_ready_sure are of transactions that are committed. */
    struct store_ready *ready;
    size_t n_ready, n_ready_sure, ready_room;
    uint64_t hash_seed;

    uint64_t keep_age, keep_count; /* of history, 0: any */
    uint64_t chores_at;            /* realtime usec, when to run the chores; 0: look now */
    int64_t step_rows;             /* how many rows they take at a time */
    bool leftovers;                /* part files of jobs to be forgotten wait to be removed */
    int64_t doubted;               /* jobs below may have part files that their rows don't know of, */
    struct given given;            /* and so may these */
    bool wrote;                    /* the last commit wrote something */
    int wal_frames, checkpoint_at; /* pages in the log; how many make it worth moving them */
    struct {
        int64_t number;      /* 0: none is under way */
        uint64_t size;       /* of the file that is copied */
        uint64_t until, end; /* CLOCK_MONOTONIC usec: when it is given up, now and at the latest */
    } backup;
    char error[200];               /* db_error_text() */
};

/* Opens or makes dir/queue.db, and brings an older schema up to date. On failure a new string for
 * the log is in *ret_why (NULL: out of memory). */
int db_open(struct db **ret, const char *dir, char **ret_why);
struct db *db_close(struct db *db); /* takes NULL, returns NULL */

/* What the rows say of part files is all there is to know: the last words before db_close(). */
int db_settle(struct db *db);

/* ---- transactions ---- */

int db_begin(struct db *db);
int db_commit(struct db *db); /* when it or anything before it fails, db_rollback() must follow */
void db_rollback(struct db *db);

/* Moves what is in the write-ahead log into the database when the log has grown; between
 * transactions. A failure does no harm and is tried again later. */
void db_checkpoint(struct db *db);

/* ---- statements ---- */

/* The statement, to be bound and stepped; reset at the end of the scope by
 *     _cleanup_(db_resetp) sqlite3_stmt *st = db_statement(db, ST_...); */
sqlite3_stmt *db_statement(struct db *db, enum statement n);
void db_resetp(sqlite3_stmt **st);

/* 1: a row, 0: no more, or a negative errno. */
int db_step(struct db *db, sqlite3_stmt *st);

/* Runs a statement that gives no rows, and resets it. */
int db_exec(struct db *db, sqlite3_stmt *st);

/* The errno that fits the connection's last error. */
int db_error(struct db *db);
/* What SQLite said of the last error since db_begin(), "" if it had none. */
const char *db_error_text(struct db *db);

/* Text that stays until the statement has run; NULL is bound as NULL. */
void db_bind_text(sqlite3_stmt *st, int at, const char *s);
/* 0 is bound as NULL, and NULL is read as 0: it takes no room. */
void db_bind_number(sqlite3_stmt *st, int at, int64_t n);

/* ---- changes ---- */

/* A job goes from one state to another. */
struct db_move {
    int64_t batch, lane;
    enum job_state from, to;
    int64_t rank;   /* of one that is QUEUED then */
    uint64_t bytes; /* of one that is DONE then */
};

/* Notes what that does to the numbers of jobs, of its batch and of its lane. 0 or -ENOMEM. */
int db_note_move(struct db *db, const struct db_move *m);

/* The row of an ended job is deleted. 0 or -ENOMEM. */
int db_note_purged(struct db *db, int64_t batch, enum job_state from);

#endif
