/* The durable queue: what is submitted, what runs. */

#include "tests/unit/store_fixture.h"

/* ---- submitting ---- */

static void test_submit_one_chunk(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 3, true), 0);
    assert_true(f->batch.complete);
    assert_int_equal(f->batch.count, 3);
    assert_int_equal(f->n_ids, 3);
    assert_int_equal(f->ids[2], f->ids[0] + 2);
    assert_int_equal(f->n_ready, 1);
    assert_int_equal(f->ready.uid, 1000);
    assert_int_equal(f->ready.turn, created);
    assert_int_equal(f->ready.lane, lane_of(f, HOST));
    assert_int_equal(f->ready.first_rank, created);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 3);
    check_numbers(f);
}

static void test_submit_keeps_all_of_a_job(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new(NULL, 0, 1, true);

    c->jobs[0].priority = -7;
    c->jobs[0].body = strdup("{\"output\":\"\303\274.jpg\"}");
    assert_int_equal(submit_chunk(f, c), 0);
    fixture_reopen(f);
    assert_int_equal(fetch(f, 10), 0);
    assert_int_equal(f->n_jobs, 1);
    struct job *j = f->jobs[0];
    assert_int_equal(j->id, f->ids[0]);
    assert_int_equal(j->batch, f->batch.id);
    assert_int_equal(j->index, 0);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(j->rank, created + 7 * JOB_PRIORITY_STEP);
    assert_int_equal(j->created, created);
    assert_int_equal(j->attempts, 0);
    assert_int_equal(j->result.size, -1);
    assert_string_equal(j->url, "http://a.example/0");
    assert_string_equal(j->host, HOST);
    assert_string_equal(j->body, "{\"output\":\"\303\274.jpg\"}");
    assert_null(j->result.output);
}

static void test_submit_same_key_makes_no_copy(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 3, true), 0);
    int64_t first = f->ids[0], batch = f->batch.id;
    assert_int_equal(submit(f, "k", 0, 3, true), 0);
    assert_int_equal(f->ids[0], first);
    assert_int_equal(f->batch.id, batch);
    assert_int_equal(submit(f, "k", 1, 1, false), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 3);
    check_numbers(f);
}

static void test_submit_same_key_of_another_uid_is_another(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new("k", 0, 1, true);

    c->uid = 1001;
    assert_int_equal(submit(f, "k", 0, 1, true), 0);
    int64_t batch = f->batch.id;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_not_equal(f->batch.id, batch);
}

static void test_submit_without_key_is_always_new(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    int64_t batch = f->batch.id;
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_not_equal(f->batch.id, batch);
    assert_int_equal(submit(f, NULL, 0, 1, false), -EINVAL);
    assert_int_equal(submit(f, NULL, 1, 1, true), -EINVAL);
}

static void test_submit_refuses_gap_and_overlap(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 1, 1, false), -EINVAL);
    assert_int_equal(submit(f, "k", 0, 4, false), 0);
    assert_int_equal(submit(f, "k", 5, 1, false), -EINVAL);
    assert_int_equal(submit(f, "k", 3, 2, false), -EINVAL);
    assert_int_equal(submit(f, "k", 0, 2, true), -EINVAL);
    assert_int_equal(submit(f, "k", UINT64_MAX, 2, true), -EINVAL);
    assert_int_equal(submit(f, "k", 4, 1, true), 0);
    assert_int_equal(submit(f, "k", 5, 1, true), -EINVAL);
    assert_int_equal(f->batch.count, 0);
    check_numbers(f);
}

static void test_submit_empty(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 0, true), 0);
    assert_true(f->batch.complete);
    assert_true(f->batch.finished > 0);
    assert_int_equal(f->n_ids, 0);
    check_numbers(f);
}

static void test_submit_last_chunk_may_be_empty_or_repeated(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "a", 0, 2, false), 0);
    assert_int_equal(submit(f, "a", 2, 0, true), 0);
    assert_true(f->batch.complete);
    assert_int_equal(submit(f, "b", 0, 2, false), 0);
    assert_int_equal(submit(f, "b", 0, 2, true), 0);
    assert_true(f->batch.complete);
    assert_int_equal(f->batch.count, 2);
    wait_fetch(f, 4);
    check_numbers(f);
}

