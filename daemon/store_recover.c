#include "daemon/store_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/store_backup.h"
#include "daemon/store_lane.h"
#include "daemon/store_row.h"
#include "daemon/store_salvage.h"
#include "daemon/store_schema.h"

/* What the rows say is completed, and what is kept of them in numbers counted anew, in order. ?1 is
 * the time, ?2 whose the jobs are of which nobody knows. batch_phase: 0 open, 1 releasing, 2
 * visible, 3 expired. */
static const char *const steps[] = {
    /* A batch with a job that is not STAGED was complete; where one is, it is released again. */
    "CREATE TEMP TABLE found(batch INTEGER PRIMARY KEY, n, done, failed, cancelled, staged, bytes,"
    " first_id, last_id, runs, created, uid)",
    "INSERT INTO found SELECT batch, count(*), sum(state = 4), sum(state = 5), sum(state = 6),"
    " sum(state = 7), sum(iif(state = 4, ifnull(j.bytes, 0), 0)), min(j.id), max(j.id),"
    " count(DISTINCT j.id - idx), min(created), max(o.uid) FROM jobs j"
    " LEFT JOIN old_lanes o ON o.id = j.lane GROUP BY batch",
    "INSERT OR IGNORE INTO batches(id, uid, phase, created, touched, count, cursor)"
    " SELECT batch, ifnull(uid, ?2), 1, created, ?1, n, 0 FROM found",
    "UPDATE batches SET phase = 1, cursor = 0 WHERE phase NOT BETWEEN 0 AND 3 OR EXISTS"
    " (SELECT 1 FROM found f WHERE f.batch = batches.id AND iif(phase = 2, f.staged > 0,"
    " phase IN (0, 3) AND f.staged < f.n))",
    "UPDATE batches SET phase = 1, cursor = 0 WHERE phase = 1",

    /* Of one that is not complete nothing was acknowledged: its client sends it again, unless all
     * is there. */
    "DELETE FROM jobs WHERE batch IN (SELECT b.id FROM batches b LEFT JOIN found f ON"
    " f.batch = b.id WHERE phase = 3 OR (phase = 0 AND count <> ifnull(n, 0)))",
    "DELETE FROM batches WHERE id IN (SELECT b.id FROM batches b LEFT JOIN found f ON"
    " f.batch = b.id WHERE phase = 3 OR (phase = 0 AND count <> ifnull(n, 0)))",
    "DELETE FROM attempts WHERE job NOT IN (SELECT id FROM jobs)",
    "UPDATE jobs SET state = 0, due = NULL WHERE state = 1 AND due IS NULL",
    "UPDATE jobs SET finished = created WHERE state IN (4, 5, 6) AND finished IS NULL",

    /* Jobs that are lost are taken out of their batch, so that it ends. purged ones are shared out
     * as the old numbers say, which are right where nothing is lost. */
    "UPDATE batches SET purged = iif(purged BETWEEN 0 AND count, purged, 0)",
    "UPDATE batches SET done = f.done + min(max(batches.done - f.done, 0), purged),"
    " failed = f.failed + min(max(batches.failed - f.failed, 0),"
    " purged - min(max(batches.done - f.done, 0), purged)), count = f.n + purged,"
    " bytes = iif(purged = 0, f.bytes, max(ifnull(batches.bytes, 0), f.bytes)), first_id = "
    "f.first_id, last_id = f.last_id"
    " FROM found f WHERE f.batch = batches.id",
    "UPDATE batches SET cancelled = f.done + f.failed + f.cancelled + purged - batches.done"
    " - batches.failed FROM found f WHERE f.batch = batches.id",
    "UPDATE batches SET count = purged, bytes = iif(purged = 0, 0, bytes),"
    " first_id = NULL, last_id = NULL"
    " WHERE id NOT IN (SELECT batch FROM found) AND phase > 0",
    "UPDATE batches SET cancelled = purged - min(done, purged)"
    " - min(failed, purged - min(done, purged)), failed = min(failed, purged - min(done, purged)),"
    " done = min(done, purged) WHERE id NOT IN (SELECT batch FROM found) AND phase > 0",
    "UPDATE batches SET finished = iif(phase > 0 AND done + failed + cancelled = count,"
    " ifnull(finished, ?1), NULL)",

    /* Ids without a gap that are not all the batch's own would be taken for them. */
    "UPDATE batches SET first_id = first_id - 1 WHERE last_id - first_id + 1 = count AND"
    " id IN (SELECT batch FROM found WHERE runs > 1)",
    "DELETE FROM batch_runs",
    "INSERT INTO batch_runs(batch, first_id, last_id) SELECT batch, min(j.id), max(j.id)"
    " FROM jobs j JOIN batches b ON b.id = j.batch WHERE b.last_id - b.first_id + 1 <> b.count"
    " GROUP BY batch, j.id - idx",

    "DELETE FROM lanes",
    "UPDATE jobs SET lane = NULL",
    "INSERT INTO lanes(hash, uid, host, turn, queued, waiting, paused, staged, in_line)"
    " SELECT lane_hash(h), uid, h, min(rank), sum(state = 0), sum(state = 1), sum(state = 2),"
    " sum(state = 7), iif(sum(state = 0) > 0, 1, NULL) FROM (SELECT url_host(url) AS h, uid, rank, state FROM jobs j JOIN batches b"
    " ON b.id = j.batch WHERE state NOT IN (4, 5, 6)) GROUP BY uid, h ORDER BY min(rank)",
    "DELETE FROM users",
    "INSERT INTO users SELECT uid, sum(queued + waiting + paused + staged) FROM lanes GROUP BY uid",
    "UPDATE jobs SET lane = l.id FROM lanes l, batches b WHERE b.id = jobs.batch"
    " AND l.hash = lane_hash(url_host(jobs.url)) AND l.uid = b.uid AND l.host = url_host(jobs.url)"
    " AND jobs.state NOT IN (4, 5, 6)",

    "UPDATE counters SET n = (SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch"
    " WHERE b.phase IN (1, 2) AND iif(j.state = 7, 0, j.state) = counters.state)",
    "UPDATE meta SET value = max(value, ifnull((SELECT max(id) + 1 FROM jobs), 1), ifnull((SELECT"
    " o.value FROM old_meta o WHERE o.name = meta.name AND typeof(o.value) = 'integer'), 1))"
    " WHERE name = 'next_job'",
    "UPDATE meta SET value = max(value, ifnull((SELECT max(id) + 1 FROM batches), 1),"
    " ifnull((SELECT o.value FROM old_meta o WHERE o.name = meta.name"
    " AND typeof(o.value) = 'integer'), 1)) WHERE name = 'next_batch'",
    "UPDATE meta SET value = (SELECT ifnull(max(id), 0) + 1 FROM lanes) WHERE name = 'next_lane'",
    /* As after a crash: any of the jobs may have a part file. */
    "UPDATE meta SET value = 1 WHERE name = 'open'",
};

