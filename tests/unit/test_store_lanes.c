/* The durable queue: lanes, their users' lines, and who is told of them. */

#include "daemon/store_repair.h"
#include "daemon/store_sqlite.h"
#include "tests/unit/store_fixture.h"

/* A chunk whose job i is of host "hX.example:80", X = i % hosts. */
static struct store_chunk *chunk_hosts(uid_t uid, size_t n, unsigned hosts_n) {
    struct store_chunk *c = chunk_new(NULL, 0, n, true);

    c->uid = uid;
    for (size_t i = 0; i < n; i++) {
        free(c->jobs[i].url);
        free(c->jobs[i].host);
        assert_true(asprintf(&c->jobs[i].url, "http://h%zu.example/%zu", i % hosts_n, i) > 0);
        assert_true(asprintf(&c->jobs[i].host, "h%zu.example:80", i % hosts_n) > 0);
    }
    return c;
}

/* Runs the loop until n lanes were told of. */
static void wait_ready(struct fixture *f, size_t n) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

    while (f->n_ready < n && now_usec(CLOCK_MONOTONIC) < end)
        sd_event_run(f->event, USEC_PER_SEC);
    assert_int_equal(f->n_ready, n);
}

static void test_a_lane_for_each_host_and_user(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 30, 5)), 0);
    assert_int_equal(f->n_ready, 5);
    assert_int_equal(submit_chunk(f, chunk_hosts(1001, 10, 5)), 0);
    assert_int_equal(f->n_ready, 10);
    assert_int_equal(f->ready.uid, 1001);
    assert_int_equal(f->ready.first_rank, created);
    assert_int_equal(submit_chunk(f, chunk_hosts(1001, 10, 5)), 0);
    assert_int_equal(f->n_ready, 15);
    assert_int_equal(hosts(f, NULL, 0, 64), 0);
    assert_int_equal(f->n_lanes, 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(f->lanes[i].uid, i < 5 ? 1000 : 1001);
        assert_int_equal(f->lanes[i].queued, i < 5 ? 6 : 4);
        assert_int_equal(f->lanes[i].turn, created);
        assert_true(i == 0 || f->lanes[i].id > f->lanes[i - 1].id);
    }
    check_numbers(f);
}

static void test_lane_ends_with_its_last_job(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 2, 1)), 0);
    int64_t lane = lane_of(f, "h0.example:80");
    for (int left = 1; left >= 0; left--) {
        assert_int_equal(fetch_after(f, "h0.example:80", INT64_MIN, 0, 1), 0);
        _cleanup_(job_freep) struct job *j = TAKE_PTR(f->jobs[0]);
        f->n_jobs = 0;
        assert_int_equal(j->lane, lane);
        assert_int_equal(put(f, j, JOB_DONE), 0);
        assert_int_equal(lane_of(f, "h0.example:80") != 0, left);
    }
    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 1, 1)), 0);
    assert_true(lane_of(f, "h0.example:80") > lane);
    check_numbers(f);
}

static void test_hosts_in_pages(void **state) {
    struct fixture *f = *state;
    int64_t last = 0;
    size_t n = 0;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 20, 10)), 0);
    assert_int_equal(submit_chunk(f, chunk_hosts(1001, 20, 10)), 0);
    do {
        assert_int_equal(hosts(f, NULL, last, 6), 0);
        n += f->n_lanes;
        last = f->lanes[f->n_lanes - 1].id;
        assert_int_equal(f->more, n < 20);
    } while (f->more);
    assert_int_equal(n, 20);
    assert_int_equal(hosts(f, "h3.example:80", 0, 6), 0);
    assert_int_equal(f->n_lanes, 2);
    assert_string_equal(f->lanes[0].host, "h3.example:80");
    assert_string_equal(f->lanes[1].host, "h3.example:80");
    assert_int_equal(hosts(f, "h3.example:80", f->lanes[0].id, 6), 0);
    assert_int_equal(f->n_lanes, 1);
    assert_int_equal(hosts(f, "nowhere.example:80", 0, 6), 0);
    assert_int_equal(f->n_lanes, 0);
}