static void test_staged_until_complete(void **state) {
    struct fixture *f = *state;
    struct store_filter all = {.state = -1};

    assert_int_equal(submit(f, "k", 0, 1500, false), 0);
    assert_false(f->batch.complete);
    assert_int_equal(f->n_ids, 0);
    assert_int_equal(submit(f, "k", 0, 1500, false), 0);
    assert_int_equal(f->batch.count, 1500);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 0);
    assert_int_equal(fetch(f, 10), 0);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(list(f, &all), 0);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(f->n_ready, 0);
    check_numbers(f);

    assert_int_equal(submit(f, "k", 1500, 1000, true), 0);
    assert_true(f->batch.complete);
    assert_int_equal(f->n_ids, 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 2500);
    wait_fetch(f, 2500);
    assert_true(f->n_ready >= 1);
    assert_int_equal(f->ready.first_rank, created);
    check_numbers(f);
}

static void test_release_goes_on_after_reopen(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, "k", 0, 30000, false), 0);
    assert_int_equal(store_submit(f->store, chunk_new("k", 30000, 1, true), on_submit, f), 0);
    fixture_reopen(f); /* commits it, and leaves the rest */
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 30001);
    check_numbers(f);
    int64_t rank = INT64_MIN, id = 0;
    size_t got = 0;
    while (got < 30001) {
        assert_int_equal(fetch_after(f, HOST, rank, id, 5000), 0);
        if (f->n_jobs == 0)
            continue;
        got += f->n_jobs;
        rank = f->jobs[f->n_jobs - 1]->rank;
        id = f->jobs[f->n_jobs - 1]->id;
    }
    check_numbers(f);
    f->store = store_close(f->store);
    assert_int_equal(file_number(f, "SELECT count(*) FROM jobs WHERE state <> 0"), 0);
}

static void test_interleaved_batches(void **state) {
    struct fixture *f = *state;

    for (uint64_t at = 0; at < 30; at += 10) {
        assert_int_equal(submit(f, "a", at, 10, at == 20), 0);
        if (at < 20) {
            assert_int_equal(submit(f, "b", at * 2, 10, false), 0);
            assert_int_equal(submit(f, "b", at * 2 + 10, 10, false), 0);
        }
    }
    /* a has 1..10, 31..40, 61..70, b the rest. */
    int64_t batch = f->batch.id;
    assert_int_equal(f->n_ids, 30);
    assert_int_equal(f->ids[9], 10);
    assert_int_equal(f->ids[10], 31);
    assert_int_equal(f->ids[29], 70);
    wait_fetch(f, 30);
    struct store_filter filter = {.state = -1, .batch = batch, .limit = 7};
    size_t n = 0;
    do {
        assert_int_equal(list(f, &filter), 0);
        for (size_t i = 0; i < f->n_jobs; i++)
            assert_int_equal(f->jobs[i]->index, n++);
        filter.after = f->next;
    } while (f->next.id != 0);
    assert_int_equal(n, 30);
    assert_int_equal(submit(f, "b", 40, 0, true), 0);
    assert_int_equal(f->ids[0], 11);
    assert_int_equal(f->ids[39], 60);
    wait_fetch(f, 70);
    check_numbers(f);
}

static void test_batch_left_open_is_deleted(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new("old", 0, 5000, false);

    c->created = now_usec(CLOCK_REALTIME) - 3700 * USEC_PER_SEC;
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(submit(f, "new", 0, 5, false), 0);
    int64_t batch = f->batch.id;
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
    while (batch_get(f, batch - 1) != -ENOENT)
        assert_true(now_usec(CLOCK_MONOTONIC) < end);
    assert_int_equal(submit(f, "old", 5000, 1, true), -EINVAL);
    assert_int_equal(batch_get(f, batch), 0);
    int64_t rows;
    do {
        check_numbers(f);
        f->store = store_close(f->store);
        rows = file_number(f, "SELECT count(*) FROM jobs");
        fixture_reopen(f);
        assert_int_equal(batch_get(f, batch), 0);
        assert_true(now_usec(CLOCK_MONOTONIC) < end);
    } while (rows > 5);
    assert_int_equal(rows, 5);
}

static void test_ids_are_not_reused(void **state) {
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 2, true), 0);
    fixture_reopen(f);
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(f->ids[0], 3);
    assert_int_equal(f->batch.id, 2);
}

/* ---- fetching ---- */

