/* attempt.h: when a job is tried again, and when no more. */
#include "tests/unit/attempt_fixture.h"

/* ---- one URL ---- */

static void test_transient_failure_waits(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(f.job.due, NOW + SEC);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(f.job.due, NOW + 2 * SEC);
    fixture_done(&f);
}

static void test_permanent_failure_fails_at_once(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    assert_int_equal(attempt_ends(&f, ERR_PROTOCOL), JOB_FAILED);
    fixture_done(&f);
}

static void test_retries_run_out(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_FAILED);
    assert_int_equal(f.job.result.error, ERR_RESET);
    fixture_done(&f);
}

static void test_job_says_how_many_retries(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.retries = 0;
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_FAILED);
    fixture_done(&f);
}

static void test_retry_after_is_obeyed(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.end.retry_after = 7 * SEC;
    attempt_status(&f, 503);
    assert_int_equal(f.job.due, NOW + 7 * SEC);
    fixture_done(&f);
}

static void test_retry_after_has_an_end(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.end.retry_after = UINT64_MAX;
    attempt_status(&f, 503);
    assert_int_equal(f.job.due, NOW + 24 * 3600 * SEC);
    fixture_done(&f);
}

static void test_statuses_that_curl_retries(void **state) {
    static const unsigned statuses[] = {408, 429, 500, 502, 503, 504, 522, 524};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
        struct fixture f = fixture_of(0);

        assert_int_equal(attempt_status(&f, statuses[i]), JOB_WAITING);
        fixture_done(&f);
    }
}

static void test_retry_on_adds_statuses(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.n_retry_on = 2;
    f.spec.retry_on[0] = 403;
    f.spec.retry_on[1] = 404;
    assert_int_equal(attempt_status(&f, 404), JOB_WAITING);
    assert_int_equal(attempt_status(&f, 503), JOB_WAITING);
    f.job.stalls = 0;
    assert_int_equal(attempt_status(&f, 410), JOB_FAILED);
    fixture_done(&f);
}

static void test_retry_on_is_about_statuses_alone(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.n_retry_on = 1;
    f.spec.retry_on[0] = 404;
    f.job.result.http_status = 404;
    assert_int_equal(attempt_ends(&f, ERR_PROTOCOL), JOB_FAILED);
    fixture_done(&f);
}

/* ---- progress ---- */

static void test_progress_costs_no_retry(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    for (unsigned i = 1; i <= 8; i++) {
        f.job.kept.offset = i * 100;
        assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
        assert_int_equal(f.job.due, NOW + SEC);
    }
    assert_int_equal(f.job.attempts, 8);
    assert_int_equal(f.job.stalls, 0);
    assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
    assert_int_equal(f.job.stalls, 1);
    fixture_done(&f);
}

static void test_progress_has_an_end(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    do
        f.job.kept.offset++;
    while (attempt_ends(&f, ERR_PARTIAL) == JOB_WAITING);
    assert_int_equal(f.job.attempts, 20); /* 10 for each of 2 retries */
    fixture_done(&f);
}

static void test_progress_without_retries_has_an_end(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.retries = 0;
    do
        f.job.kept.offset++;
    while (attempt_ends(&f, ERR_PARTIAL) == JOB_WAITING);
    assert_int_equal(f.job.attempts, 10);
    fixture_done(&f);
}

static void test_resumed_file_with_a_wrong_checksum_starts_over(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.job.kept.offset = 100;
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    f.end.kept_before = 100;
    assert_int_equal(attempt_ends(&f, ERR_CHECKSUM), JOB_WAITING);
    assert_int_equal(f.job.kept.offset, 0);
    assert_int_equal(attempt_ends(&f, ERR_CHECKSUM), JOB_FAILED);
    fixture_done(&f);
}

/* ---- room ---- */

static void test_full_disk_is_waited_for(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.retries = 0;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(attempt_ends(&f, ERR_NO_SPACE), JOB_WAITING);
    assert_int_equal(f.job.due, NOW + 60 * SEC);
    assert_int_equal(f.job.attempts, 100);
    assert_int_equal(f.job.stalls, 0);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_FAILED);
    fixture_done(&f);
}

/* ---- deadline ---- */

static void test_deadline_in_time_changes_nothing(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.deadline = NOW + SEC + 1;
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(f.job.due, NOW + SEC);
    fixture_done(&f);
}

static void test_no_wait_beyond_the_deadline(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.deadline = NOW + SEC;
    f.job.result.message = strdup("it broke");
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_FAILED);
    assert_int_equal(f.job.result.error, ERR_DEADLINE);
    assert_non_null(strstr(f.job.result.message, "reset: it broke"));
    fixture_done(&f);
}