static const char take_id[] =
    "UPDATE meta SET value = (SELECT value FROM old_meta WHERE name = 'store_id') WHERE name ="
    " 'store_id' AND EXISTS (SELECT 1 FROM old_meta WHERE name = 'store_id' AND"
    " typeof(value) = 'text' AND length(value) = 32 AND value NOT GLOB '*[^0-9a-f]*')";

struct recovery {
    char *path, *next; /* owned: of queue.db, and of the one that is made */
    struct image image;
    struct stat st; /* of the damaged file, or its log */
    sqlite3 *sqlite;
    struct db id; /* the new queue's, as far as lane_hash() goes by it */
};

static void recovery_done(struct recovery *v) {
    sqlite3_close(v->sqlite);
    if (v->next)
        unlink(v->next);
    image_done(&v->image);
    free(v->path);
    free(v->next);
}

static int why(char **ret_why, int r, const char *fmt, ...) _printf_(3, 4);

static int why(char **ret_why, int r, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(ret_why, fmt, ap) < 0)
        *ret_why = NULL;
    va_end(ap);
    return r;
}

/* ---- functions for SQL ---- */

static void sql_host(sqlite3_context *context, int argc, sqlite3_value **argv) {
    const char *url = (const char *)sqlite3_value_text(argv[0]);
    char *host = NULL;

    (void)argc;
    if (row_url_host(url, &host) < 0)
        sqlite3_result_error(context, "a URL can't be read", -1);
    else
        sqlite3_result_text(context, host, -1, free);
}

static void sql_hash(sqlite3_context *context, int argc, sqlite3_value **argv) {
    const char *host = (const char *)sqlite3_value_text(argv[0]);

    (void)argc;
    if (host)
        sqlite3_result_int(context, lane_hash(sqlite3_user_data(context), host));
}