static void test_fetch_in_order_of_rank(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new(NULL, 0, 5, true);
    static const int priorities[] = {0, -1, 100, 0, 1};
    static const uint64_t order[] = {2, 4, 0, 3, 1};

    for (size_t i = 0; i < 5; i++)
        c->jobs[i].priority = priorities[i];
    assert_int_equal(submit_chunk(f, c), 0);
    assert_int_equal(f->ready.first_rank, created - 100 * JOB_PRIORITY_STEP);
    assert_int_equal(fetch(f, 10), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(f->jobs[i]->index, order[i]);
    assert_false(f->more);
}

static void test_fetch_in_pages(void **state) {
    struct fixture *f = *state;
    struct store_chunk *c = chunk_new(NULL, 0, 23, true);
    int64_t rank = INT64_MIN, id = 0;
    size_t n = 0;

    for (size_t i = 0; i < 23; i++)
        c->jobs[i].priority = i < 10 ? 1 : 0;
    assert_int_equal(submit_chunk(f, c), 0);
    do {
        assert_int_equal(fetch_after(f, HOST, rank, id, 4), 0);
        assert_int_equal(f->more, n + f->n_jobs < 23);
        for (size_t i = 0; i < f->n_jobs; i++)
            assert_int_equal(f->jobs[i]->index, n++);
        rank = f->jobs[f->n_jobs - 1]->rank;
        id = f->jobs[f->n_jobs - 1]->id;
    } while (f->more);
    assert_int_equal(n, 23);
    assert_int_equal(fetch_after(f, HOST, rank, id, 4), 0);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(fetch_after(f, "b.example:80", INT64_MIN, 0, 4), 0);
    assert_int_equal(f->n_jobs, 0);
}

/* ---- putting ---- */

static void test_put_done(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->result = (struct job_result){.http_status = 200,
                                    .bytes = 12,
                                    .size = 0,
                                    .worker = 3,
                                    .skipped = true,
                                    .started = 5,
                                    .finished = 6,
                                    .output = strdup("x/y"),
                                    .content_type = strdup("text/plain")};
    assert_int_equal(put(f, j, JOB_DONE), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 0);
    assert_int_equal(store_counts(f->store)[JOB_DONE], 1);
    check_numbers(f);
    struct job *k = show(f, j->id);
    assert_int_equal(k->state, JOB_DONE);
    assert_int_equal(k->attempts, 1);
    assert_int_equal(k->result.http_status, 200);
    assert_int_equal(k->result.bytes, 12);
    assert_int_equal(k->result.size, 0);
    assert_int_equal(k->result.worker, 3);
    assert_true(k->result.skipped);
    assert_int_equal(k->result.started, 5);
    assert_int_equal(k->result.finished, 6);
    assert_string_equal(k->result.output, "x/y");
    assert_string_equal(k->result.content_type, "text/plain");
    assert_null(k->result.message);
    assert_int_equal(f->n_attempts, 0);
    assert_int_equal(batch_get(f, j->batch), 0);
    assert_int_equal(f->batch.done, 1);
    assert_int_equal(f->batch.bytes, 12);
    assert_true(f->batch.finished > 0);
}

static void test_put_on_ended_is_refused(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);
    static const enum job_state states[] = {JOB_DONE, JOB_FAILED, JOB_CANCELLED, JOB_WAITING,
                                            JOB_QUEUED};

    assert_int_equal(put(f, j, JOB_CANCELLED), 0);
    for (size_t i = 0; i < ELEMENTSOF(states); i++)
        assert_int_equal(put(f, j, states[i]), -EALREADY);
    j->id = 4711;
    assert_int_equal(put(f, j, JOB_DONE), -ENOENT);
    assert_int_equal(store_counts(f->store)[JOB_CANCELLED], 1);
    check_numbers(f);
}

static void test_put_illegal_is_refused(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    assert_int_equal(put(f, j, JOB_STAGED), -EINVAL);
    j->due = now_usec(CLOCK_REALTIME) + 3600 * USEC_PER_SEC;
    assert_int_equal(put(f, j, JOB_WAITING), 0);
    assert_int_equal(put(f, j, JOB_DONE), -EINVAL);
    assert_int_equal(put(f, j, JOB_QUEUED), 0);
    assert_int_equal(f->n_ready, 1);
    check_numbers(f);
}

static void test_put_queued_keeps_attempts(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->crashes = 2;
    assert_int_equal(put(f, j, JOB_QUEUED), 0);
    assert_int_equal(f->n_ready, 0);
    assert_int_equal(fetch(f, 5), 0);
    assert_int_equal(f->jobs[0]->attempts, 1);
    assert_int_equal(f->jobs[0]->crashes, 2);
}

static void put_waiting(struct fixture *f, struct job *j, uint64_t delay) {
    j->due = now_usec(CLOCK_REALTIME) + delay;
    j->result.error = ERR_TIMEOUT;
    j->result.http_status = 503;
    free(j->result.message);
    assert_true(asprintf(&j->result.message, "attempt %u", j->attempts) > 0);
    assert_int_equal(put(f, j, JOB_WAITING), 0);
}

