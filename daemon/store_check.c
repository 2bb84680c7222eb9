#include "daemon/store_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "daemon/notify.h"
#include "daemon/store_backup.h"
#include "daemon/store_errno.h"
#include "daemon/store_image.h"
#include "daemon/store_schema.h"

#define FINDINGS_MAX 10
#define NOTE_SUFFIX "-suspect"
#define CHECK_MAX (UINT64_C(3600) * USEC_PER_SEC) /* of ten million jobs: minutes */

/* What must hold, and is true or NULL then. Each is found at an end of an index. */
static const char *const cheap[] = {
    "SELECT (SELECT max(id) FROM jobs) < (SELECT value FROM meta WHERE name = 'next_job')",
    "SELECT (SELECT max(id) FROM batches) < (SELECT value FROM meta WHERE name = 'next_batch')",
    "SELECT (SELECT max(id) FROM lanes) < (SELECT value FROM meta WHERE name = 'next_lane')",
    "SELECT (SELECT value FROM meta WHERE name = 'store_id') NOT GLOB '*[^0-9a-f]*'",
    "SELECT count(*) = 8 AND min(n) >= 0 FROM counters",
    "SELECT min(id) > 0 FROM jobs",
    "SELECT min(id) > 0 FROM batches",
    "SELECT (SELECT sum(n) FROM counters) = 0 OR EXISTS (SELECT 1 FROM jobs)",
    "SELECT count(*) >= 0 FROM (SELECT 1 FROM jobs WHERE lane > 0 AND state <> 7 LIMIT 1)",
    "SELECT count(*) >= 0 FROM (SELECT 1 FROM attempts LIMIT 1)",
    "SELECT count(*) >= 0 FROM (SELECT 1 FROM batch_runs LIMIT 1)",
};

/* What counting must give: no row; a row says what is wrong. STAGED (7) jobs of complete batches
 * count as queued. */
static const char *const thorough[] = {
    "SELECT replace(replace(integrity_check, '*** in database main ***' || char(10), ''), char(10),"
    " '; ') FROM pragma_integrity_check(10) WHERE integrity_check <> 'ok'",
    "SELECT 'counter ' || state || ' is ' || n || ', its jobs are ' || r FROM (SELECT state, n,"
    " (SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch WHERE b.phase IN (1, 2)"
    " AND iif(j.state = 7, 0, j.state) = c.state) AS r FROM counters c) WHERE n <> r",
    "SELECT 'lane ' || l.id || ' does not count its jobs' FROM lanes l LEFT JOIN"
    " (SELECT lane, sum(state = 0) q, sum(state = 1) w, sum(state = 2) p, sum(state = 7) s"
    " FROM jobs WHERE lane IS NOT NULL GROUP BY lane) c ON c.lane = l.id"
    " WHERE (queued, waiting, paused, staged) IS NOT (q, w, p, s)",
    "SELECT 'lane ' || id || ' is missing in its line, or stands in it for nothing' FROM lanes"
    " WHERE (queued > 0 AND due IS NULL) <> (in_line IS NOT NULL)",
    "SELECT 'user ' || l.uid || ' has not as many jobs as are counted' FROM (SELECT uid,"
    " sum(queued + waiting + paused + staged) n FROM lanes GROUP BY uid) l FULL JOIN users u"
    " ON u.uid = l.uid WHERE ifnull(n, 0) <> ifnull(u.jobs, 0)",
    "SELECT 'job ' || id || ' is in no lane, or has ended and is in one' FROM jobs"
    " WHERE iif(state IN (4, 5, 6), lane IS NOT NULL,"
    " lane IS NULL OR lane NOT IN (SELECT id FROM lanes))",
    "SELECT 'job ' || id || ' has no batch' FROM jobs WHERE batch NOT IN (SELECT id FROM batches)",
    "SELECT 'batch ' || b.id || ' does not count its jobs' FROM batches b LEFT JOIN"
    " (SELECT batch, count(*) n, sum(state IN (4, 5, 6)) e FROM jobs GROUP BY batch) r"
    " ON r.batch = b.id WHERE phase < 3 AND (count - purged <> ifnull(n, 0)"
    " OR done + failed + cancelled - purged <> ifnull(e, 0))",
    "SELECT 'job ' || id || ' is in no state' FROM jobs WHERE state NOT IN (0, 1, 2, 4, 5, 6, 7)",
};

char *repair_advice(const char *path, const char *found) {
    char *text;

    if (asprintf(&text,
                 "%s is damaged (%s): restore it from a backup (dlctl(1)), or let `dld --recover`,"
                 " with the options of this one, make a new queue of what can be read",
                 path, *found ? found : "its tables make no sense") < 0)
        return NULL;
    return text;
}

static int damaged(const char *path, const char *found, char **ret_why) {
    *ret_why = repair_advice(path, found);
    return -EUCLEAN;
}

static char *beside(const char *path, const char *suffix) {
    char *name;

    return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

void repair_note(sqlite3 *sqlite) {
    const char *path = sqlite3_db_filename(sqlite, "main");
    _cleanup_free_ char *name = path ? beside(path, NOTE_SUFFIX) : NULL;
    _cleanup_close_ int fd =
        name ? open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600) : -1;

    if (fd >= 0)
        (void)fsync(fd);
}

/* ---- rows ---- */

/* Adds what the statement's rows say, and what SQLite says of the file. 0: nothing, -EUCLEAN:
 * something, or another errno: it could not be looked at. */
