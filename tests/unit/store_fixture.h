/*
 * store_fixture.h - a store in a directory of its own, and its calls made to wait for their
 * answers.
 */
#ifndef DLD_STORE_FIXTURE_H
#define DLD_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "daemon/store.h"

#define HOST "a.example:80"

/* When all jobs are submitted: at the start of the test. */
static uint64_t created;

struct fixture {
    char dir[32];
    sd_event *event;
    struct store *store;
    size_t n_ready; /* calls of ready(), and the last one's argument */
    struct store_ready ready;
    uint64_t keep_age, keep_count;
    bool done; /* an answer is here: */
    int error;
    struct store_batch batch;
    int64_t ids[STORE_STEP];
    size_t n_ids;
    struct job **jobs;
    size_t n_jobs;
    bool more;
    struct store_lane lanes[64]; /* without their jobs, which are in jobs, */
    char lane_hosts[64][64];     /* and their hosts */
    size_t n_lanes;
    uid_t uids[16];
    size_t n_uids;
    struct store_attempt attempts[128]; /* without their strings */
    size_t n_attempts;
    char attempt_message[128]; /* the last one's */
    struct store_cursor next;
};

static void on_ready(void *userdata, const struct store_ready *ready) {
    struct fixture *f = userdata;

    f->n_ready++;
    f->ready = *ready;
}

static inline int lane_put(struct fixture *f, int64_t lane, int64_t turn, uint64_t due,
                           unsigned failures) {
    struct store_move m = {.lane = lane, .turn = turn, .due = due, .failures = failures};

    return store_move(f->store, &m, NULL, NULL);
}

/* Where the directories are made. */
static const char *fixture_top = "/tmp";

static void on_leftover(void *userdata) {
    (void)userdata;
}

/* How the store comes up: 0 or a negative errno. */
static int fixture_open(struct fixture *f, char **ret_why) {
    struct store_settings settings = {.ready = on_ready,
                                      .leftover = on_leftover,
                                      .userdata = f,
                                      .keep_age = f->keep_age,
                                      .keep_count = f->keep_count};

    return store_open(&f->store, f->event, f->dir, &settings, ret_why);
}

/* As after a crash. */
static inline void fixture_reopen_unsettled(struct fixture *f) {
    char *why = NULL;

    f->store = store_close(f->store);
    int r = fixture_open(f, &why);
    if (r < 0)
        fail_msg("%s", why);
}

/* As after a stop. */
static inline void fixture_reopen(struct fixture *f) {
    if (f->store)
        store_settled(f->store);
    fixture_reopen_unsettled(f);
}

static inline const char *fixture_path(const struct fixture *f, const char *name) {
    static char path[64];

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static inline int fixture_setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    char *why = NULL;

    created = now_usec(CLOCK_REALTIME);
    snprintf(f->dir, sizeof(f->dir), "%s/test_store.XXXXXX", fixture_top);
    assert_non_null(mkdtemp(f->dir));
    assert_return_code(sd_event_new(&f->event), 0);
    assert_return_code(fixture_open(f, &why), 0);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state) {
    static const char *const names[] = {"queue.db", "queue.db-wal", "queue.db-journal",
                                        "queue.db-suspect", "queue.db-wal.old"};
    struct fixture *f = *state;

    store_close(f->store);
    sd_event_unref(f->event);
    job_free_many(f->jobs, f->n_jobs);
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        unlink(fixture_path(f, names[i]));
    assert_return_code(rmdir(f->dir), errno);
    free(f);
    return 0;
}

/* Runs the loop until the answer is there. */
static inline int answer(struct fixture *f) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

    while (!f->done && now_usec(CLOCK_MONOTONIC) < end)
        assert_return_code(sd_event_run(f->event, USEC_PER_SEC), 0);
    assert_true(f->done);
    f->done = false;
    return f->error;
}

/* ---- submitting ---- */

static inline void on_submit(void *userdata, int error, const struct store_batch *batch,
                             const int64_t *ids, size_t n_ids) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
    f->batch = *batch;
    f->n_ids = n_ids;
    if (n_ids > 0)
        memcpy(f->ids, ids, n_ids * sizeof(*ids));
}

/* A chunk of jobs http://HOST/INDEX. */
static inline struct store_chunk *chunk_new(const char *key, uint64_t offset, size_t n, bool last) {
    struct store_chunk *c = calloc(1, sizeof(*c));

    c->submit_key = key ? strdup(key) : NULL;
    c->uid = 1000;
    c->created = created;
    c->offset = offset;
    c->last = last;
    c->n_jobs = n;
    c->jobs = calloc(n + 1, sizeof(*c->jobs));
    for (size_t i = 0; i < n; i++) {
        assert_true(asprintf(&c->jobs[i].url, "http://a.example/%zu", (size_t)offset + i) > 0);
        c->jobs[i].host = strdup(HOST);
    }
    return c;
}

static inline int submit_chunk(struct fixture *f, struct store_chunk *c) {
    assert_int_equal(store_submit(f->store, c, on_submit, f), 0);
    return answer(f);
}

