/* attempt.h: when a job is tried again, where, and when no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/attempt.h"

#define NOW (UINT64_C(1700000000) * 1000000)
#define SEC USEC_PER_SEC

static const struct attempt_policy policy = {
    .retries = 2, .base = SEC, .max = 600 * SEC, .crash_limit = 3};

static char *mirrors[] = {"http://a.example/x", "http://b.example:81/x", "http://c.example/y"};

/* A job whose attempts go on at the clock's pace; how the last one ended is set before attempt_ends(). */
struct fixture {
    struct job job;
    struct job_spec spec;
    struct attempt_end end;
};

static struct fixture fixture_of(unsigned n_urls) {
    struct fixture f = {
        .job = {.state = JOB_ACTIVE, .result = {.size = -1}, .kept.total = -1},
        .spec = JOB_SPEC_INIT,
        .end = {.transient = true, .now = NOW, .random = UINT32_MAX},
    };

    f.spec.n_urls = n_urls;
    f.spec.urls = mirrors;
    f.job.url = strdup(mirrors[0]);
    f.job.host = strdup("a.example:80");
    return f;
}

static void fixture_done(struct fixture *f) {
    free(f->job.url);
    free(f->job.host);
    job_result_done(&f->job.result);
    job_kept_done(&f->job.kept);
}

/* One more attempt, and it fails. */
static enum job_state attempt_ends(struct fixture *f, enum dld_error error) {
    f->job.attempts++;
    f->job.state = JOB_ACTIVE;
    f->job.result.error = error;
    f->end.transient = error_transient(error);
    attempt_failed(&f->job, &f->spec, &policy, &f->end);
    f->end.kept_before = f->job.kept.offset;
    return f->job.state;
}

static enum job_state attempt_status(struct fixture *f, unsigned status) {
    f->job.attempts++;
    f->job.state = JOB_ACTIVE;
    f->job.result.error = ERR_HTTP;
    f->job.result.http_status = status;
    f->end.transient = http_status_transient(status);
    attempt_failed(&f->job, &f->spec, &policy, &f->end);
    return f->job.state;
}

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

/* ---- mirrors ---- */

static void test_next_mirror_at_once(void **state) {
    struct fixture f = fixture_of(3);

    (void)state;
    f.spec.retries = 0;
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[1]);
    assert_string_equal(f.job.host, "b.example:81");
    assert_int_equal(f.job.due, NOW);
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[2]);
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_FAILED);
    assert_int_equal(f.job.attempts, 3);
    fixture_done(&f);
}

static void test_round_of_mirrors_is_one_try(void **state) {
    struct fixture f = fixture_of(3);

    (void)state;
    for (unsigned round = 1; round <= 2; round++) {
        attempt_ends(&f, ERR_CONNECT);
        attempt_ends(&f, ERR_CONNECT);
        assert_int_equal(f.job.due, NOW);
        assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
        assert_int_equal(f.job.due, NOW + round * SEC);
        assert_string_equal(f.job.url, mirrors[0]);
    }
    attempt_ends(&f, ERR_CONNECT);
    attempt_ends(&f, ERR_CONNECT);
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_FAILED);
    assert_int_equal(f.job.attempts, 9);
    fixture_done(&f);
}

static void test_mirror_that_failed_for_good_is_left_out(void **state) {
    struct fixture f = fixture_of(3);

    (void)state;
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
    assert_int_equal(attempt_status(&f, 404), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[2]);
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[0]);
    assert_int_equal(attempt_ends(&f, ERR_CONNECT), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[2]);
    fixture_done(&f);
}

static void test_all_mirrors_failed_for_good(void **state) {
    struct fixture f = fixture_of(3);

    (void)state;
    assert_int_equal(attempt_ends(&f, ERR_TLS), JOB_WAITING);
    assert_int_equal(attempt_status(&f, 404), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_CHECKSUM), JOB_FAILED);
    fixture_done(&f);
}

static void test_last_mirror_is_tried_again_by_itself(void **state) {
    struct fixture f = fixture_of(2);

    (void)state;
    assert_int_equal(attempt_status(&f, 404), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[1]);
    assert_int_equal(f.job.due, NOW + SEC);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_WAITING);
    assert_int_equal(attempt_ends(&f, ERR_RESET), JOB_FAILED);
    fixture_done(&f);
}

static void test_own_faults_are_no_mirrors(void **state) {
    static const enum dld_error errors[] = {ERR_OUTPUT, ERR_EXISTS, ERR_TOO_LARGE};
    struct fixture f = fixture_of(3);

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(errors); i++)
        assert_int_equal(attempt_ends(&f, errors[i]), JOB_FAILED);
    assert_int_equal(attempt_ends(&f, ERR_NO_SPACE), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[0]);
    fixture_done(&f);
}

static void test_mirror_named_twice(void **state) {
    char *urls[] = {mirrors[0], mirrors[1], mirrors[0]};
    struct fixture f = fixture_of(3);

    (void)state;
    f.spec.urls = urls;
    attempt_ends(&f, ERR_CONNECT);
    assert_string_equal(f.job.url, mirrors[1]);
    attempt_ends(&f, ERR_CONNECT);
    assert_string_equal(f.job.url, mirrors[0]);
    assert_int_equal(f.job.due, NOW + SEC);
    fixture_done(&f);
}

static void keep(struct fixture *f, uint64_t offset) {
    job_kept_done(&f->job.kept);
    f->job.kept = (struct job_kept){
        .offset = offset, .total = 1000, .etag = strdup("\"1\""), .last_modified = strdup("x")};
}