static int findings(sqlite3 *sqlite, const char *sql, char *text, size_t size) {
    sqlite3_stmt *st = NULL;
    int r = sqlite3_prepare_v2(sqlite, sql, -1, &st, NULL), n = 0, error = 0;

    while (r == SQLITE_OK && n < FINDINGS_MAX && (r = sqlite3_step(st)) == SQLITE_ROW) {
        size_t at = strlen(text);
        const char *found = (const char *)sqlite3_column_text(st, 0);

        snprintf(text + at, size - at, "%s%s", at > 0 ? "; " : "", found ? found : "a row");
        n++;
        r = SQLITE_OK;
    }
    if (r != SQLITE_OK && r != SQLITE_DONE)
        error = store_errno(sqlite);
    if (error == -EUCLEAN && n == 0) {
        size_t at = strlen(text);

        snprintf(text + at, size - at, "%s%s", at > 0 ? "; " : "", sqlite3_errmsg(sqlite));
        n++;
    }
    sqlite3_finalize(st);
    return n > 0 ? -EUCLEAN : error;
}

static int looked(sqlite3 *sqlite, const char *path, int r, const char *text, char **ret_why) {
    return r == -EUCLEAN ? damaged(path, text, ret_why)
                         : store_errno_explain(sqlite, path, ret_why);
}

int repair_look_rows(sqlite3 *sqlite, char **ret_why) {
    const char *path = sqlite3_db_filename(sqlite, "main");
    char text[1024] = "", sql[512];
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(cheap) && r == 0; i++) {
        snprintf(sql, sizeof(sql), "SELECT 'its numbers contradict each other' WHERE (%s) = 0",
                 cheap[i]);
        r = findings(sqlite, sql, text, sizeof(text));
    }
    return r == 0 ? 0 : looked(sqlite, path ? path : "queue.db", r, text, ret_why);
}

static int look_thorough(sqlite3 *sqlite, const char *path, char **ret_why) {
    char text[4096] = "";
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(thorough) && (r == 0 || r == -EUCLEAN); i++) {
        int k = findings(sqlite, thorough[i], text, sizeof(text));

        if (k < 0)
            r = k;
    }
    return r == 0 ? 0 : looked(sqlite, path, r, text, ret_why);
}

/* ---- files ---- */

static int look_log(const char *path, char **ret_why) {
    int r = image_log_damaged(path);

    if (r == 1)
        return damaged(path, "its log, queue.db-wal, has a gap before its end", ret_why);
    if (r < 0 && asprintf(ret_why, "%s-wal can't be read: %s", path, strerror(-r)) < 0)
        *ret_why = NULL;
    return r;
}

/* Of a file that is not there yet. */
static int look_missing(const char *path, char **ret_why) {
    _cleanup_free_ char *log = beside(path, "-wal");
    struct stat st;

    if (!log)
        return -ENOMEM;
    if (stat(log, &st) == 0 && st.st_size > 0)
        return damaged(path, "it is missing, and its log is there", ret_why);
    return 0;
}

static int look_file(const char *path, char **ret_why) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return look_missing(path, ret_why);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = -errno;

        if (asprintf(ret_why, "%s can't be opened: %s", path, strerror(-r)) < 0)
            *ret_why = NULL;
        return r;
    }
    /* It got its name when it was complete. */
    if (st.st_size < IMAGE_PAGE)
        return damaged(path, st.st_size == 0 ? "it is empty" : "it is cut off", ret_why);
    return 1;
}

/* SQLite found something wrong in it. */
static int look_suspect(const char *path, char **ret_why) {
    _cleanup_free_ char *name = beside(path, NOTE_SUFFIX), *dir = strdup(path);

    if (!name || !dir)
        return -ENOMEM;
    if (access(name, F_OK) < 0)
        return 0;
    log_notice("%s was found to be damaged when it was last used: checking all of it", path);
    *strrchr(dir, '/') = '\0';
    notify_send("EXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=Checking all of the queue", CHECK_MAX);
    int r = store_check(dir, ret_why);
    if (r == 0)
        unlink(name);
    return r;
}

int repair_look(const char *path, char **ret_why) {
    int there = look_file(path, ret_why), r;

    if (there <= 0)
        return there;
    r = backup_find(path); /* then the log is another's */
    if (r == 0)
        r = look_log(path, ret_why);
    if (r >= 0)
        r = look_suspect(path, ret_why);
    return r < 0 ? r : there;
}

static void sqlite_closep(sqlite3 **sqlite) {
    sqlite3_close(*sqlite);
}

/* Without its application id a file of SQLite may be anyone's. */
int store_check(const char *state_dir, char **ret_why) {
    _cleanup_free_ char *path = beside(state_dir, "/queue.db");
    _cleanup_(sqlite_closep) sqlite3 *sqlite = NULL;
    int r;

    *ret_why = NULL;
    if (!path)
        return -ENOMEM;
    r = look_file(path, ret_why);
    if (r == 0 && asprintf(ret_why, "there is no queue at %s", path) < 0)
        *ret_why = NULL;
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    r = backup_find(path);
    if (r == 0)
        r = look_log(path, ret_why);
    if (r < 0)
        return r;
    if (sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL) !=
        SQLITE_OK)
        return -EIO;
    sqlite3_db_config(sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    r = schema_prepare(sqlite, path, ret_why);
    if (r < 0)
        return r;
    return look_thorough(sqlite, path, ret_why);
}
