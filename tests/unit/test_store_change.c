/* The durable queue: changes of many jobs, by batch, tag, host and ids. */

#include "tests/unit/store_fixture.h"

static const struct store_filter all = {.state = -1};

/* n jobs; those with an odd index are tagged "odd", and those of the upper half are of another
 * host. */
static struct store_chunk *chunk_mixed(uid_t uid, const char *key, size_t n) {
    struct store_chunk *c = chunk_new(key, 0, n, true);

    c->uid = uid;
    for (size_t i = 0; i < n; i++) {
        if (i % 2)
            c->jobs[i].tag = strdup("odd");
        if (i < n / 2)
            continue;
        free(c->jobs[i].url);
        free(c->jobs[i].host);
        assert_true(asprintf(&c->jobs[i].url, "http://b.example/%zu", i) > 0);
        c->jobs[i].host = strdup("b.example:80");
    }
    return c;
}

/* Changes all that the filter means, in as many requests as it takes; how many that were. */
static size_t change_all(struct fixture *f, struct store_filter filter, enum store_change what,
                         int64_t value) {
    size_t n = 0, requests = 0;
    int64_t last = 0;

    do {
        assert_int_equal(change_to(f, &filter, what, value), 0);
        for (size_t i = 0; i < f->n_ids; i++) {
            assert_true(f->ids[i] > last);
            last = f->ids[i];
        }
        if (filter.host) /* not in order of id */
            last = 0;
        n += f->n_ids;
        filter.after = f->next;
        assert_true(++requests < 1000);
    } while (f->next.id != 0);
    return n;
}

static size_t list_all(struct fixture *f, struct store_filter filter) {
    size_t n = 0;

    do {
        assert_int_equal(list(f, &filter), 0);
        n += f->n_jobs;
        filter.after = f->next;
    } while (f->next.id != 0);
    return n;
}

static uint64_t count(struct fixture *f, enum job_state s) {
    return store_counts(f->store)[s];
}

static void test_tag(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_chunk(f, chunk_mixed(1000, NULL, 21)), 0);
    int64_t batch = f->batch.id;
    assert_int_equal(submit_chunk(f, chunk_mixed(1001, NULL, 21)), 0);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .tag = "odd"}), 20);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .tag = "odd", .limit = 3}), 20);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .tag = "even"}), 0);
    assert_int_equal(change_all(f, (struct store_filter){.state = -1, .tag = "odd", .batch = batch},
                                STORE_CANCEL, 0),
                     10);
    assert_int_equal(change_all(f, (struct store_filter){.state = -1, .tag = "odd", .limit = 4},
                                STORE_CANCEL, 0),
                     10);
    assert_int_equal(count(f, JOB_CANCELLED), 20);
    check_numbers(f);
    assert_int_equal(
        change_all(f, (struct store_filter){.state = -1, .tag = "odd"}, STORE_RETRY, 0), 20);
    check_numbers(f);
}

static void test_host(void **state) {
    struct fixture *f = *state;
    struct store_filter b = {.state = -1, .host = "b.example:80", .limit = 3};

    for (uid_t uid = 1000; uid < 1004; uid++)
        assert_int_equal(submit_chunk(f, chunk_mixed(uid, NULL, 20)), 0);
    assert_int_equal(change_all(f, b, STORE_RATE, 7), 40);
    assert_int_equal(change_all(f, b, STORE_RATE, 7), 0); /* they have it already */
    assert_int_equal(change_all(f, b, STORE_PAUSE, 0), 40);
    assert_int_equal(count(f, JOB_PAUSED), 40);
    check_numbers(f);
    b.tag = "odd";
    assert_int_equal(change_all(f, b, STORE_CANCEL, 0), 20);
    b.tag = NULL;
    assert_int_equal(change_all(f, b, STORE_RATE, 8), 20);
    check_numbers(f);
    /* What has ended is found by its URL. */
    assert_int_equal(change_all(f, b, STORE_RETRY, 0), 20);
    assert_int_equal(change_all(f, b, STORE_RATE, 9), 40);
    assert_int_equal(count(f, JOB_QUEUED), 60);
    check_numbers(f);
    b.host = "nowhere:80";
    assert_int_equal(change_all(f, b, STORE_CANCEL, 0), 0);
}

