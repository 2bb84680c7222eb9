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

static void test_patience_is_kept(void **state) {
    struct fixture *f = *state;
    _cleanup_(job_freep) struct job *j = one_job(f);

    j->stalls = 2;
    j->blocked = 3;
    j->spent = 1u << 15;
    j->result.error = ERR_RESET;
    assert_int_equal(put(f, j, JOB_FAILED), 0);
    fixture_reopen(f);
    struct job *k = show(f, j->id);
    assert_int_equal(k->stalls, 2);
    assert_int_equal(k->blocked, 3);
    assert_int_equal(k->spent, 1u << 15);
    struct store_filter all = {.state = -1};
    assert_int_equal(change(f, &all, STORE_RETRY), 0);
    k = show(f, j->id);
    assert_int_equal(k->stalls + k->blocked + k->spent, 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_not_before_waits),
        TEST(test_not_before_of_a_batch_in_chunks),
        TEST(test_not_before_can_be_cancelled),
        TEST(test_patience_is_kept),
        TEST(test_mirror_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
