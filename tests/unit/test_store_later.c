/* The durable queue: jobs that wait, and where they go on. */

#include "tests/unit/store_fixture.h"

#define LATER (1 * USEC_PER_SEC)

/* Jobs 1 and 3 of n may only start in a while. */
static struct store_chunk *chunk_later(const char *key, uint64_t offset, size_t n, bool last) {
    struct store_chunk *c = chunk_new(key, offset, n, last);

    c->jobs[1].not_before = c->jobs[3].not_before = created + LATER;
    c->jobs[2].not_before = created - 1;
    return c;
}

static void test_not_before_waits(void **state) {
    struct fixture *f = *state;

    created = now_usec(CLOCK_REALTIME);
    assert_int_equal(submit_chunk(f, chunk_later(NULL, 0, 4, true)), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 2);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 2);
    assert_int_equal(fetch(f, 10), 0);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(show(f, f->ids[3])->state, JOB_WAITING);
    assert_int_equal(f->jobs[0]->due, created + LATER);
    wait_fetch(f, 4);
    assert_true(now_usec(CLOCK_REALTIME) >= created + LATER);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 4);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 0);
    check_numbers(f);
}

static void test_not_before_of_a_batch_in_chunks(void **state) {
    struct fixture *f = *state;

    created = now_usec(CLOCK_REALTIME);
    assert_int_equal(submit_chunk(f, chunk_later("k", 0, 4, false)), 0);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 0);
    assert_int_equal(submit_chunk(f, chunk_later("k", 4, 4, true)), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 8);
    wait_fetch(f, 4);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 4);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 4);
    fixture_reopen(f);
    wait_fetch(f, 8);
    assert_true(now_usec(CLOCK_REALTIME) >= created + LATER);
    check_numbers(f);
}

static void test_not_before_can_be_cancelled(void **state) {
    struct fixture *f = *state;
    struct store_filter all = {.state = -1};

    created = now_usec(CLOCK_REALTIME);
    assert_int_equal(submit_chunk(f, chunk_later(NULL, 0, 4, true)), 0);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(f->n_ids, 4);
    assert_int_equal(store_counts(f->store)[JOB_CANCELLED], 4);
    check_numbers(f);
}

static void test_retry_of_a_cancelled_one_waits_for_its_time(void **state) {
    struct fixture *f = *state;
    struct store_filter all = {.state = -1};

    created = now_usec(CLOCK_REALTIME);
    assert_int_equal(submit_chunk(f, chunk_later(NULL, 0, 4, true)), 0);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    fixture_reopen(f);
    assert_int_equal(change(f, &all, STORE_RETRY), 0);
    assert_int_equal(store_counts(f->store)[JOB_QUEUED], 2);
    assert_int_equal(store_counts(f->store)[JOB_WAITING], 2);
    wait_fetch(f, 4);
    assert_true(now_usec(CLOCK_REALTIME) >= created + LATER);
    check_numbers(f);
}

static void test_patience_is_kept(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->stalls = 2;
    j->blocked = 3;
    j->spent = 1u << 15;
    j->mirror_due[0] = 1700000000000001;
    j->mirror_due[15] = 1700000000000002;
    j->result.error = ERR_RESET;
    assert_int_equal(put(f, j, JOB_FAILED), 0);
    fixture_reopen(f);
    struct job *k = show(f, j->id);
    assert_int_equal(k->stalls, 2);
    assert_int_equal(k->blocked, 3);
    assert_int_equal(k->spent, 1u << 15);
    assert_true(k->mirror_due[0] == 1700000000000001 && k->mirror_due[1] == 0);
    assert_true(k->mirror_due[15] == 1700000000000002);
    struct store_filter all = {.state = -1};
    assert_int_equal(change(f, &all, STORE_RETRY), 0);
    k = show(f, j->id);
    assert_int_equal(k->stalls + k->blocked + k->spent, 0);
    assert_true(k->mirror_due[0] == 0 && k->mirror_due[15] == 0);
}

static void test_mirror_is_kept(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    free(j->url);
    free(j->host);
    j->url = strdup("http://b.example/x");
    j->host = strdup("b.example:80");
    j->due = now_usec(CLOCK_REALTIME);
    f->n_ready = 0;
    assert_int_equal(put(f, j, JOB_WAITING), 0);
    while (f->n_ready == 0)
        sd_event_run(f->event, USEC_PER_SEC);
    assert_int_equal(f->ready.lane, lane_of(f, "b.example:80"));
    assert_int_equal(lane_of(f, HOST), 0);
    assert_int_equal(fetch_after(f, "b.example:80", INT64_MIN, 0, 10), 0);
    assert_int_equal(f->n_jobs, 1);
    assert_string_equal(f->jobs[0]->url, "http://b.example/x");
    check_numbers(f);
}