/* A job that is moved forward in its lane is met again, and counts once. */
static void test_host_of_other_priorities(void **state) {
    struct fixture *f = *state;
    struct store_filter b = {.state = -1, .host = "b.example:80", .limit = 3};

    for (uid_t uid = 1000; uid < 1004; uid++)
        assert_int_equal(submit_chunk(f, chunk_mixed(uid, NULL, 20)), 0);
    for (int64_t priority = -100; priority <= 100; priority += 50)
        assert_int_equal(change_all(f, b, STORE_PRIORITY, priority), 40);
    assert_int_equal(change_all(f, b, STORE_PRIORITY, 100), 0);
    check_numbers(f);
}

/* One that becomes due while the way through the lane is under way is not missed. */
static void test_host_whose_jobs_go_on(void **state) {
    struct fixture *f = *state;
    struct store_filter a = {.state = -1, .host = HOST, .limit = 2};
    _cleanup_(job_freep) struct job *j = one_job(f);

    assert_int_equal(submit(f, NULL, 0, 4, true), 0);
    j->due = now_usec(CLOCK_REALTIME) + 3600 * USEC_PER_SEC;
    j->result.error = ERR_TIMEOUT;
    assert_int_equal(put(f, j, JOB_WAITING), 0);
    assert_int_equal(change_to(f, &a, STORE_RATE, 5), 0);
    assert_int_equal(f->n_ids, 2);
    a.after = f->next;
    assert_int_equal(change_to(f, &a, STORE_RATE, 5), 0);
    assert_int_equal(f->n_ids, 2);
    a.after = f->next;
    assert_int_equal(put(f, j, JOB_QUEUED), 0);
    assert_int_equal(change_all(f, a, STORE_RATE, 5), 1);
    check_numbers(f);
}

static void test_host_of_many_jobs(void **state) {
    struct fixture *f = *state;
    struct store_filter a = {.state = -1, .host = HOST};

    assert_int_equal(submit_chunk(f, chunk_new(NULL, 0, 25000, true)), 0);
    struct store_chunk *c = chunk_new(NULL, 0, 7000, true);
    c->uid = 7;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(change_all(f, a, STORE_RATE, 5), 32000);
    assert_int_equal(change_all(f, a, STORE_CANCEL, 0), 32000);
    check_numbers(f);
}

static void test_host_of_what_is_being_released(void **state) {
    struct fixture *f = *state;
    struct store_filter a = {.state = -1, .host = HOST};

    assert_int_equal(submit(f, "k", 0, 15000, false), 0);
    assert_int_equal(change_all(f, a, STORE_PAUSE, 0), 0);
    assert_int_equal(submit(f, "k", 15000, 1, true), 0);
    assert_int_equal(change_all(f, a, STORE_PAUSE, 0), 15001);
    check_numbers(f);
}

static void on_last_chunk(void *userdata, int error, const struct store_batch *batch,
                          const int64_t *ids, size_t n) {
    (void)ids;
    (void)n;
    *(bool *)userdata = error == 0 && batch->complete;
}

/* Not one of their jobs is QUEUED yet, and ids of another host and another batch are in between. */
static void test_host_of_what_is_about_to_be_released(void **state) {
    struct store_filter a = {.state = -1, .host = HOST};
    struct fixture *f = *state;
    bool complete = false;

    assert_int_equal(submit(f, "k", 0, 700, false), 0);
    assert_int_equal(submit(f, "open", 0, 700, false), 0);
    assert_int_equal(submit_chunk(f, chunk_mixed(7, NULL, 100)), 0);
    assert_int_equal(submit(f, "k", 700, 700, false), 0);
    struct store_chunk *c = chunk_new("k", 1400, 1, true);
    assert_int_equal(store_submit(f->store, c, on_last_chunk, &complete), 0);
    assert_int_equal(change_all(f, a, STORE_CANCEL, 0), 1401 + 50);
    assert_true(complete);
    assert_int_equal(count(f, JOB_CANCELLED), 1401 + 50);
    assert_int_equal(count(f, JOB_QUEUED), 50);
    check_numbers(f);
}

