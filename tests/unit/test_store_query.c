/* The durable queue: lists, changes of many jobs, batches. */

#include "tests/unit/store_fixture.h"

/* Fetches the first n jobs and puts each of them into a state; i-th of their results is DONE's or
 * FAILED's. */
static void end_jobs(struct fixture *f, size_t n, enum job_state to) {
    assert_int_equal(fetch(f, n), 0);
    assert_int_equal(f->n_jobs, n);
    for (size_t i = 0; i < n; i++) {
        struct job *j = f->jobs[i];

        j->attempts = 1;
        if (to == JOB_FAILED) {
            j->result.error = ERR_HTTP;
            j->result.http_status = 404;
            j->result.message = strdup("it isn't there");
        } else
            j->result.bytes = 10;
        assert_int_equal(put(f, j, to), 0);
    }
}

/* All that the filter gives, in as many requests as it takes: how many jobs, and in *ret_requests
 * how many requests. */
static size_t list_all(struct fixture *f, struct store_filter filter, size_t *ret_requests) {
    int64_t last = 0;
    size_t n = 0;

    *ret_requests = 0;
    do {
        assert_int_equal(list(f, &filter), 0);
        for (size_t i = 0; i < f->n_jobs; i++) {
            assert_true(f->jobs[i]->id > last);
            last = f->jobs[i]->id;
        }
        n += f->n_jobs;
        filter.after = f->next;
        ++*ret_requests;
    } while (f->next.id != 0);
    return n;
}

static size_t change_all(struct fixture *f, struct store_filter filter, enum store_change what) {
    size_t n = 0;

    do {
        assert_int_equal(change(f, &filter, what), 0);
        n += f->n_ids;
        filter.after = f->next;
    } while (f->next.id != 0);
    return n;
}

static void test_list_by_state_and_batch(void **state) {
    struct fixture *f = *state;
    size_t requests;

    assert_int_equal(submit(f, NULL, 0, 5, true), 0);
    assert_int_equal(submit(f, NULL, 0, 7, true), 0);
    int64_t batch = f->batch.id;
    end_jobs(f, 2, JOB_DONE);
    end_jobs(f, 1, JOB_FAILED);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1}, &requests), 12);
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_DONE}, &requests), 2);
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_FAILED}, &requests), 1);
    assert_string_equal(f->jobs[0]->result.message, "it isn't there");
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_QUEUED}, &requests), 9);
    assert_int_equal(
        list_all(f, (struct store_filter){.state = JOB_QUEUED, .batch = batch}, &requests), 7);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .batch = 99}, &requests), 0);
}

static void test_list_in_pages(void **state) {
    struct fixture *f = *state;
    size_t requests;

    assert_int_equal(submit(f, NULL, 0, 10, true), 0);
    assert_int_equal(list_all(f, (struct store_filter){.state = -1, .limit = 3}, &requests), 10);
    assert_int_equal(requests, 4);
}

static void test_list_looks_at_few_rows_a_request(void **state) {
    struct fixture *f = *state;
    size_t requests;

    assert_int_equal(submit(f, NULL, 0, 2 * STORE_STEP + 5, true), 0);
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_PAUSED}, &requests), 0);
    assert_int_equal(requests, 3);
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_QUEUED}, &requests),
                     2 * STORE_STEP + 5);
    assert_int_equal(requests, 3);
}

static void test_list_by_ids(void **state) {
    struct fixture *f = *state;
    static const int64_t ids[] = {7, 3, 99, 3, 5, -1, 0};
    struct store_filter filter = {.state = -1, .ids = ids, .n_ids = ELEMENTSOF(ids), .limit = 2};
    size_t requests;

    assert_int_equal(submit(f, NULL, 0, 10, true), 0);
    assert_int_equal(list(f, &filter), 0);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->jobs[0]->id, 3);
    assert_int_equal(f->jobs[1]->id, 5);
    assert_int_equal(list_all(f, filter, &requests), 3);
    filter.n_ids = 0;
    assert_int_equal(list_all(f, filter, &requests), 0);
}

static void test_list_except(void **state) {
    struct fixture *f = *state;
    static const int64_t except[] = {4, 2};
    size_t requests;

    assert_int_equal(submit(f, NULL, 0, 4, true), 0);
    assert_int_equal(
        list_all(f, (struct store_filter){.state = -1, .except = except, .n_except = 2}, &requests),
        2);
}

static void test_released_or_not_is_listed_as_queued(void **state) {
    struct fixture *f = *state;
    size_t requests;

    assert_int_equal(submit(f, "k", 0, 15000, false), 0);
    assert_int_equal(submit(f, "k", 15000, 1, true), 0);
    assert_int_equal(list_all(f, (struct store_filter){.state = JOB_QUEUED}, &requests), 15001);
    assert_int_equal(f->jobs[0]->state, JOB_QUEUED);
}

static void test_cancel_all_but_some(void **state) {
    struct fixture *f = *state;
    static const int64_t except[] = {5, 6};

    assert_int_equal(submit(f, NULL, 0, 10, true), 0);
    end_jobs(f, 3, JOB_DONE);
    struct store_filter filter = {.state = -1, .except = except, .n_except = 2};
    assert_int_equal(change(f, &filter, STORE_CANCEL), 0);
    assert_int_equal(f->n_ids, 5);
    assert_int_equal(f->ids[0], 4);
    assert_int_equal(f->ids[1], 7);
    assert_int_equal(store_counts(f->store)[JOB_CANCELLED], 5);
    assert_true(show(f, 4)->result.finished > 0);
    assert_int_equal(fetch(f, 10), 0);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(batch_get(f, f->batch.id), 0);
    assert_int_equal(f->batch.finished, 0);
    check_numbers(f);
    assert_int_equal(change_all(f, (struct store_filter){.state = -1}, STORE_CANCEL), 2);
    assert_int_equal(batch_get(f, f->batch.id), 0);
    assert_true(f->batch.finished > 0);
    check_numbers(f);
}

