/* The durable queue: history that isn't kept, room given back, and the size of the log. */

#include "tests/unit/store_fixture.h"

static const struct store_filter all = {.state = -1};

static uint64_t ended(struct fixture *f) {
    const uint64_t *n = store_counts(f->store);

    return n[JOB_DONE] + n[JOB_FAILED] + n[JOB_CANCELLED];
}

static void cancel_all(struct fixture *f) {
    struct store_filter filter = all;

    do {
        assert_int_equal(change(f, &filter, STORE_CANCEL), 0);
        filter.after = f->next;
    } while (f->next.id != 0);
}

/* Runs the loop until no more than n jobs that have ended are there. */
static void wait_ended(struct fixture *f, uint64_t n) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

    while (ended(f) > n && now_usec(CLOCK_MONOTONIC) < end) {
        usleep(10000);
        assert_int_equal(hosts(f, NULL, 0, 1), 0);
    }
    assert_int_equal(ended(f), n);
}

static uint64_t size_of(struct fixture *f, const char *name) {
    struct stat st;

    assert_return_code(stat(fixture_path(f, name), &st), errno);
    return (uint64_t)st.st_size;
}

static void test_all_is_kept_by_default(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 20, true), 0);
    cancel_all(f);
    usleep(1200000);
    assert_int_equal(hosts(f, NULL, 0, 1), 0);
    assert_int_equal(ended(f), 20);
}

static void test_count_purges_the_oldest(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 500, true), 0);
    assert_int_equal(submit(f, NULL, 0, 500, true), 0);
    for (int64_t first = 1000; first > 0; first -= 100) { /* the last hundred ends first */
        int64_t ids[100];

        for (int64_t i = 0; i < 100; i++)
            ids[i] = first - i;
        struct store_filter filter = {.state = -1, .ids = ids, .n_ids = 100};
        assert_int_equal(change(f, &filter, STORE_CANCEL), 0);
    }
    store_set_keep(f->store, 0, 300);
    wait_ended(f, 300);
    check_numbers(f);
    assert_int_equal(list(f, &all), 0);
    assert_int_equal(f->n_jobs, 300);
    assert_int_equal(f->jobs[0]->id, 1);
    assert_int_equal(f->jobs[299]->id, 300);
    /* All of the second batch has gone. */
    assert_int_equal(batch_get(f, 1), 0);
    assert_int_equal(f->batch.cancelled, 500);
    assert_int_equal(batch_get(f, 2), -ENOENT);
}

static void test_count_holds_as_jobs_end(void **state) {
    struct fixture *f = *state;

    f->keep_count = 10;
    fixture_reopen(f);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(submit(f, NULL, 0, 20, true), 0);
        cancel_all(f);
    }
    wait_ended(f, 10);
    check_numbers(f);
}

/* Rows stay until their part files are gone; others are not forgotten in their place. */
static void test_count_purges_no_more_while_part_files_wait(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 300, true), 0);
    fixture_reopen_unsettled(f); /* any of them may have a part file now */
    f->keep_count = 100;
    store_set_keep(f->store, 0, 100);
    cancel_all(f);
    usleep(1500000);
    assert_int_equal(hosts(f, NULL, 0, 1), 0);
    assert_int_equal(ended(f), 300);
    for (int64_t id = 1; id <= 300; id++)
        assert_return_code(store_leftover_gone(f->store, id), 0);
    wait_ended(f, 100);
    check_numbers(f);
    assert_int_equal(list(f, &all), 0);
    assert_true(f->jobs[0]->result.finished >= created);
}

static void test_age_purges_jobs_attempts_and_batches(void **state) {
    struct fixture *f = *state;
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC;

    assert_int_equal(submit(f, "old", 0, 3000, true), 0);
    int64_t old = f->batch.id;
    cancel_all(f);
    assert_int_equal(submit(f, "k", 0, 3, true), 0);
    int64_t batch = f->batch.id;
    assert_int_equal(fetch(f, 1), 0);
    f->jobs[0]->result.error = ERR_TIMEOUT;
    f->jobs[0]->due = 1;
    assert_int_equal(put(f, f->jobs[0], JOB_WAITING), 0);
    f->keep_age = 2 * USEC_PER_SEC; /* also after it was opened again */
    store_set_keep(f->store, f->keep_age, 0);
    assert_int_equal(hosts(f, NULL, 0, 1), 0);
    assert_int_equal(ended(f), 3000);
    wait_ended(f, 0);
    check_numbers(f);
    while (batch_get(f, old) != -ENOENT && now_usec(CLOCK_MONOTONIC) < end)
        usleep(10000);
    assert_true(now_usec(CLOCK_MONOTONIC) < end);
    assert_int_equal(batch_get(f, batch), 0);
    assert_int_equal(submit(f, "old", 0, 1, true), 0); /* the key is free again */
    wait_fetch(f, 4);
    f->jobs[0]->result.error = ERR_TIMEOUT;
    assert_int_equal(put(f, f->jobs[0], JOB_FAILED), 0);
    wait_ended(f, 0);
    check_numbers(f);
    f->store = store_close(f->store);
    assert_int_equal(file_number(f, "SELECT count(*) FROM jobs"), 3);
    assert_int_equal(file_number(f, "SELECT count(*) FROM attempts"), 0);
    fixture_reopen(f);
}

static void test_room_is_given_back(void **state) {
    struct fixture *f = *state;
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 60 * USEC_PER_SEC, full, size;

    for (int i = 0; i < 10; i++)
        assert_int_equal(submit(f, NULL, 0, 10000, true), 0);
    cancel_all(f);
    fixture_reopen(f);
    full = size_of(f, "queue.db");
    assert_true(full > 10 * MIB);
    store_set_keep(f->store, 0, 1);
    wait_ended(f, 1);
    do { /* closing moves the log into the file */
        usleep(200000);
        fixture_reopen(f);
        size = size_of(f, "queue.db");
    } while (size > 5 * MIB && now_usec(CLOCK_MONOTONIC) < end);
    assert_true(size <= 5 * MIB);
    check_numbers(f);
}

static void on_many(void *userdata, int error, const struct store_batch *batch, const int64_t *ids,
                    size_t n_ids) {
    (void)batch;
    (void)ids;
    (void)n_ids;
    assert_int_equal(error, 0);
    ++*(unsigned *)userdata;
}

/* The loop never lets the thread rest: the log must be begun anew all the same. */
static void test_log_is_bounded_under_load(void **state) {
    struct fixture *f = *state;
    unsigned submitted = 0, acknowledged = 0;
    uint64_t largest = 0;

    while (acknowledged < 200) {
        for (; submitted < 200 && submitted < acknowledged + 3; submitted++)
            assert_int_equal(
                store_submit(f->store, chunk_new(NULL, 0, 5000, true), on_many, &acknowledged), 0);
        assert_return_code(sd_event_run(f->event, USEC_PER_SEC), 0);
        largest = MAX(largest, size_of(f, "queue.db-wal"));
    }
    assert_true(largest < 100 * MIB);
    fixture_reopen(f); /* which moves what is left of it */
    assert_true(size_of(f, "queue.db") > largest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_is_kept_by_default),  TEST(test_count_purges_the_oldest),
        TEST(test_count_holds_as_jobs_end),
        TEST(test_count_purges_no_more_while_part_files_wait), TEST(test_age_purges_jobs_attempts_and_batches),
        TEST(test_room_is_given_back),      TEST(test_log_is_bounded_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