static void test_pause_keeps_from_starting(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 5, true), 0);
    assert_int_equal(change_all(f, all, STORE_PAUSE, 0), 5);
    assert_int_equal(change_all(f, all, STORE_PAUSE, 0), 0);
    assert_int_equal(lanes(f, 1000, 5, 1), 0);
    assert_int_equal(f->n_lanes, 0);
    assert_int_equal(hosts(f, NULL, 0, 5), 0);
    assert_int_equal(f->lanes[0].paused, 5);
    check_numbers(f);
    f->n_ready = 0;
    assert_int_equal(change_all(f, (struct store_filter){.state = -1, .limit = 2}, STORE_RESUME, 0),
                     5);
    assert_true(f->n_ready > 0);
    assert_int_equal(f->ready.first_rank, created);
    wait_fetch(f, 5);
    check_numbers(f);
}

static void test_resume_waits_for_what_is_still_due(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new(NULL, 0, 2, true);

    c->created = now_usec(CLOCK_REALTIME);
    c->jobs[0].not_before = c->created + 700 * USEC_PER_MSEC;
    c->jobs[1].not_before = c->created + 100 * USEC_PER_MSEC;
    uint64_t due = c->jobs[0].not_before;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(change_all(f, all, STORE_PAUSE, 0), 2);
    usleep(200 * USEC_PER_MSEC);
    assert_int_equal(show(f, 1)->state, JOB_PAUSED);
    assert_int_equal(f->jobs[0]->due, due);
    assert_int_equal(change_all(f, all, STORE_RESUME, 0), 2);
    if (now_usec(CLOCK_REALTIME) < due) {
        assert_int_equal(count(f, JOB_WAITING), 1);
        assert_int_equal(count(f, JOB_QUEUED), 1);
    }
    check_numbers(f);
    wait_fetch(f, 2);
    assert_true(now_usec(CLOCK_REALTIME) >= due);
    assert_int_equal(f->jobs[0]->due, 0);
    check_numbers(f);
}

static void test_pause_of_an_active_job(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->attempts = 3;
    j->crashes = 1;
    j->stalls = 2;
    j->kept = (struct job_kept){.offset = 4096, .total = 9999, .etag = strdup("\"x\"")};
    assert_int_equal(put(f, j, JOB_PAUSED), 0);
    check_numbers(f);
    struct job *k = show(f, j->id);
    assert_int_equal(k->state, JOB_PAUSED);
    assert_int_equal(k->attempts, 3);
    assert_int_equal(k->crashes, 1);
    assert_int_equal(k->stalls, 2);
    assert_int_equal(k->kept.offset, 4096);
    assert_string_equal(k->kept.etag, "\"x\"");
    assert_int_equal(f->n_attempts, 0);
    assert_int_equal(put(f, j, JOB_STAGED), -EINVAL);
    assert_int_equal(change_all(f, all, STORE_RESUME, 0), 1);
    assert_int_equal(fetch(f, 1), 0);
    assert_int_equal(f->jobs[0]->kept.offset, 4096);
    check_numbers(f);
}

/* It was started while the request to pause it was on its way. */
static void test_pause_that_meets_a_job_as_it_starts(void **state) {
    static const enum job_state put_as[] = {JOB_QUEUED, JOB_WAITING, JOB_PAUSED};
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    assert_int_equal(change_all(f, all, STORE_PAUSE, 0), 1);
    for (size_t i = 0; i < ELEMENTSOF(put_as); i++) {
        j->attempts++;
        assert_int_equal(put(f, j, put_as[i]), -EALREADY);
        assert_int_equal(show(f, j->id)->state, JOB_PAUSED);
        assert_int_equal(f->jobs[0]->attempts, j->attempts);
        check_numbers(f);
    }
    assert_int_equal(put(f, j, JOB_DONE), 0);
    assert_int_equal(count(f, JOB_DONE), 1);
    check_numbers(f);
}