static void test_users_in_pages(void **state) {
    struct fixture *f = *state;
    static const uid_t uids[] = {70000, 0, 1000, 4294967294, 3};

    assert_int_equal(users(f, -1, 3), 0);
    assert_int_equal(f->n_uids, 0);
    for (size_t i = 0; i < ELEMENTSOF(uids); i++)
        assert_int_equal(submit_chunk(f, chunk_hosts(uids[i], 20, 10)), 0);
    assert_int_equal(users(f, -1, 3), 0);
    assert_int_equal(f->n_uids, 3);
    assert_true(f->more);
    assert_int_equal(f->uids[0], 0);
    assert_int_equal(f->uids[2], 1000);
    assert_int_equal(users(f, 1000, 3), 0);
    assert_int_equal(f->n_uids, 2);
    assert_false(f->more);
    assert_int_equal(f->uids[1], 4294967294);
}

static void test_line_in_pages_with_first_jobs(void **state) {
    struct fixture *f = *state;
    int64_t turn = INT64_MIN, lane = 0;
    size_t n = 0;

    assert_int_equal(submit_chunk(f, chunk_hosts(1001, 5, 5)), 0);
    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 30, 10)), 0);
    do {
        assert_int_equal(lanes_after(f, 1000, turn, lane, 3, 2), 0);
        assert_int_equal(f->n_jobs, 2 * f->n_lanes);
        for (size_t i = 0; i < f->n_lanes; i++) {
            assert_int_equal(f->lanes[i].uid, 1000);
            assert_true(f->lanes[i].more);
            assert_string_equal(f->jobs[2 * i]->host, f->lanes[i].host);
            assert_int_equal(f->jobs[2 * i]->lane, f->lanes[i].id);
            assert_true(f->jobs[2 * i]->id < f->jobs[2 * i + 1]->id);
            assert_true(f->lanes[i].id > lane || f->lanes[i].turn > turn);
            lane = f->lanes[i].id;
            turn = f->lanes[i].turn;
            n++;
        }
        assert_int_equal(f->more, n < 10);
    } while (f->more);
    assert_int_equal(lanes_after(f, 1000, turn, lane, 3, 2), 0);
    assert_int_equal(f->n_lanes, 0);
    assert_int_equal(lanes(f, 1000, 64, 3), 0);
    assert_false(f->lanes[0].more);
    assert_int_equal(f->n_jobs, 30);
}

static void test_turn_is_where_it_was_put(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 3, 3)), 0);
    assert_int_equal(lanes(f, 1000, 3, 0), 0);
    int64_t first = f->lanes[0].id, second = f->lanes[1].id, third = f->lanes[2].id;
    assert_int_equal(lane_put(f, second, -5, 0, 0), 0);
    assert_int_equal(lane_put(f, first, (int64_t)created + 1, 0, 7), 0);
    assert_int_equal(lane_put(f, 4711, 0, 0, 0), 0);
    fixture_reopen(f);
    assert_int_equal(lanes(f, 1000, 3, 0), 0);
    assert_int_equal(f->lanes[0].id, second);
    assert_int_equal(f->lanes[0].turn, -5);
    assert_int_equal(f->lanes[1].id, third);
    assert_int_equal(f->lanes[2].id, first);
    assert_int_equal(f->lanes[2].failures, 7);
    f->n_ready = 0;
    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 3, 3)), 0); /* it leaves them there */
    assert_int_equal(f->n_ready, 3);
    assert_int_equal(lanes(f, 1000, 3, 0), 0);
    assert_int_equal(f->lanes[0].turn, -5);
    check_numbers(f);
}