static void test_other_mirror_starts_over(void **state) {
    struct fixture f = fixture_of(2);

    (void)state;
    keep(&f, 100);
    assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
    assert_int_equal(f.job.kept.offset, 0);
    assert_true(f.job.kept.leftover);
    assert_int_equal(f.job.kept.total, -1);
    assert_null(f.job.kept.etag);
    keep(&f, 100); /* what is then forgotten is no progress */
    assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
    assert_int_equal(f.job.stalls, 1);
    fixture_done(&f);
}

static void test_checksum_lets_another_mirror_go_on(void **state) {
    struct fixture f = fixture_of(2);

    (void)state;
    f.spec.checksum = (char *)"md5:d41d8cd98f00b204e9800998ecf8427e";
    keep(&f, 100);
    assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[1]);
    assert_int_equal(f.job.kept.offset, 100);
    assert_int_equal(f.job.kept.total, 1000);
    assert_null(f.job.kept.etag);
    assert_null(f.job.kept.last_modified);
    keep(&f, 200);
    assert_int_equal(attempt_ends(&f, ERR_PARTIAL), JOB_WAITING);
    assert_int_equal(f.job.stalls, 0);
    fixture_done(&f);
}

static enum job_state attempt_waits(struct fixture *f, uint64_t retry_after) {
    enum job_state state;

    f->end.retry_after = retry_after;
    state = attempt_status(f, 503);
    f->end.retry_after = 0;
    if (state == JOB_WAITING)
        f->end.now = f->job.due;
    return state;
}

static void test_mirror_that_asked_for_patience_is_left_out_for_so_long(void **state) {
    struct fixture f = fixture_of(2);

    (void)state;
    f.spec.retries = 9;
    attempt_waits(&f, 2 * SEC + 1);
    assert_string_equal(f.job.url, mirrors[1]);
    assert_int_equal(f.job.due, NOW);
    attempt_waits(&f, 0); /* the next round, a second later, is without the first */
    assert_string_equal(f.job.url, mirrors[1]);
    assert_int_equal(f.job.due, NOW + SEC);
    attempt_waits(&f, 0); /* two seconds more: both may be asked then, and the first is preferred */
    assert_string_equal(f.job.url, mirrors[0]);
    assert_int_equal(f.job.due, NOW + 3 * SEC);
    fixture_done(&f);
}

static void test_all_mirrors_asked_for_patience(void **state) {
    struct fixture f = fixture_of(3);

    (void)state;
    attempt_waits(&f, 50 * SEC);
    attempt_waits(&f, 30 * SEC);
    attempt_waits(&f, 40 * SEC);
    assert_string_equal(f.job.url, mirrors[1]);
    assert_int_equal(f.job.due, NOW + 30 * SEC);
    fixture_done(&f);
}

static void test_mirror_that_waits_has_its_turn_before_the_job_fails(void **state) {
    struct fixture f = fixture_of(2);

    (void)state;
    f.spec.retries = 0;
    assert_int_equal(attempt_waits(&f, 3600 * SEC), JOB_WAITING);
    assert_int_equal(attempt_waits(&f, 60 * SEC), JOB_WAITING);
    assert_string_equal(f.job.url, mirrors[0]);
    assert_int_equal(f.job.due, NOW + 3600 * SEC);
    assert_int_equal(attempt_waits(&f, 3600 * SEC), JOB_FAILED); /* once */
    assert_int_equal(f.job.attempts, 3);
    fixture_done(&f);
}

static void test_patience_has_an_end(void **state) {
    struct fixture f = fixture_of(3);
    unsigned n = 0;

    (void)state;
    while (attempt_waits(&f, SEC) == JOB_WAITING && n < 100)
        n++;
    assert_in_range(f.job.attempts, 9, 9 + 2);
    fixture_done(&f);
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

static void test_every_mirror_is_tried_once(void **state) {
    char *urls[JOB_URLS_MAX];
    struct fixture f = fixture_of(JOB_URLS_MAX);

    (void)state;
    for (size_t i = 0; i < JOB_URLS_MAX; i++)
        assert_true(asprintf(&urls[i], "http://m%zu.example/x", i) > 0);
    f.spec.urls = urls;
    f.spec.retries = 0;
    free(f.job.url);
    f.job.url = strdup(urls[0]);
    while (attempt_ends(&f, ERR_CONNECT) == JOB_WAITING)
        ;
    assert_int_equal(f.job.attempts, JOB_URLS_MAX);
    for (size_t i = 0; i < JOB_URLS_MAX; i++)
        free(urls[i]);
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
        cmocka_unit_test(test_next_mirror_at_once),
        cmocka_unit_test(test_round_of_mirrors_is_one_try),
        cmocka_unit_test(test_mirror_that_failed_for_good_is_left_out),
        cmocka_unit_test(test_all_mirrors_failed_for_good),
        cmocka_unit_test(test_last_mirror_is_tried_again_by_itself),
        cmocka_unit_test(test_own_faults_are_no_mirrors),
        cmocka_unit_test(test_mirror_named_twice),
        cmocka_unit_test(test_other_mirror_starts_over),
        cmocka_unit_test(test_checksum_lets_another_mirror_go_on),
        cmocka_unit_test(test_every_mirror_is_tried_once),
        cmocka_unit_test(test_mirror_that_asked_for_patience_is_left_out_for_so_long),
        cmocka_unit_test(test_all_mirrors_asked_for_patience),
        cmocka_unit_test(test_mirror_that_waits_has_its_turn_before_the_job_fails),
        cmocka_unit_test(test_patience_has_an_end),
        cmocka_unit_test(test_part_worth_keeping),
        cmocka_unit_test(test_crashes_up_to_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