static void test_priority(void **state) {
    struct fixture *f = *state;
    static const int64_t ids[] = {3, 5};
    struct store_filter some = {.state = -1, .ids = ids, .n_ids = 2};

    assert_int_equal(submit(f, NULL, 0, 6, true), 0);
    f->n_ready = 0;
    assert_int_equal(change_all(f, some, STORE_PRIORITY, 10), 2);
    assert_int_equal(f->n_ready, 1);
    assert_int_equal(f->ready.first_rank, created - 10 * JOB_PRIORITY_STEP);
    assert_int_equal(fetch(f, 6), 0);
    assert_int_equal(f->jobs[0]->id, 3);
    assert_int_equal(job_priority(f->jobs[0]), 10);
    assert_int_equal(f->jobs[1]->id, 5);
    assert_int_equal(f->jobs[2]->id, 1);
    assert_int_equal(change_all(f, some, STORE_PRIORITY, -100), 2);
    assert_int_equal(fetch(f, 6), 0);
    assert_int_equal(f->jobs[4]->id, 3);
    assert_int_equal(job_priority(f->jobs[4]), -100);
    assert_int_equal(change_all(f, some, STORE_PAUSE, 0), 2);
    f->n_ready = 0;
    assert_int_equal(change_all(f, some, STORE_PRIORITY, 1), 2);
    assert_int_equal(f->n_ready, 0);
    check_numbers(f);
}

static void test_rate(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new(NULL, 0, 2, true);

    c->jobs[1].rate_limit = 77;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(fetch(f, 2), 0);
    assert_int_equal(f->jobs[0]->rate_limit, 0);
    assert_int_equal(f->jobs[1]->rate_limit, 77);
    assert_int_equal(change_all(f, all, STORE_RATE, 1000000), 2);
    assert_int_equal(fetch(f, 2), 0);
    assert_int_equal(f->jobs[0]->rate_limit, 1000000);
    assert_int_equal(change_all(f, all, STORE_RATE, 0), 2);
    assert_int_equal(fetch(f, 2), 0);
    assert_int_equal(f->jobs[1]->rate_limit, 0);
}

static void test_retry_goes_to_the_lane_of_its_user(void **state) {
    struct fixture *f = *state;

    for (uid_t uid = 1000; uid < 1003; uid++)
        assert_int_equal(submit_chunk(f, chunk_mixed(uid, NULL, 4)), 0);
    assert_int_equal(change_all(f, all, STORE_CANCEL, 0), 12);
    assert_int_equal(hosts(f, NULL, 0, 10), 0);
    assert_int_equal(f->n_lanes, 0);
    f->n_ready = 0;
    assert_int_equal(change_all(f, all, STORE_RETRY, 0), 12);
    assert_int_equal(f->n_ready, 6);
    assert_int_equal(hosts(f, NULL, 0, 10), 0);
    assert_int_equal(f->n_lanes, 6);
    check_numbers(f);
}

static void test_put_after_cancel_and_retry_finds_the_lane(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    assert_int_equal(change_all(f, all, STORE_CANCEL, 0), 1);
    assert_int_equal(change_all(f, all, STORE_RETRY, 0), 1);
    assert_int_equal(put(f, j, JOB_DONE), 0);
    check_numbers(f);
}

static void test_purge(void **state) {
    struct fixture *f = *state;
    struct store_filter failed = {.state = JOB_CANCELLED};

    assert_int_equal(submit_chunk(f, chunk_mixed(1000, NULL, 10)), 0);
    int64_t batch = f->batch.id;
    assert_int_equal(purge(f, &all), 0);
    assert_int_equal(f->n_ids, 0);
    assert_int_equal(
        change_all(f, (struct store_filter){.state = -1, .tag = "odd"}, STORE_CANCEL, 0), 5);
    assert_int_equal(purge(f, &failed), 0);
    assert_int_equal(f->n_ids, 5);
    assert_int_equal(count(f, JOB_CANCELLED), 0);
    assert_null(show(f, f->ids[0]));
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .batch = batch}), 5);
    assert_int_equal(batch_get(f, batch), 0);
    assert_int_equal(f->batch.cancelled, 5);
    assert_int_equal(f->batch.count, 10);
    check_numbers(f);
    assert_int_equal(change_all(f, all, STORE_CANCEL, 0), 5);
    uint64_t finished;
    assert_int_equal(batch_get(f, batch), 0);
    finished = f->batch.finished;
    assert_int_equal(purge(f, &all), 0);
    assert_int_equal(batch_get(f, batch), 0);
    assert_int_equal(f->batch.finished, finished);
    check_numbers(f);
}