static void test_parked_until_due(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 4, 2)), 0);
    int64_t lane = lane_of(f, "h0.example:80");
    uint64_t due = now_usec(CLOCK_REALTIME) + 700 * USEC_PER_MSEC;
    assert_int_equal(lane_put(f, lane, 17, due, 3), 0);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 1);
    assert_int_equal(hosts(f, "h0.example:80", 0, 5), 0);
    assert_int_equal(f->lanes[0].due, due);
    assert_int_equal(f->lanes[0].failures, 3);
    fixture_reopen(f);
    f->n_ready = 0;
    /* More jobs don't make it ready, and jobs of others do. */
    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 2, 2)), 0);
    assert_int_equal(f->n_ready, 1);
    assert_int_not_equal(f->ready.lane, lane);
    wait_ready(f, 2);
    assert_true(now_usec(CLOCK_REALTIME) >= due);
    assert_int_equal(f->ready.lane, lane);
    assert_int_equal(f->ready.turn, 17);
    assert_int_equal(f->ready.first_rank, created);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 2);
    assert_int_equal(f->lanes[0].id, lane);
    assert_int_equal(f->lanes[0].due, 0);
    check_numbers(f);
}

/* By a clock that was ahead. */
static void test_parked_for_too_long_is_due_when_opened(void **state) {
    struct fixture *f = *state;
    uint64_t now = now_usec(CLOCK_REALTIME), day = 24 * 3600 * USEC_PER_SEC;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 4, 2)), 0);
    int64_t lane = lane_of(f, "h0.example:80"), other = lane_of(f, "h1.example:80");
    assert_int_equal(lane_put(f, lane, 17, now + 400 * day, 3), 0);
    assert_int_equal(lane_put(f, other, 18, now + day / 48, 3), 0);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 0);
    f->n_ready = 0;
    fixture_reopen(f);
    wait_ready(f, 1);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 1);
    assert_int_equal(f->lanes[0].id, lane);
    check_numbers(f);
}

static void test_all_lanes_of_a_host_are_parked(void **state) {
    struct fixture *f = *state;
    uint64_t due = now_usec(CLOCK_REALTIME) + 3600 * USEC_PER_SEC;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    assert_int_equal(f->n_lanes, 1);
    assert_int_equal(store_park(f->store, f->lanes[0].host, due, 2), 0);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    assert_int_equal(f->n_lanes, 0);
    check_numbers(f);
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    assert_int_equal(f->n_lanes, 0);
    check_numbers(f);
}

static void test_parked_without_queued_jobs_is_not_told(void **state) {
    struct fixture *f = *state;
    struct store_filter all = {.state = -1};

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 1, 1)), 0);
    int64_t lane = lane_of(f, "h0.example:80");
    assert_int_equal(change(f, &all, STORE_PAUSE), 0);
    f->n_ready = 0;
    assert_int_equal(
        lane_put(f, lane, 17, now_usec(CLOCK_REALTIME) + 100 * USEC_PER_MSEC, 0), 0);
    for (int tries = 0; tries < 1000; tries++) {
        usleep(10000);
        assert_int_equal(hosts(f, NULL, 0, 5), 0);
        if (f->lanes[0].due == 0)
            break;
    }
    assert_int_equal(f->lanes[0].due, 0);
    assert_int_equal(f->n_ready, 0);
    check_numbers(f);
}

static void test_one_notice_for_a_lane_of_a_release(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 90, false), 0);
    assert_int_equal(hosts(f, NULL, 0, 5), 0);
    assert_int_equal(f->lanes[0].queued, 0);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 0);
    assert_int_equal(f->n_ready, 0);
    assert_int_equal(submit(f, "k", 90, 5, true), 0);
    wait_fetch(f, 95);
    assert_int_equal(f->n_ready, 1);
    check_numbers(f);
}

static void test_many_hosts(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_hosts(1000, 30000, 30000)), 0);
    assert_int_equal(f->n_ready, 30000);
    struct store_chunk *c = chunk_hosts(1000, 10000, 10000);
    c->submit_key = strdup("k");
    c->last = false;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(f->n_ready, 30000);
    assert_int_equal(submit(f, "k", 10000, 0, true), 0);
    wait_ready(f, 40000);
    check_numbers(f);
    assert_int_equal(lanes(f, 1000, 50, 4), 0);
    assert_int_equal(f->n_lanes, 50);
    assert_true(f->n_jobs >= 50);
}

/* ---- how rows are found ---- */