static void test_cancel_waiting(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(fetch(f, 1), 0);
    f->jobs[0]->due = now_usec(CLOCK_REALTIME) + 100 * USEC_PER_MSEC;
    f->jobs[0]->result.error = ERR_TIMEOUT;
    assert_int_equal(put(f, f->jobs[0], JOB_WAITING), 0);
    f->n_ready = 0;
    assert_int_equal(change_all(f, (struct store_filter){.state = -1}, STORE_CANCEL), 1);
    usleep(200000);
    assert_int_equal(show(f, 1)->state, JOB_CANCELLED);
    assert_int_equal(f->jobs[0]->result.error, ERR_NONE);
    assert_int_equal(f->n_attempts, 1);
    assert_int_equal(f->n_ready, 0);
    check_numbers(f);
}

static void test_cancel_before_release(void **state) {
    struct fixture *f = *state;
    struct store_filter filter = {.state = -1};

    assert_int_equal(submit(f, "k", 0, 15000, false), 0);
    assert_int_equal(change(f, &filter, STORE_CANCEL), 0);
    assert_int_equal(f->n_ids, 0);
    assert_int_equal(store_submit(f->store, chunk_new("k", 15000, 1, true), on_submit, f), 0);
    assert_int_equal(store_change(f->store, &filter, STORE_CANCEL, 0, on_change, f), 0);
    answer(f);
    if (f->n_ids < 1000) /* it was the chunk's */
        answer(f);
    filter.after = f->next;
    assert_int_equal(change_all(f, filter, STORE_CANCEL), 5001);
    assert_int_equal(store_counts(f->store)[JOB_CANCELLED], 15001);
    check_numbers(f);
    assert_int_equal(fetch(f, 10), 0);
    assert_int_equal(f->n_jobs, 0);
}

static void test_retry_starts_anew(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 2, true), 0);
    int64_t batch = f->batch.id;
    end_jobs(f, 1, JOB_FAILED);
    end_jobs(f, 1, JOB_DONE);
    assert_int_equal(batch_get(f, batch), 0);
    assert_true(f->batch.finished > 0);
    f->n_ready = 0;
    assert_int_equal(change_all(f, (struct store_filter){.state = -1}, STORE_RETRY), 1);
    assert_int_equal(f->n_ready, 1);
    assert_int_equal(f->ready.first_rank, created);
    assert_int_equal(batch_get(f, batch), 0);
    assert_int_equal(f->batch.finished, 0);
    assert_int_equal(f->batch.failed, 0);
    check_numbers(f);
    struct job *j = show(f, 1);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(j->attempts, 0);
    assert_int_equal(j->result.error, ERR_NONE);
    assert_int_equal(j->result.http_status, 0);
    assert_int_equal(j->result.size, -1);
    assert_null(j->result.message);
    assert_int_equal(f->n_attempts, 1);
    assert_int_equal(f->attempts[0].result.http_status, 404);
    assert_string_equal(f->attempt_message, "it isn't there");
}

static void test_retry_of_cancelled_has_no_attempt(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(change_all(f, (struct store_filter){.state = -1}, STORE_CANCEL), 1);
    assert_int_equal(change_all(f, (struct store_filter){.state = JOB_FAILED}, STORE_RETRY), 0);
    assert_int_equal(change_all(f, (struct store_filter){.state = JOB_CANCELLED}, STORE_RETRY), 1);
    assert_int_equal(show(f, 1)->state, JOB_QUEUED);
    assert_int_equal(f->n_attempts, 0);
    assert_int_equal(fetch(f, 2), 0);
    assert_int_equal(f->n_jobs, 1);
    check_numbers(f);
}

static void test_batch_unknown(void **state) {
    struct fixture *f = *state;

    assert_int_equal(batch_get(f, 1), -ENOENT);
}

static void test_batch_numbers(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 6, true), 0);
    int64_t batch = f->batch.id;
    end_jobs(f, 3, JOB_DONE);
    end_jobs(f, 2, JOB_FAILED);
    change_all(f, (struct store_filter){.state = -1, .batch = batch}, STORE_CANCEL);
    assert_int_equal(batch_get(f, batch), 0);
    assert_int_equal(f->batch.created, created);
    assert_int_equal(f->batch.count, 6);
    assert_int_equal(f->batch.done, 3);
    assert_int_equal(f->batch.failed, 2);
    assert_int_equal(f->batch.cancelled, 1);
    assert_int_equal(f->batch.bytes, 30);
    assert_true(f->batch.finished > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_list_by_state_and_batch),
        TEST(test_list_in_pages),
        TEST(test_list_looks_at_few_rows_a_request),
        TEST(test_list_by_ids),
        TEST(test_list_except),
        TEST(test_released_or_not_is_listed_as_queued),
        TEST(test_cancel_all_but_some),
        TEST(test_cancel_waiting),
        TEST(test_cancel_before_release),
        TEST(test_retry_starts_anew),
        TEST(test_retry_of_cancelled_has_no_attempt),
        TEST(test_batch_unknown),
        TEST(test_batch_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
