/*
 * store_row.h - rows of the queue's database from and into the structs of job.h.
 *
 * Private to the store.
 */
#ifndef DLD_STORE_ROW_H
#define DLD_STORE_ROW_H

#include "daemon/store_sqlite.h"

/* Columns of jobs and attempts alike, as row_result_bind() binds and the readers read them. */
#define RESULT_COLUMNS                                                                             \
    "http_status, bytes, size, error, worker, flags, started, finished, output, message,"          \
    " effective_url, content_type, digest, answer"

#define KEPT_COLUMNS                                                                               \
    "kept_offset, kept_total, kept_etag, kept_modified, kept_file, kept_source,"         \
    " kept_ranges"

#define PATIENCE_COLUMNS "stalls, blocked, spent, mirrors_due"

#define SUBMITTED_COLUMNS "id, state, batch, idx, rank, created, lane, url, body, rate_limit"

/* As row_job_read() reads them. NULL stands for 0 in numbers, for unknown in size. */
#define JOB_COLUMNS                                                                                \
    SUBMITTED_COLUMNS ", due, attempts, crashes, " RESULT_COLUMNS ", " KEPT_COLUMNS                \
                      ", " PATIENCE_COLUMNS

/* As row_queued_read() reads them: nearly all queued jobs are as they were submitted, and the rest
 * takes most of the time. */
#define QUEUED_COLUMNS                                                                             \
    SUBMITTED_COLUMNS                                                                              \
    ", coalesce(attempts, crashes, kept_offset, " PATIENCE_COLUMNS ") IS NOT NULL"

/* What store_scan.c looks at. */
#define BRIEF_COLUMNS "id, state, batch, lane, tag, url, rank"

#define BIND_FINISHED 14

/* Binds parameters 7 to 20, the result's columns; its strings must stay until the statement has
 * run. */
void row_result_bind(sqlite3_stmt *st, const struct job_result *r);

/* Binds six parameters from at on, and ?32, KEPT_COLUMNS; likewise. */
#define BIND_RANGES 32
void row_kept_bind(sqlite3_stmt *st, int at, const struct job_kept *k);

/* Binds four parameters from at on, PATIENCE_COLUMNS. */
void row_patience_bind(sqlite3_stmt *st, int at, const struct job *j);

/* A row of RESULT_COLUMNS. *ret is overwritten. 0 or -ENOMEM, when *ret holds nothing. */
int row_result_read(sqlite3_stmt *st, struct job_result *ret);

/* A row of JOB_COLUMNS as a new job, of that host (NULL: of that in its URL). What is STAGED
 * becomes QUEUED: whoever sees it at all sees it so. 0, -ENOMEM or -EUCLEAN. */
int row_job_read(sqlite3_stmt *st, const char *host, struct job **ret);

/* A row of QUEUED_COLUMNS, likewise. */
int row_queued_read(struct db *db, sqlite3_stmt *st, const char *host, struct job **ret);

/* The "host:port" of a stored URL, a new string. 0, -ENOMEM or -EUCLEAN. */
int row_url_host(const char *url, char **ret);

/* Runs a statement that keeps an attempt of a job and returns its number, or no row; then drops the
 * oldest where there are more than are kept of one job. */
int row_attempt_keep(struct db *db, sqlite3_stmt *st, int64_t job);

#endif