/* What SQLite will do for a statement, line by line. */
static void check_plan(sqlite3 *sqlite, const char *sql) {
    _cleanup_free_ char *explain = NULL;
    sqlite3_stmt *st;

    assert_true(asprintf(&explain, "EXPLAIN QUERY PLAN %s", sql) > 0);
    if (sqlite3_prepare_v2(sqlite, explain, -1, &st, NULL) != SQLITE_OK)
        return; /* a PRAGMA, BEGIN, COMMIT */
    while (sqlite3_step(st) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(st, 3);
        /* Reading an index from its start is not a scan where a few rows are wanted; constant rows
         * are those of VALUES. */
        bool scans = strncmp(line, "SCAN", 4) == 0 && !strstr(line, "CONSTANT ROW") &&
                     !(strstr(line, "USING") && strstr(line, "INDEX") && strstr(sql, "LIMIT"));

        if (scans || strstr(line, "TEMP B-TREE"))
            fail_msg("%s: %s", sql, line);
    }
    sqlite3_finalize(st);
}

static void test_no_statement_scans(void **state) {
    struct fixture *f = *state;
    struct db *db;
    char *why = NULL;

    f->store = store_close(f->store);
    assert_int_equal(db_open(&db, f->dir, &why), 0);
    for (int i = 0; i < ST_MAX_; i++)
        check_plan(db->sqlite, sqlite3_sql(db->statements[i]));
    db_close(db);
}

static int on_profile(unsigned what, void *userdata, void *statement, void *usec) {
    int steps = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0);

    (void)what;
    (void)userdata;
    (void)usec;
    if (steps > JOB_STATE_MAX_) /* the counters are read one and all */
        fail_msg("%s: %d steps", sqlite3_sql(statement), steps);
    return 0;
}

static void test_opening_looks_at_few_rows(void **state) {
    struct fixture *f = *state;
    struct db *db;
    char *why = NULL;

    assert_int_equal(submit(f, NULL, 0, 100, true), 0);
    f->store = store_close(f->store);
    assert_int_equal(db_open(&db, f->dir, &why), 0);
    assert_int_equal(sqlite3_exec(db->sqlite, "UPDATE jobs SET state = 4, lane = NULL, finished = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_trace_v2(db->sqlite, SQLITE_TRACE_PROFILE, on_profile, NULL), SQLITE_OK);
    assert_int_equal(repair_look_rows(db->sqlite, &why), 0);
    db_close(db);
}

static void test_urgent_job_hurries_its_lane(void **state) {
    struct fixture *f = *state;
    int64_t far = (int64_t)created + 3600 * (int64_t)USEC_PER_SEC;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    int64_t lane = f->lanes[0].id;
    assert_int_equal(lane_put(f, lane, far, 0, 0), 0);
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    assert_true(f->lanes[0].turn == far);
    struct store_chunk *c = chunk_new(NULL, 0, 1, true);
    c->jobs[0].priority = 10;
    int64_t rank = (int64_t)c->created - 10 * (int64_t)JOB_PRIORITY_STEP;
    f->n_ready = 0;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_true(f->n_ready == 1 && f->ready.lane == lane && f->ready.turn == rank);
    assert_int_equal(lanes(f, 1000, 1, 0), 0);
    assert_true(f->lanes[0].turn == rank);
    check_numbers(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_lane_for_each_host_and_user),
        TEST(test_lane_ends_with_its_last_job),
        TEST(test_hosts_in_pages),
        TEST(test_users_in_pages),
        TEST(test_line_in_pages_with_first_jobs),
        TEST(test_turn_is_where_it_was_put),
        TEST(test_parked_until_due),
        TEST(test_parked_for_too_long_is_due_when_opened),
        TEST(test_all_lanes_of_a_host_are_parked),
        TEST(test_parked_without_queued_jobs_is_not_told),
        TEST(test_one_notice_for_a_lane_of_a_release),
        TEST(test_many_hosts),
        TEST(test_no_statement_scans),
        TEST(test_opening_looks_at_few_rows),
        TEST(test_urgent_job_hurries_its_lane),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