static void test_waiting_becomes_queued_when_due(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

    put_waiting(f, j, 100 * USEC_PER_MSEC);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 1);
    assert_int_equal(fetch(f, 5), 0);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(show(f, j->id)->state, JOB_WAITING);
    assert_int_equal(f->jobs[0]->due, j->due);
    while (f->n_ready == 0 && now_usec(CLOCK_MONOTONIC) < end)
        sd_event_run(f->event, USEC_PER_SEC);
    assert_true(now_usec(CLOCK_REALTIME) >= j->due);
    assert_int_equal(f->n_ready, 1);
    assert_int_equal(f->ready.first_rank, j->rank);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 0);
    assert_int_equal(fetch(f, 5), 0);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->jobs[0]->attempts, 1);
    check_numbers(f);
}

static void test_waiting_survives_reopen(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

    put_waiting(f, j, 200 * USEC_PER_MSEC);
    fixture_reopen(f);
    while (f->n_ready == 0 && now_usec(CLOCK_MONOTONIC) < end)
        sd_event_run(f->event, USEC_PER_SEC);
    assert_int_equal(f->n_ready, 1);
}

static void test_attempts_are_kept_in_order_and_capped(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    for (j->attempts = 1; j->attempts <= 105; j->attempts++) {
        put_waiting(f, j, 3600 * USEC_PER_SEC);
        assert_int_equal(put(f, j, JOB_QUEUED), 0);
    }
    show(f, j->id);
    assert_int_equal(f->n_attempts, 100);
    assert_int_equal(f->attempts[0].job, j->id);
    assert_int_equal(f->attempts[0].result.http_status, 503);
    assert_string_equal(f->attempt_message, "attempt 105");
}

static void test_counts_are_those_of_the_callback(void **state) {
    struct fixture *f = *state;

    for (int i = 1; i <= 20; i++) {
        assert_int_equal(submit(f, NULL, 0, 2, true), 0);
        assert_int_equal(store_counts(f->store)[JOB_QUEUED], 2 * i);
    }
}

/* Many requests in one group: the answers come in order, and each sees what went before. */
static size_t order_next;

static void on_order_put(void *userdata, int error) {
    assert_int_equal(error, 0);
    assert_int_equal(order_next++, (size_t)(uintptr_t)userdata);
}

static void on_order_batch(void *userdata, int error, const struct store_batch *batch) {
    assert_int_equal(error, 0);
    assert_int_equal(batch->done, (size_t)(uintptr_t)userdata / 2 + 1);
    assert_int_equal(order_next++, (size_t)(uintptr_t)userdata);
}

static void test_group_runs_in_order(void **state) {
    struct fixture *f = *state;
    uintptr_t n = 0;

    assert_int_equal(submit(f, NULL, 0, 3000, true), 0);
    assert_int_equal(fetch(f, 3000), 0);
    order_next = 0;
    for (size_t i = 0; i < 3000; i++) {
        f->jobs[i]->state = JOB_DONE;
        assert_int_equal(store_put(f->store, f->jobs[i], on_order_put, (void *)n++), 0);
        assert_int_equal(store_batch_get(f->store, f->jobs[i]->batch, on_order_batch, (void *)n++),
                         0);
    }
    while (order_next < n)
        assert_return_code(sd_event_run(f->event, USEC_PER_SEC), 0);
    check_numbers(f);
}

static void test_close_finishes_requests(void **state) {
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++)
        assert_int_equal(store_submit(f->store, chunk_new(NULL, 0, 10, true), on_submit, f), 0);
    fixture_reopen(f);
    assert_false(f->done);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 1000);
    check_numbers(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_submit_one_chunk),
        TEST(test_submit_keeps_all_of_a_job),
        TEST(test_submit_same_key_makes_no_copy),
        TEST(test_submit_same_key_of_another_uid_is_another),
        TEST(test_submit_without_key_is_always_new),
        TEST(test_submit_refuses_gap_and_overlap),
        TEST(test_submit_empty),
        TEST(test_submit_last_chunk_may_be_empty_or_repeated),
        TEST(test_staged_until_complete),
        TEST(test_release_goes_on_after_reopen),
        TEST(test_interleaved_batches),
        TEST(test_batch_left_open_is_deleted),
        TEST(test_ids_are_not_reused),
        TEST(test_fetch_in_order_of_rank),
        TEST(test_fetch_in_pages),
        TEST(test_put_done),
        TEST(test_put_on_ended_is_refused),
        TEST(test_put_illegal_is_refused),
        TEST(test_put_queued_keeps_attempts),
        TEST(test_waiting_becomes_queued_when_due),
        TEST(test_waiting_survives_reopen),
        TEST(test_attempts_are_kept_in_order_and_capped),
        TEST(test_counts_are_those_of_the_callback),
        TEST(test_group_runs_in_order),
        TEST(test_close_finishes_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