static int functions_add(struct recovery *v) {
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;

    if (sqlite3_create_function_v2(v->sqlite, "url_host", 1, flags, NULL, sql_host, NULL, NULL,
                                   NULL) != SQLITE_OK ||
        sqlite3_create_function_v2(v->sqlite, "lane_hash", 1, flags, &v->id, sql_hash, NULL, NULL,
                                   NULL) != SQLITE_OK)
        return -ENOMEM;
    return 0;
}

/* ---- the new queue ---- */

static int exec(sqlite3 *sqlite, const char *sql) {
    return sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* A statement's first number; 0 where it has none. */
static int64_t number(sqlite3 *sqlite, const char *sql) {
    sqlite3_stmt *st = NULL;
    int64_t n = 0;

    if (sqlite3_prepare_v2(sqlite, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Whoever owned the damaged one owns it. It is thrown away when anything fails, and synced at the
 * end: no log. */
static int next_open(struct recovery *v, char **ret_why) {
    _cleanup_close_ int fd = -1;

    unlink(v->next);
    fd = open(v->next, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || (geteuid() == 0 && fchown(fd, v->st.st_uid, v->st.st_gid) < 0))
        return why(ret_why, -errno, "%s can't be made: %s", v->next, strerror(errno));
    if (sqlite3_open_v2(v->next, &v->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL) !=
        SQLITE_OK)
        return -EIO;
    int r = schema_prepare(v->sqlite, v->next, ret_why);
    if (r >= 0)
        r = exec(v->sqlite, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN");
    return r < 0 ? r : functions_add(v);
}

static int id_take(struct recovery *v) {
    sqlite3_stmt *st = NULL;
    int r = exec(v->sqlite, take_id);

    if (r < 0 || sqlite3_prepare_v2(v->sqlite, "SELECT value FROM meta WHERE name = 'store_id'", -1,
                                    &st, NULL) != SQLITE_OK)
        return -EIO;
    if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 0) == STORE_ID_LENGTH)
        memcpy(&v->id.hash_seed, sqlite3_column_text(st, 0), sizeof(v->id.hash_seed));
    else
        r = -EIO;
    sqlite3_finalize(st);
    return r;
}

static int steps_run(struct recovery *v) {
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        sqlite3_stmt *st = NULL;
        int r = sqlite3_prepare_v2(v->sqlite, steps[i], -1, &st, NULL);

        if (r == SQLITE_OK) {
            int n = sqlite3_bind_parameter_count(st);

            if (n >= 1)
                sqlite3_bind_int64(st, 1, (int64_t)now_usec(CLOCK_REALTIME));
            if (n >= 2)
                sqlite3_bind_int64(st, 2, v->st.st_uid);
            r = sqlite3_step(st);
        }
        sqlite3_finalize(st);
        if (r != SQLITE_DONE && r != SQLITE_ROW)
            return -EIO;
    }
    return 0;
}

static void count(struct recovery *v, struct store_recovered *ret) {
    char sql[64];

    for (int i = 0; i < JOB_STATE_MAX_; i++) {
        snprintf(sql, sizeof(sql), "SELECT n FROM counters WHERE state = %d", i);
        ret->counts[i] = (uint64_t)number(v->sqlite, sql);
        ret->jobs += ret->counts[i];
    }
    ret->batches = (uint64_t)number(v->sqlite, "SELECT count(*) FROM batches");
    /* The old counters are believed when all are there and none is more than there can be. */
    ret->lost_known = number(v->sqlite, "SELECT count(*) = 8 AND min(n) >= 0 AND sum(n) < (SELECT"
                                        " value FROM meta WHERE name = 'next_job')"
                                        " FROM old_counters") != 0;
    uint64_t before = (uint64_t)number(v->sqlite, "SELECT sum(n) FROM old_counters");
    if (ret->lost_known)
        ret->lost = before > ret->jobs ? before - ret->jobs : 0;
}

static int next_fill(struct recovery *v, struct store_recovered *ret, char **ret_why) {
    int r = salvage(v->sqlite, &v->image, &ret->unreadable);

    if (r >= 0)
        r = id_take(v);
    if (r >= 0 && number(v->sqlite, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM"
                                    " batches) + (SELECT count(*) FROM old_counters)") == 0)
        return why(ret_why, -ENODATA,
                   "nothing of a queue can be found in %s: restore it from a backup, or move it"
                   " away to start with an empty queue",
                   v->path);
    int64_t batches = number(v->sqlite, "SELECT count(*) FROM batches");
    if (r >= 0)
        r = steps_run(v);
    if (r < 0)
        return why(ret_why, r, "%s can't be written: %s", v->next, sqlite3_errmsg(v->sqlite));
    count(v, ret);
    ret->pieced = ret->batches > (uint64_t)batches ? ret->batches - (uint64_t)batches : 0;
    return 0;
}

static int next_close(struct recovery *v, char **ret_why) {
    char sql[128];

    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; COMMIT", BACKUP_APPLICATION_ID);
    int r = exec(v->sqlite, sql);
    if (r >= 0 && sqlite3_close(v->sqlite) != SQLITE_OK)
        r = -EIO;
    if (r < 0)
        return why(ret_why, r, "%s can't be written: %s", v->next, sqlite3_errmsg(v->sqlite));
    v->sqlite = NULL;
    _cleanup_close_ int fd = open(v->next, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) < 0)
        return why(ret_why, -errno, "%s can't be written: %s", v->next, strerror(errno));
    return 0;
}

/* ---- files ---- */

static int link_as(const char *from, const char *from_suffix, const char *to,
                   const char *to_suffix) {
    _cleanup_free_ char *old = NULL, *new = NULL;

    if (asprintf(&old, "%s%s", from, from_suffix) < 0 || asprintf(&new, "%s%s", to, to_suffix) < 0)
        return -ENOMEM;
    return link(old, new) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_beside(const char *path, const char *suffix) {
    _cleanup_free_ char *name = NULL;

    if (asprintf(&name, "%s%s", path, suffix) < 0)
        return -ENOMEM;
    return unlink(name) < 0 && errno != ENOENT ? -errno : 0;
}

/* The damaged files get second names, and then the new one takes over the first. Its mark says that
 * a log beside it isn't its own, should we get no further. */
static int swap(struct recovery *v, const char *dir, struct store_recovered *ret) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    time_t now = time(NULL);
    char date[32];
    struct tm tm;
    int r;

    if (fd < 0 || !gmtime_r(&now, &tm))
        return -errno;
    strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &tm);
    snprintf(ret->kept, sizeof(ret->kept), "%s.damaged-%s", v->path, date);
    r = link_as(v->path, "", ret->kept, "");
    if (r >= 0 && v->image.log_fd >= 0 && lseek(v->image.log_fd, 0, SEEK_END) > 0)
        r = link_as(v->path, "-wal", ret->kept, "-wal");
    if (r >= 0 && (fsync(fd) < 0 || rename(v->next, v->path) < 0))
        r = -errno;
    if (r >= 0)
        r = remove_beside(v->path, "-wal");
    if (r >= 0)
        r = remove_beside(v->path, "-suspect");
    return r >= 0 && fsync(fd) < 0 ? -errno : r;
}

int store_recover(const char *state_dir, struct store_recovered *ret, char **ret_why) {
    _cleanup_(recovery_done) struct recovery v = {.image = {.fd = -1, .log_fd = -1}};
    int r;

    *ret = (struct store_recovered){0};
    *ret_why = NULL;
    if (asprintf(&v.path, "%s/queue.db", state_dir) < 0) {
        v.path = NULL;
        return -ENOMEM;
    }
    if (asprintf(&v.next, "%s.new", v.path) < 0) {
        v.next = NULL;
        return -ENOMEM;
    }
    r = image_open(&v.image, v.path);
    if (r < 0)
        return why(ret_why, r, "%s can't be read: %s", v.path, strerror(-r));
    if (fstat(v.image.fd >= 0 ? v.image.fd : v.image.log_fd, &v.st) < 0)
        return -errno;
    r = next_open(&v, ret_why);
    if (r >= 0)
        r = next_fill(&v, ret, ret_why);
    if (r >= 0)
        r = next_close(&v, ret_why);
    if (r < 0)
        return r;
    r = swap(&v, state_dir, ret);
    if (r < 0)
        return why(ret_why, r, "%s can't be put in place of %s: %s", v.next, v.path, strerror(-r));
    return 0;
}