static void test_timeout_at_the_deadline_is_the_deadline(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.deadline = NOW;
    f.spec.retries = 0;
    assert_int_equal(attempt_ends(&f, ERR_TIMEOUT), JOB_FAILED);
    assert_int_equal(f.job.result.error, ERR_DEADLINE);
    fixture_done(&f);
}

static void test_permanent_failure_keeps_its_name(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.deadline = NOW - SEC;
    assert_int_equal(attempt_ends(&f, ERR_PROTOCOL), JOB_FAILED);
    assert_int_equal(f.job.result.error, ERR_PROTOCOL);
    fixture_done(&f);
}

static void test_full_disk_until_the_deadline(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.spec.deadline = NOW + 3 * SEC / 2;
    assert_int_equal(attempt_ends(&f, ERR_NO_SPACE), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_NO_SPACE), JOB_FAILED);
    assert_int_equal(f.job.result.error, ERR_DEADLINE);
    fixture_done(&f);
}

static void test_time_for_an_attempt(void **state) {
    struct job_spec spec = JOB_SPEC_INIT;

    (void)state;
    assert_int_equal(attempt_timeout(&spec, NOW), 0);
    spec.timeout_usec = 30 * SEC;
    assert_int_equal(attempt_timeout(&spec, NOW), 30 * SEC);
    spec.deadline = NOW + 10 * SEC;
    assert_int_equal(attempt_timeout(&spec, NOW), 10 * SEC);
    spec.timeout_usec = 5 * SEC;
    assert_int_equal(attempt_timeout(&spec, NOW), 5 * SEC);
    spec.timeout_usec = 0;
    assert_int_equal(attempt_timeout(&spec, NOW), 10 * SEC);
    assert_int_equal(attempt_timeout(&spec, NOW + 11 * SEC), 1);
}

static void test_part_worth_keeping(void **state) {
    struct fixture f = fixture_of(0);

    (void)state;
    f.job.state = JOB_FAILED;
    f.job.result.error = ERR_RESET;
    assert_true(attempt_may_go_on(&f.job));
    f.job.result.error = ERR_DEADLINE;
    assert_false(attempt_may_go_on(&f.job));
    f.job.result.error = ERR_CRASH;
    assert_false(attempt_may_go_on(&f.job));
    f.job.state = JOB_CANCELLED;
    f.job.result.error = ERR_RESET;
    assert_false(attempt_may_go_on(&f.job));
    fixture_done(&f);
}

/* ---- crashes ---- */

static void test_crashes_up_to_the_limit(void **state) {
    struct job job = {.state = JOB_ACTIVE};

    (void)state;
    attempt_crashed(&job, &policy, NOW);
    assert_int_equal(job.state, JOB_QUEUED);
    attempt_crashed(&job, &policy, NOW);
    assert_int_equal(job.state, JOB_QUEUED);
    attempt_crashed(&job, &policy, NOW);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.result.error, ERR_CRASH);
    assert_non_null(job.result.message);
    job_result_done(&job.result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transient_failure_waits),
        cmocka_unit_test(test_permanent_failure_fails_at_once),
        cmocka_unit_test(test_retries_run_out),
        cmocka_unit_test(test_job_says_how_many_retries),
        cmocka_unit_test(test_retry_after_is_obeyed),
        cmocka_unit_test(test_retry_after_has_an_end),
        cmocka_unit_test(test_statuses_that_curl_retries),
        cmocka_unit_test(test_retry_on_adds_statuses),
        cmocka_unit_test(test_retry_on_is_about_statuses_alone),
        cmocka_unit_test(test_progress_costs_no_retry),
        cmocka_unit_test(test_progress_has_an_end),
        cmocka_unit_test(test_progress_without_retries_has_an_end),
        cmocka_unit_test(test_resumed_file_with_a_wrong_checksum_starts_over),
        cmocka_unit_test(test_full_disk_is_waited_for),
        cmocka_unit_test(test_deadline_in_time_changes_nothing),
        cmocka_unit_test(test_no_wait_beyond_the_deadline),
        cmocka_unit_test(test_timeout_at_the_deadline_is_the_deadline),
        cmocka_unit_test(test_permanent_failure_keeps_its_name),
        cmocka_unit_test(test_full_disk_until_the_deadline),
        cmocka_unit_test(test_time_for_an_attempt),
        cmocka_unit_test(test_part_worth_keeping),
        cmocka_unit_test(test_crashes_up_to_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
