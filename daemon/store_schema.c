#include "daemon/store_schema.h"

#include <errno.h>
#include <stdio.h>

#include "common/fault.h"
#include "common/util.h"
#include "daemon/store_backup.h"
#include "daemon/store_errno.h"

/* The partial indexes and the statements name these states by number. */
_Static_assert(JOB_QUEUED == 0 && JOB_WAITING == 1 && JOB_PAUSED == 2 && JOB_DONE == 4 &&
                   JOB_FAILED == 5 && JOB_CANCELLED == 6 && JOB_STAGED == 7,
               "numbers of job states are kept in the store");

/*
 * Element v makes version v + 1 out of version v. To change the schema append an element; never
 * touch one that was in a release. It runs in one transaction on a store of any size, so prefer new
 * tables and new columns (free, ALTER TABLE ADD COLUMN) to rewritten rows.
 *
 * jobs: a queued job takes a row and an index entry. state is enum job_state without ACTIVE.
 * Results are NULL until there are any; NULL means 0 for numbers and unknown for size. lane is NULL
 * once the job has ended. The index jobs_lane gives a lane's jobs of a state in order of (rank,
 * id), but for STAGED ones, which get their entry when they are released; jobs_ended gives those
 * that have ended, the oldest first. With a thousand lanes each transaction writes a page of
 * jobs_lane for each lane: another index with a part for each lane would cost half a submission.
 * SQLite uses an index with a condition only for what has the same words in its own.
 *
 * No index has IN in its condition, for SQLite makes a table of the list at each change of a row.
 *
 * lanes: the jobs of one user for one host that have not ended; a row while there are any. hash is
 * lane_hash() of the host. Ids are given in order, so that the index entries of many new hosts'
 * jobs lie together however the hosts are called. The users' lines are the index lanes_line.
 *
 * users: how many jobs of each have not ended. WITHOUT ROWID, so that what is salvaged of a damaged
 * file can't take its rows for counters.
 *
 * kept_offset is -1 where nothing is kept and yet a part file may be there. When such a job has
 * ended the part file is to be removed; the index jobs_leftover finds it, also after a crash. It is
 * -2, and finished is negative, where the row goes with the file: history has done with it.
 * mirrors_due is "MIRROR:USEC ..." of the mirrors that asked for patience, kept_ranges what is
 * there behind kept_offset (ranges.h).
 *
 * meta: open is 1 while a program has the queue open. One that finds it so knows that the last one
 * did not close it: jobs with ids below doubted may have a part file that their rows don't know of.
 *
 * batches: phase is enum batch_phase, touched when the last chunk came or the last step was done.
 * Jobs of a batch have ids first_id..last_id; where count says that there are gaps (chunks of
 * others came in between), the runs without gaps are in batch_runs. purged counts jobs that have no
 * rows any more; when all have gone and the batch is old, it goes too.
 *
 * attempts: those that failed and were followed by another; n counts up for each job.
 */
static const char *const migrations[] = {
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "INSERT INTO meta VALUES('next_job', 1), ('next_batch', 1), ('next_lane', 1),"
    " ('open', 0), ('doubted', 0), ('store_id', lower(hex(randomblob(16))));"

    "CREATE TABLE counters(state INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
    "INSERT INTO counters VALUES(0,0), (1,0), (2,0), (3,0), (4,0), (5,0), (6,0), (7,0);"

    "CREATE TABLE batches(id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, submit_key TEXT,"
    " phase INTEGER NOT NULL, created INTEGER, touched INTEGER, finished INTEGER,"
    " count INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,"
    " cancelled INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,"
    " purged INTEGER NOT NULL DEFAULT 0,"
    " first_id INTEGER, last_id INTEGER, cursor INTEGER);"
    "CREATE UNIQUE INDEX batches_key ON batches(uid, submit_key) WHERE submit_key IS NOT NULL;"
    "CREATE INDEX batches_unfinished ON batches(phase, touched) WHERE phase <> 2;"
    "CREATE INDEX batches_gone ON batches(finished) WHERE purged = count;"
    "CREATE TABLE batch_runs(batch INTEGER, last_id INTEGER, first_id INTEGER NOT NULL,"
    " PRIMARY KEY(batch, last_id)) WITHOUT ROWID;"

    "CREATE TABLE jobs(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, batch INTEGER NOT NULL,"
    " idx INTEGER NOT NULL, lane INTEGER, rank INTEGER NOT NULL, created INTEGER NOT NULL,"
    " url TEXT NOT NULL, body TEXT, tag TEXT, rate_limit INTEGER, due INTEGER,"
    " attempts INTEGER, crashes INTEGER,"
    " http_status INTEGER, bytes INTEGER, size INTEGER, error INTEGER, worker INTEGER,"
    " flags INTEGER, started INTEGER, finished INTEGER, output TEXT, message TEXT,"
    " effective_url TEXT, content_type TEXT, digest TEXT, answer TEXT, kept_offset INTEGER,"
    " kept_total INTEGER, kept_etag TEXT, kept_modified TEXT, kept_file INTEGER,"
    " kept_source INTEGER, stalls INTEGER, blocked INTEGER, spent INTEGER, mirrors_due TEXT,"
    " kept_ranges TEXT);"
    "CREATE INDEX jobs_lane ON jobs(lane, state, rank) WHERE lane IS NOT NULL AND state <> 7;"
    "CREATE INDEX jobs_waiting ON jobs(due) WHERE state = 1;"
    "CREATE INDEX jobs_leftover ON jobs(id) WHERE kept_offset < 0 AND state > 4;"
    "CREATE INDEX jobs_ended ON jobs(finished) WHERE state >= 4 AND state <= 6;"
    "CREATE INDEX jobs_tag ON jobs(tag) WHERE tag IS NOT NULL;"

    "CREATE TABLE lanes(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " host TEXT NOT NULL, turn INTEGER NOT NULL, queued INTEGER NOT NULL,"
    " waiting INTEGER NOT NULL, paused INTEGER NOT NULL, staged INTEGER NOT NULL, due INTEGER,"
    " failures INTEGER, in_line INTEGER);"
    "CREATE INDEX lanes_hash ON lanes(hash);"
    "CREATE INDEX lanes_line ON lanes(uid, turn) WHERE in_line IS NOT NULL;"
    "CREATE INDEX lanes_due ON lanes(due) WHERE due IS NOT NULL;"

    "CREATE TABLE users(uid INTEGER PRIMARY KEY, jobs INTEGER NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE attempts(job INTEGER, n INTEGER, http_status INTEGER, bytes INTEGER,"
    " size INTEGER, error INTEGER, worker INTEGER, flags INTEGER, started INTEGER,"
    " finished INTEGER, output TEXT, message TEXT, effective_url TEXT, content_type TEXT,"
    " digest TEXT, answer TEXT, PRIMARY KEY(job, n)) WITHOUT ROWID;",
};

