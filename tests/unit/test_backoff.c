/* backoff.h and attempt.h: when a job is tried again, and when no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/backoff.h"
#include "daemon/attempt.h"

#define NOW (UINT64_C(1700000000) * 1000000)

static const struct attempt_policy policy = {
    .retries = 2, .base = 1000000, .max = 60000000, .crash_limit = 3};

static void test_delay_doubles(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(1, 1000, 1000000, UINT32_MAX), 1000);
    assert_int_equal(backoff_delay(2, 1000, 1000000, UINT32_MAX), 2000);
    assert_int_equal(backoff_delay(5, 1000, 1000000, UINT32_MAX), 16000);
}

static void test_delay_is_capped(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(20, 1000, 5000, UINT32_MAX), 5000);
    assert_int_equal(backoff_delay(UINT32_MAX, 1, UINT64_MAX, UINT32_MAX), UINT64_MAX);
    assert_int_equal(backoff_delay(64, UINT64_MAX, UINT64_MAX, UINT32_MAX), UINT64_MAX);
}

static void test_jitter_keeps_at_least_half(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(3, 1000, 1000000, 0), 2000);
    for (uint64_t r = 0; r <= UINT32_MAX; r += UINT32_MAX / 1000) {
        uint64_t d = backoff_delay(3, 1000, 1000000, (uint32_t)r);

        assert_in_range(d, 2000, 4000);
    }
}

static void test_no_delay_configured(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(7, 0, 0, UINT32_MAX), 0);
}

static void test_transient_failure_waits(void **state) {
    struct job job = {.state = JOB_ACTIVE, .attempts = 1};

    (void)state;
    attempt_failed(&job, true, 0, &policy, NOW, UINT32_MAX);
    assert_int_equal(job.state, JOB_WAITING);
    assert_int_equal(job.due, NOW + 1000000);
}

static void test_permanent_failure_fails_at_once(void **state) {
    struct job job = {.state = JOB_ACTIVE, .attempts = 1};

    (void)state;
    attempt_failed(&job, false, 0, &policy, NOW, 0);
    assert_int_equal(job.state, JOB_FAILED);
}

static void test_retries_run_out(void **state) {
    struct job job = {.state = JOB_ACTIVE, .attempts = 2};

    (void)state;
    attempt_failed(&job, true, 0, &policy, NOW, 0);
    assert_int_equal(job.state, JOB_WAITING);
    job = (struct job){.state = JOB_ACTIVE, .attempts = 3};
    attempt_failed(&job, true, 0, &policy, NOW, 0);
    assert_int_equal(job.state, JOB_FAILED);
}

static void test_retry_after_is_obeyed(void **state) {
    struct job job = {.state = JOB_ACTIVE, .attempts = 1};

    (void)state;
    attempt_failed(&job, true, 7000000, &policy, NOW, 0);
    assert_int_equal(job.due, NOW + 7000000);
}

static void test_retry_after_has_an_end(void **state) {
    struct job job = {.state = JOB_ACTIVE, .attempts = 1};

    (void)state;
    attempt_failed(&job, true, UINT64_MAX, &policy, NOW, 0);
    assert_int_equal(job.due, NOW + UINT64_C(24) * 3600 * 1000000);
}

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
        cmocka_unit_test(test_delay_doubles),
        cmocka_unit_test(test_delay_is_capped),
        cmocka_unit_test(test_jitter_keeps_at_least_half),
        cmocka_unit_test(test_no_delay_configured),
        cmocka_unit_test(test_transient_failure_waits),
        cmocka_unit_test(test_permanent_failure_fails_at_once),
        cmocka_unit_test(test_retries_run_out),
        cmocka_unit_test(test_retry_after_is_obeyed),
        cmocka_unit_test(test_retry_after_has_an_end),
        cmocka_unit_test(test_crashes_up_to_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
