#include "daemon/store_row.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"

enum { FLAG_SKIPPED = 1, FLAG_NOT_MODIFIED = 2 };

#define ATTEMPTS_KEPT 100 /* of one job */

/* Where the columns of the result are: bound from 7, read from 0 alone and from 13 in a job's row.
 */
enum { BIND_RESULT = 7, READ_CHANGED = 10, READ_RESULT = 13, READ_KEPT = 27, READ_PATIENCE = 34 };

void row_result_bind(sqlite3_stmt *st, const struct job_result *r) {
    int at = BIND_RESULT;

    db_bind_number(st, at++, r->http_status);
    db_bind_number(st, at++, (int64_t)r->bytes);
    if (r->size >= 0)
        sqlite3_bind_int64(st, at++, r->size);
    else
        sqlite3_bind_null(st, at++);
    db_bind_number(st, at++, r->error);
    db_bind_number(st, at++, r->worker);
    db_bind_number(st, at++,
                   (r->skipped ? FLAG_SKIPPED : 0) | (r->not_modified ? FLAG_NOT_MODIFIED : 0));
    db_bind_number(st, at++, (int64_t)r->started);
    db_bind_number(st, at++, (int64_t)r->finished);
    db_bind_text(st, at++, r->output);
    db_bind_text(st, at++, r->message);
    db_bind_text(st, at++, r->effective_url);
    db_bind_text(st, at++, r->content_type);
    db_bind_text(st, at++, r->digest);
    db_bind_text(st, at++, r->answer);
}

void row_kept_bind(sqlite3_stmt *st, int at, const struct job_kept *k) {
    db_bind_number(st, at, k->offset == 0 && k->leftover ? -1 : (int64_t)k->offset);
    if (k->offset > 0 && k->total >= 0)
        sqlite3_bind_int64(st, at + 1, k->total);
    else
        sqlite3_bind_null(st, at + 1);
    db_bind_text(st, at + 2, k->etag);
    db_bind_text(st, at + 3, k->last_modified);
    db_bind_number(st, at + 4, (int64_t)k->file);
    db_bind_number(st, at + 5, (int64_t)k->source);
    db_bind_text(st, BIND_RANGES, k->ranges);
}

/* "0:1700000000000000 2:1700000005000000" */
static void mirrors_due_bind(sqlite3_stmt *st, int at, const struct job *j) {
    char text[JOB_URLS_MAX * 24] = "";
    size_t n = 0;

    for (unsigned i = 0; i < JOB_URLS_MAX; i++)
        if (j->mirror_due[i] > 0)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u:%" PRIu64, n > 0 ? " " : "", i,
                                  j->mirror_due[i]);
    if (n > 0)
        sqlite3_bind_text(st, at, text, (int)n, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(st, at);
}

static void mirrors_due_read(sqlite3_stmt *st, int at, struct job *j) {
    const char *text = (const char *)sqlite3_column_text(st, at);
    uint64_t due;
    unsigned i;
    int used;

    while (text && sscanf(text, " %u:%" SCNu64 "%n", &i, &due, &used) == 2) {
        if (i < JOB_URLS_MAX)
            j->mirror_due[i] = due;
        text += used;
    }
}

void row_patience_bind(sqlite3_stmt *st, int at, const struct job *j) {
    db_bind_number(st, at, j->stalls);
    db_bind_number(st, at + 1, j->blocked);
    db_bind_number(st, at + 2, j->spent);
    mirrors_due_bind(st, at + 3, j);
}

/* false: out of memory. */
static bool text_read(sqlite3_stmt *st, int at, char **ret) {
    const void *text = sqlite3_column_text(st, at);
    size_t n;

    *ret = NULL;
    if (!text)
        return sqlite3_column_type(st, at) == SQLITE_NULL;
    n = (size_t)sqlite3_column_bytes(st, at);
    *ret = malloc(n + 1);
    if (!*ret)
        return false;
    memcpy(*ret, text, n + 1);
    return true;
}

static int result_read(sqlite3_stmt *st, int at, struct job_result *ret) {
    struct job_result r = {0};

    r.http_status = (unsigned)sqlite3_column_int64(st, at);
    r.bytes = (uint64_t)sqlite3_column_int64(st, at + 1);
    r.size = sqlite3_column_type(st, at + 2) == SQLITE_NULL ? -1 : sqlite3_column_int64(st, at + 2);
    r.error = (unsigned)sqlite3_column_int64(st, at + 3);
    r.worker = (unsigned)sqlite3_column_int64(st, at + 4);
    r.skipped = sqlite3_column_int64(st, at + 5) & FLAG_SKIPPED;
    r.not_modified = sqlite3_column_int64(st, at + 5) & FLAG_NOT_MODIFIED;
    r.started = (uint64_t)sqlite3_column_int64(st, at + 6);
    r.finished = (uint64_t)llabs(sqlite3_column_int64(st, at + 7));
    if (!text_read(st, at + 8, &r.output) || !text_read(st, at + 9, &r.message) ||
        !text_read(st, at + 10, &r.effective_url) || !text_read(st, at + 11, &r.content_type) ||
        !text_read(st, at + 12, &r.digest) || !text_read(st, at + 13, &r.answer)) {
        job_result_done(&r);
        return -ENOMEM;
    }
    *ret = r;
    return 0;
}