static int pragma_number(sqlite3 *sqlite, const char *sql, int64_t *ret) {
    sqlite3_stmt *st;

    if (sqlite3_prepare_v2(sqlite, sql, -1, &st, NULL) != SQLITE_OK)
        return -EIO;
    int r = sqlite3_step(st);
    if (r == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return r == SQLITE_ROW ? 0 : -EIO;
}

/* Which schema the file has, 0 for an empty one. */
static int version_read(sqlite3 *sqlite, const char *path, size_t newest, int64_t *ret,
                        char **ret_why) {
    int64_t application = 0, version = 0, objects = 0;

    if (pragma_number(sqlite, "PRAGMA application_id", &application) < 0 ||
        pragma_number(sqlite, "PRAGMA user_version", &version) < 0 ||
        pragma_number(sqlite, "SELECT count(*) FROM sqlite_schema", &objects) < 0)
        return store_errno_explain(sqlite, path, ret_why);

    bool ours = application == SCHEMA_APPLICATION_ID || application == BACKUP_APPLICATION_ID;
    if (objects > 0 ? !ours || version < 1 : version > 0) {
        if (asprintf(ret_why,
                     "%s is a database of another program: give dld a state directory of its own,"
                     " or move the file away",
                     path) < 0)
            *ret_why = NULL;
        return -EINVAL;
    }
    if (version > (int64_t)newest) {
        if (asprintf(ret_why,
                     "%s was written by a newer dld (schema %lld; this one, " DLD_VERSION
                     ", knows up to %zu):"
                     " start that dld again, or move the file away to start with an empty queue",
                     path, (long long)version, newest) < 0)
            *ret_why = NULL;
        return -ENOTSUP;
    }
    *ret = version;
    return 0;
}

/* WAL: a commit is one sequential write and one sync, and readers don't matter. FULL: the sync
 * happens. The connection keeps the file locked (EXCLUSIVE), so that the log's index lives in this
 * process's memory instead of a mapped file, a program that looks into the queue can't hold up
 * checkpoints, and a commit needs no locking calls. */
static const char *const settings[] = {
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0", /* db_checkpoint() does it, when nobody waits */
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -16000", /* the ends of the indexes for some thousand hosts */
    "PRAGMA secure_delete = FAST",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
};

static int settings_apply(sqlite3 *sqlite) {
    for (size_t i = 0; i < ELEMENTSOF(settings); i++)
        if (sqlite3_exec(sqlite, settings[i], NULL, NULL, NULL) != SQLITE_OK)
            return -EIO;
    return 0;
}

static int migrate(sqlite3 *sqlite, const char *recipe, int64_t version) {
    char sql[128];

    if (sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sqlite, recipe, NULL, NULL, NULL) != SQLITE_OK)
        return -EIO;
    fault_point(schema_made);
    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
             SCHEMA_APPLICATION_ID, (long long)version + 1);
    return sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

int schema_migrate(sqlite3 *sqlite, const char *path, const char *const *recipes, size_t n,
                   char **ret_why) {
    int64_t version = 0;

    if (sqlite3_exec(sqlite, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
        return store_errno_explain(sqlite, path, ret_why);
    int r = version_read(sqlite, path, n, &version, ret_why);
    if (r < 0)
        return r;
    /* Has an effect only before the first table, and writes to the file also later. */
    if (version == 0 &&
        sqlite3_exec(sqlite, "PRAGMA auto_vacuum = INCREMENTAL", NULL, NULL, NULL) != SQLITE_OK)
        return store_errno_explain(sqlite, path, ret_why);
    if (settings_apply(sqlite) < 0)
        return store_errno_explain(sqlite, path, ret_why);
    for (; version < (int64_t)n; version++)
        if (migrate(sqlite, recipes[version], version) < 0)
            return store_errno_explain(sqlite, path, ret_why);
    return 0;
}

int schema_prepare(sqlite3 *sqlite, const char *path, char **ret_why) {
    return schema_migrate(sqlite, path, migrations, ELEMENTSOF(migrations), ret_why);
}
