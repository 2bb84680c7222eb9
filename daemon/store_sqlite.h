/*
 * store_sqlite.h - the queue's database: one connection, its prepared statements, its transactions.
 *
 * Private to the store. Used by one thread at a time: the opener's, then the store's. All functions
 * return 0 or a negative errno unless they say otherwise: -ENOSPC (disk full), -EIO, -EROFS,
 * -ENOMEM, -EUCLEAN (damaged).
 *
 * Numbers that every change touches (jobs by state, by batch, the next ids) are gathered in memory
 * during a transaction and written once before its commit; a rollback forgets them.
 */
#ifndef DLD_STORE_SQLITE_H
#define DLD_STORE_SQLITE_H

#include <sqlite3.h>
#include <uthash.h>

#include "daemon/store.h"

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
    ST_BATCH_PUT,
    ST_BATCH_PUT_PHASE,
    ST_BATCH_DELETE,
    ST_RUN_NEXT,
    ST_RUN_INSERT,
    ST_RUN_EXTEND,
    ST_RUNS_DELETE,
    ST_JOB_INSERT,
    ST_JOB_GET,
    ST_JOB_BRIEF,
    ST_JOB_SCAN,
    ST_JOB_PUT,
    ST_JOB_MOVE,
    ST_JOB_CHECKPOINT,
    ST_LEFTOVER_PUT,
    ST_LEFTOVERS,
    ST_JOB_REQUEUE,
    ST_JOB_CANCEL,
    ST_JOB_RETRY,
    ST_JOBS_RELEASE,
    ST_JOBS_DUE,
    ST_JOBS_DELETE,
    ST_DUE_FIRST,
    ST_FETCH_SAME_RANK,
    ST_FETCH_HIGHER_RANK,
    ST_HOST_NEXT,
    ST_ATTEMPT_PUT,
    ST_ATTEMPT_KEEP,
    ST_ATTEMPTS_TRIM,
    ST_ATTEMPTS_GET,
    ST_MAX_
};

/* A host that got queued jobs in this transaction. */
struct db_ready {
    UT_hash_handle hh;
    struct db_ready *prev, *next;
    int64_t rank; /* the smallest of them */
    char host[];
};

/* What is kept as rows and changed by nearly every transaction. counts is by enum job_state; that
 * of STAGED and ACTIVE is always 0. */
struct db_numbers {
    uint64_t counts[JOB_STATE_MAX_];
    int64_t next_job, next_batch; /* ids; never given twice */
};

/* Fields are those of the thread that has the connection; id may be read by any. */
struct db {
    sqlite3 *sqlite;
    sqlite3_stmt *statements[ST_MAX_];
    char id[STORE_ID_LENGTH + 1];

    struct db_numbers now, committed;    /* with, and without, the transaction that runs */
    struct batch_delta *deltas;          /* hash by batch */
    struct batch_delta *delta_last;      /* most changes are to the same one again */
    struct db_ready *ready_hash, *ready; /* the same entries, as a hash and as a list */
    struct db_ready *ready_last;

    uint64_t chores_at;            /* realtime usec, when to run the chores; 0: look now */
    int64_t step_rows;             /* how many rows they take at a time */
    bool wrote;                    /* the last commit wrote something */
    int wal_frames, checkpoint_at; /* pages in the log; how many make it worth moving them */
    char error[200];               /* db_error_text() */
};

/* Opens or makes dir/queue.db, and brings an older schema up to date. On failure a new string for
 * the log is in *ret_why (NULL: out of memory). */
int db_open(struct db **ret, const char *dir, char **ret_why);
struct db *db_close(struct db *db); /* takes NULL, returns NULL */

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

/* Jobs of this host were queued, the first of them at rank. 0 or -ENOMEM. */
int db_note_ready(struct db *db, const char *host, int64_t rank);

/* A job of this batch goes from one state to another; bytes are those of one that is DONE. 0 or
 * -ENOMEM. */
int db_note_move(struct db *db, int64_t batch, enum job_state from, enum job_state to,
                 uint64_t bytes);

/* The hosts of the transactions committed; the caller's to free. */
struct db_ready *db_take_ready(struct db *db);
void db_ready_free(struct db_ready *list);

#endif