static void test_purge_takes_attempts(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->result.error = ERR_TIMEOUT;
    j->due = 1;
    assert_int_equal(put(f, j, JOB_WAITING), 0);
    wait_fetch(f, 1);
    assert_int_equal(put(f, j, JOB_FAILED), 0);
    assert_int_equal(purge(f, &all), 0);
    f->store = store_close(f->store);
    assert_int_equal(file_number(f, "SELECT count(*) FROM attempts"), 0);
    assert_int_equal(file_number(f, "SELECT count(*) FROM jobs"), 0);
    assert_int_equal(file_number(f, "SELECT count(*) FROM lanes"), 0);
    fixture_reopen(f);
}

/* ---- quota ---- */

static int submit_within(struct fixture *f, const char *key, uint64_t offset, size_t n, bool last,
                         uint64_t max_unended) {
    struct store_chunk *c = chunk_new(key, offset, n, last);

    c->max_unended = max_unended;
    return submit_chunk(f, c);
}

static void test_user_has_no_more_jobs_than_allowed(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_within(f, NULL, 0, 3, true, 4), 0);
    assert_int_equal(submit_within(f, NULL, 0, 2, true, 4), -EDQUOT);
    assert_int_equal(submit_within(f, NULL, 0, 1, true, 4), 0);
    assert_int_equal(submit_within(f, NULL, 0, 1, true, 4), -EDQUOT);
    assert_int_equal(submit_within(f, NULL, 0, 1, true, 0), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 5);
    check_numbers(f);
}

static void test_chunks_count_before_their_batch_is_complete(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_within(f, "k", 0, 3, false, 4), 0);
    assert_int_equal(submit_within(f, NULL, 0, 2, true, 4), -EDQUOT);
    /* one that is there already is no new one */
    assert_int_equal(submit_within(f, "k", 0, 3, false, 1), 0);
    assert_int_equal(submit_within(f, "k", 3, 1, true, 4), 0);
    check_numbers(f);
}

static void test_chunk_over_the_quota_gives_its_batch_up(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit_within(f, "k", 0, 3, false, 4), 0);
    assert_int_equal(submit_within(f, "k", 3, 2, true, 4), -EDQUOT);
    assert_int_equal(submit_within(f, "k", 3, 1, true, 4), -EINVAL);
    assert_int_equal(batch_get(f, 1), -ENOENT);
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
    while (submit_within(f, "k", 0, 4, true, 4) < 0)
        assert_true(now_usec(CLOCK_MONOTONIC) < end);
    assert_int_equal(f->batch.count, 4);
    check_numbers(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_user_has_no_more_jobs_than_allowed),
        TEST(test_chunks_count_before_their_batch_is_complete),
        TEST(test_chunk_over_the_quota_gives_its_batch_up),
        TEST(test_tag),
        TEST(test_host),
        TEST(test_host_of_other_priorities),
        TEST(test_host_whose_jobs_go_on),
        TEST(test_host_of_many_jobs),
        TEST(test_host_of_what_is_being_released),
        TEST(test_host_of_what_is_about_to_be_released),
        TEST(test_pause_keeps_from_starting),
        TEST(test_resume_waits_for_what_is_still_due),
        TEST(test_pause_of_an_active_job),
        TEST(test_pause_that_meets_a_job_as_it_starts),
        TEST(test_priority),
        TEST(test_rate),
        TEST(test_retry_goes_to_the_lane_of_its_user),
        TEST(test_put_after_cancel_and_retry_finds_the_lane),
        TEST(test_purge),
        TEST(test_purge_takes_attempts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