/* ---- part files ---- */

static void on_leftovers(void *userdata, int error, struct job **jobs, size_t n) {
    struct fixture *f = userdata;

    f->done = true;
    f->error = error;
    job_free_many(f->jobs, f->n_jobs);
    f->jobs = jobs;
    f->n_jobs = n;
}

static size_t leftovers(struct fixture *f) {
    assert_int_equal(store_leftovers(f->store, 10, on_leftovers, f), 0);
    assert_int_equal(answer(f), 0);
    return f->n_jobs;
}

static void test_part_of_a_cancelled_job_is_a_leftover(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->kept = (struct job_kept){.offset = 5, .total = 9, .file = UINT64_MAX, .source = 3};
    j->due = now_usec(CLOCK_REALTIME) + 3600 * USEC_PER_SEC;
    assert_int_equal(put(f, j, JOB_WAITING), 0);
    assert_int_equal(leftovers(f), 0);
    assert_true(show(f, j->id)->kept.file == UINT64_MAX);
    assert_int_equal(show(f, j->id)->kept.source, 3);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    fixture_reopen(f);
    assert_int_equal(leftovers(f), 1);
    assert_int_equal(f->jobs[0]->id, j->id);
    assert_true(f->jobs[0]->kept.leftover && f->jobs[0]->kept.offset == 0);
    assert_int_equal(change(f, &all, STORE_RETRY), 0); /* it may have a part again */
    assert_int_equal(leftovers(f), 0);
    assert_int_equal(store_leftover_gone(f->store, j->id), 0);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(leftovers(f), 1);
    assert_int_equal(store_leftover_gone(f->store, j->id), 0);
    assert_int_equal(leftovers(f), 0);
}

/* A worker may have begun with it, of which the store hears only later, if at all. */
static void test_part_of_a_job_given_out_is_a_leftover(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 3, true), 0);
    assert_int_equal(fetch(f, 2), 0);
    int64_t out = f->jobs[0]->id, back = f->jobs[1]->id;
    store_job_back(f->store, back);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(purge(f, &all), 0);
    fixture_reopen(f);
    assert_int_equal(leftovers(f), 1);
    assert_int_equal(f->jobs[0]->id, out);
    assert_int_equal(store_leftover_gone(f->store, out), 0);
    assert_int_equal(leftovers(f), 0);
    check_numbers(f);
}

static void test_part_of_a_failed_job_is_kept(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->kept = (struct job_kept){.offset = 5, .total = 9};
    j->result.error = ERR_RESET;
    assert_int_equal(put(f, j, JOB_FAILED), 0);
    assert_int_equal(leftovers(f), 0);
    assert_int_equal(change(f, &all, STORE_RETRY), 0);
    assert_int_equal(show(f, j->id)->kept.offset, 5);
}

static void test_job_without_a_part_leaves_none(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(leftovers(f), 0);
}

static void test_part_unknown_after_a_crash_is_a_leftover(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 2, true), 0);
    fixture_reopen_unsettled(f);
    assert_int_equal(submit(f, NULL, 0, 1, true), 0);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(leftovers(f), 2);
}

static void test_settled_queue_has_no_unknown_parts(void **state) {
    struct store_filter all = {.state = -1};
    struct fixture *f = *state;

    assert_int_equal(submit(f, NULL, 0, 2, true), 0);
    fixture_reopen(f);
    assert_int_equal(change(f, &all, STORE_CANCEL), 0);
    assert_int_equal(leftovers(f), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_not_before_waits),
        TEST(test_not_before_of_a_batch_in_chunks),
        TEST(test_not_before_can_be_cancelled),
        TEST(test_retry_of_a_cancelled_one_waits_for_its_time),
        TEST(test_patience_is_kept),
        TEST(test_mirror_is_kept),
        TEST(test_part_of_a_cancelled_job_is_a_leftover),
        TEST(test_part_of_a_job_given_out_is_a_leftover),
        TEST(test_part_of_a_failed_job_is_kept),
        TEST(test_job_without_a_part_leaves_none),
        TEST(test_part_unknown_after_a_crash_is_a_leftover),
        TEST(test_settled_queue_has_no_unknown_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