static inline int submit(struct fixture *f, const char *key, uint64_t offset, size_t n, bool last) {
    return submit_chunk(f, chunk_new(key, offset, n, last));
}

/* ---- running ---- */

static inline void on_jobs(void *userdata, int error, struct job **jobs, size_t n, bool more) {
    struct fixture *f = userdata;

    job_free_many(f->jobs, f->n_jobs);
    f->done = true;
    f->error = error;
    f->jobs = jobs;
    f->n_jobs = n;
    f->more = more;
}

/* The lanes are copied; the jobs of all of them come one after another. */
static inline void on_lanes(void *userdata, int error, struct store_lane *lanes, size_t n,
                            bool more) {
    struct fixture *f = userdata;

    job_free_many(f->jobs, f->n_jobs);
    f->jobs = NULL;
    f->n_jobs = 0;
    f->done = true;
    f->error = error;
    f->n_lanes = n;
    f->more = more;
    for (size_t i = 0; i < n; i++) {
        snprintf(f->lane_hosts[i], sizeof(f->lane_hosts[i]), "%s", lanes[i].host);
        f->lanes[i] = lanes[i];
        f->lanes[i].host = f->lane_hosts[i];
        f->jobs = reallocarray(f->jobs, f->n_jobs + lanes[i].n_jobs + 1, sizeof(*f->jobs));
        for (size_t k = 0; k < lanes[i].n_jobs; k++)
            f->jobs[f->n_jobs++] = TAKE_PTR(lanes[i].jobs[k]);
        lanes[i].n_jobs = 0;
    }
}

static inline int hosts(struct fixture *f, const char *host, int64_t after, size_t limit) {
    assert_int_equal(store_hosts(f->store, host, after, limit, on_lanes, f), 0);
    return answer(f);
}

/* A user's line. */
static inline int lanes_after(struct fixture *f, uid_t uid, int64_t turn, int64_t lane,
                              size_t limit, size_t each) {
    assert_int_equal(store_lanes(f->store, uid, turn, lane, limit, each, on_lanes, f), 0);
    return answer(f);
}

static inline int lanes(struct fixture *f, uid_t uid, size_t limit, size_t each) {
    return lanes_after(f, uid, INT64_MIN, 0, limit, each);
}

/* The number of a host's first lane, 0: it has none. */
static inline int64_t lane_of(struct fixture *f, const char *host) {
    assert_int_equal(hosts(f, host, 0, 1), 0);
    return f->n_lanes > 0 ? f->lanes[0].id : 0;
}

static inline void on_users(void *userdata, int error, const uid_t *uids, size_t n, bool more) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
    f->n_uids = n;
    f->more = more;
    for (size_t i = 0; i < n; i++)
        f->uids[i] = uids[i];
}

static inline int users(struct fixture *f, int64_t after, size_t limit) {
    assert_int_equal(store_users(f->store, after, limit, on_users, f), 0);
    return answer(f);
}

static inline int fetch_after(struct fixture *f, const char *host, int64_t rank, int64_t id,
                              size_t limit) {
    int64_t lane = lane_of(f, host);

    assert_int_equal(store_fetch(f->store, lane, rank, id, limit, on_jobs, f), 0);
    return answer(f);
}

static inline int fetch(struct fixture *f, size_t limit) {
    return fetch_after(f, HOST, INT64_MIN, 0, limit);
}

/* Runs the loop until n jobs of HOST can be fetched. */
static inline void wait_fetch(struct fixture *f, size_t n) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

    do {
        assert_int_equal(fetch(f, STORE_STEP), 0);
        assert_true(now_usec(CLOCK_MONOTONIC) < end);
    } while (f->n_jobs < n);
    assert_int_equal(f->n_jobs, n);
}

static inline void on_put(void *userdata, int error) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
}

static inline int put(struct fixture *f, struct job *j, enum job_state to) {
    j->state = to;
    assert_int_equal(store_put(f->store, j, on_put, f), 0);
    return answer(f);
}

static inline struct job *one_job(struct fixture *f) {
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(fetch(f, 1), 0);
    assert_int_equal(f->n_jobs, 1);
    f->n_jobs = 0;
    f->n_ready = 0;
    struct job *j = f->jobs[0];
    free(TAKE_PTR(f->jobs));
    j->attempts = 1;
    return j;
}

/* ---- asking and changing ---- */

static inline void on_list(void *userdata, int error, const struct store_list *list) {
    struct fixture *f = userdata;

    on_jobs(f, error, list->jobs, list->n_jobs, false);
    f->next = list->next;
    f->n_attempts = list->n_attempts;
    for (size_t i = 0; i < list->n_attempts; i++) {
        f->attempts[i] = list->attempts[i];
        snprintf(f->attempt_message, sizeof(f->attempt_message), "%s",
                 list->attempts[i].result.message);
    }
}

static inline int list(struct fixture *f, const struct store_filter *filter) {
    assert_int_equal(store_list(f->store, filter, on_list, f), 0);
    return answer(f);
}