int row_result_read(sqlite3_stmt *st, struct job_result *ret) {
    return result_read(st, 0, ret);
}

static int kept_read(sqlite3_stmt *st, int at, struct job_kept *ret) {
    ret->offset = (uint64_t)MAX(sqlite3_column_int64(st, at), INT64_C(0));
    ret->leftover = sqlite3_column_int64(st, at) < 0;
    ret->total =
        sqlite3_column_type(st, at + 1) == SQLITE_NULL ? -1 : sqlite3_column_int64(st, at + 1);
    ret->file = (uint64_t)sqlite3_column_int64(st, at + 4);
    ret->source = (uint64_t)sqlite3_column_int64(st, at + 5);
    return text_read(st, at + 2, &ret->etag) && text_read(st, at + 3, &ret->last_modified) &&
                   text_read(st, at + 6, &ret->ranges)
               ? 0
               : -ENOMEM;
}

int row_url_host(const char *text, char **ret) {
    const char *why = NULL;
    size_t column;
    struct url url;
    int r = text ? url_parse(text, &url, &why, &column) : -EINVAL;

    if (r < 0)
        return r == -ENOMEM ? r : -EUCLEAN;
    *ret = TAKE_PTR(url.host_key);
    url_done(&url);
    return 0;
}

/* Nearly all rows are read for a lane, whose host is known. */
static int host_read(const struct job *j, const char *host, char **ret) {
    if (!host)
        return row_url_host(j->url, ret);
    *ret = strdup(host);
    return *ret ? 0 : -ENOMEM;
}

/* SUBMITTED_COLUMNS. */
static int submitted_read(sqlite3_stmt *st, const char *host, struct job *j) {
    j->id = sqlite3_column_int64(st, 0);
    j->state = (enum job_state)sqlite3_column_int(st, 1);
    if (j->state < 0 || j->state >= JOB_STATE_MAX_)
        return -EUCLEAN;
    if (j->state == JOB_STAGED)
        j->state = JOB_QUEUED;
    j->batch = sqlite3_column_int64(st, 2);
    j->index = (uint64_t)sqlite3_column_int64(st, 3);
    j->rank = sqlite3_column_int64(st, 4);
    j->created = (uint64_t)sqlite3_column_int64(st, 5);
    j->lane = sqlite3_column_int64(st, 6);
    j->rate_limit = (uint64_t)sqlite3_column_int64(st, 9);
    if (!text_read(st, 7, &j->url) || !text_read(st, 8, &j->body))
        return -ENOMEM;
    return host_read(j, host, &j->host);
}

int row_job_read(sqlite3_stmt *st, const char *host, struct job **ret) {
    _cleanup_(job_freep) struct job *j = calloc(1, sizeof(*j));
    int r = j ? submitted_read(st, host, j) : -ENOMEM;

    if (r < 0)
        return r;
    j->due = (uint64_t)sqlite3_column_int64(st, 10);
    j->attempts = (unsigned)sqlite3_column_int64(st, 11);
    j->crashes = (unsigned)sqlite3_column_int64(st, 12);
    j->stalls = (unsigned)sqlite3_column_int64(st, READ_PATIENCE);
    j->blocked = (unsigned)sqlite3_column_int64(st, READ_PATIENCE + 1);
    j->spent = (unsigned)sqlite3_column_int64(st, READ_PATIENCE + 2);
    mirrors_due_read(st, READ_PATIENCE + 3, j);
    if (result_read(st, READ_RESULT, &j->result) < 0 || kept_read(st, READ_KEPT, &j->kept) < 0)
        return -ENOMEM;
    *ret = TAKE_PTR(j);
    return 0;
}

int row_queued_read(struct db *db, sqlite3_stmt *st, const char *host, struct job **ret) {
    _cleanup_(job_freep) struct job *j = NULL;

    if (sqlite3_column_int(st, READ_CHANGED)) {
        _cleanup_(db_resetp) sqlite3_stmt *whole = db_statement(db, ST_JOB_GET);

        sqlite3_bind_int64(whole, 1, sqlite3_column_int64(st, 0));
        int r = db_step(db, whole);
        return r > 0 ? row_job_read(whole, host, ret) : r < 0 ? r : -EUCLEAN;
    }
    j = calloc(1, sizeof(*j));
    int r = j ? submitted_read(st, host, j) : -ENOMEM;
    if (r < 0)
        return r;
    j->result.size = j->kept.total = -1;
    *ret = TAKE_PTR(j);
    return 0;
}

int row_attempt_keep(struct db *db, sqlite3_stmt *st, int64_t job) {
    int r = db_step(db, st);
    int64_t n = r > 0 ? sqlite3_column_int64(st, 0) : 0;

    sqlite3_reset(st);
    if (r <= 0 || n <= ATTEMPTS_KEPT)
        return MIN(r, 0);
    st = db_statement(db, ST_ATTEMPTS_TRIM);
    sqlite3_bind_int64(st, 1, job);
    sqlite3_bind_int64(st, 2, n - ATTEMPTS_KEPT);
    return db_exec(db, st);
}