/* The one job of this id, shown with its history. */
static inline struct job *show(struct fixture *f, int64_t id) {
    struct store_filter filter = {.state = -1, .ids = &id, .n_ids = 1, .history = true};

    assert_int_equal(list(f, &filter), 0);
    return f->n_jobs > 0 ? f->jobs[0] : NULL;
}

static inline void on_change(void *userdata, int error, const int64_t *ids, size_t n,
                             const struct store_cursor *next) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
    f->n_ids = n;
    f->next = *next;
    if (n > 0)
        memcpy(f->ids, ids, n * sizeof(*ids));
}

static inline int change_to(struct fixture *f, const struct store_filter *filter,
                            enum store_change what, int64_t value) {
    assert_int_equal(store_change(f->store, filter, what, value, on_change, f), 0);
    return answer(f);
}

static inline int change(struct fixture *f, const struct store_filter *filter,
                         enum store_change what) {
    return change_to(f, filter, what, 0);
}

static inline int purge(struct fixture *f, const struct store_filter *filter) {
    assert_int_equal(store_purge(f->store, filter, on_change, f), 0);
    return answer(f);
}

static inline void on_batch(void *userdata, int error, const struct store_batch *batch) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
    f->batch = *batch;
}

static inline int batch_get(struct fixture *f, int64_t id) {
    assert_int_equal(store_batch_get(f->store, id, on_batch, f), 0);
    return answer(f);
}

/* ---- looking behind it ---- */

/* One number out of the file of a store that is closed. */
static inline int64_t file_number(const struct fixture *f, const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_open(fixture_path(f, "queue.db"), &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* Whether every number that is kept is what counting gives, and the file is sound; closes and opens
 * the store. */
static inline void check_numbers(struct fixture *f) {
    store_settled(f->store);
    f->store = store_close(f->store);
    assert_int_equal(file_number(f, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"),
                     1);
    assert_int_equal(
        file_number(f, "SELECT count(*) FROM counters c WHERE n <> (SELECT count(*) FROM jobs j"
                       " JOIN batches b ON b.id = j.batch WHERE b.phase IN (1, 2)"
                       " AND iif(j.state = 7, 0, j.state) = c.state)"),
        0);
    assert_int_equal(
        file_number(f,
                    "SELECT count(*) FROM batches b WHERE phase < 3 AND"
                    " (count - purged <> (SELECT count(*) FROM jobs WHERE batch = b.id)"
                    " OR (purged = 0 AND (done <> (SELECT count(*) FROM jobs WHERE batch = b.id"
                    "   AND state = 4)"
                    "  OR failed <> (SELECT count(*) FROM jobs WHERE batch = b.id AND state = 5)"
                    "  OR cancelled <> (SELECT count(*) FROM jobs WHERE batch = b.id AND state = 6)"
                    "  OR bytes <> (SELECT ifnull(sum(bytes), 0) FROM jobs WHERE batch = b.id"
                    "   AND state = 4)))"
                    " OR done + failed + cancelled - purged <> (SELECT count(*) FROM jobs"
                    "  WHERE batch = b.id AND state IN (4, 5, 6))"
                    " OR (finished > 0) <> (phase > 0 AND done + failed + cancelled = count))"),
        0);
    assert_int_equal(
        file_number(f, "SELECT count(*) FROM jobs j WHERE iif(state IN (4, 5, 6), lane IS NOT NULL,"
                       " lane IS NULL OR lane NOT IN (SELECT id FROM lanes))"
                       " OR (state IN (4, 5, 6) AND finished IS NULL)"),
        0);
    assert_int_equal(
        file_number(f, "SELECT count(*) FROM lanes l LEFT JOIN (SELECT lane, sum(state = 0) q,"
                       " sum(state = 1) w, sum(state = 2) p, sum(state = 7) s FROM jobs"
                       " WHERE lane IS NOT NULL GROUP BY lane) c ON c.lane = l.id"
                       " WHERE (queued, waiting, paused, staged) IS NOT (q, w, p, s)"),
        0);
    assert_int_equal(file_number(f, "SELECT count(*) FROM lanes"
                                    " WHERE (queued > 0 AND due IS NULL) <> (in_line IS NOT NULL)"),
                     0);
    assert_int_equal(
        file_number(f, "SELECT count(*) FROM (SELECT uid, sum(queued + waiting + paused + staged) n"
                       " FROM lanes GROUP BY uid) l FULL JOIN users u ON u.uid = l.uid"
                       " WHERE ifnull(n, 0) <> ifnull(u.jobs, 0)"),
        0);
    assert_int_equal(file_number(f, "SELECT count(*) FROM (SELECT 1 FROM lanes GROUP BY uid, host"
                                    " HAVING count(*) > 1)"),
                     0);
    assert_int_equal(file_number(f, "SELECT count(*) FROM jobs j JOIN lanes l ON l.id = j.lane"
                                    " JOIN batches b ON b.id = j.batch WHERE b.uid <> l.uid"),
                     0);
    fixture_reopen(f);
}

#endif
