/* attempt.h: which mirror is tried next, and when. */
#include "tests/unit/attempt_fixture.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_mirror_at_once),
        cmocka_unit_test(test_round_of_mirrors_is_one_try),
        cmocka_unit_test(test_mirror_that_failed_for_good_is_left_out),
        cmocka_unit_test(test_all_mirrors_failed_for_good),
        cmocka_unit_test(test_last_mirror_is_tried_again_by_itself),
        cmocka_unit_test(test_own_faults_are_no_mirrors),
        cmocka_unit_test(test_mirror_named_twice),
        cmocka_unit_test(test_other_mirror_starts_over),
        cmocka_unit_test(test_checksum_lets_another_mirror_go_on),
        cmocka_unit_test(test_mirror_that_asked_for_patience_is_left_out_for_so_long),
        cmocka_unit_test(test_all_mirrors_asked_for_patience),
        cmocka_unit_test(test_mirror_that_waits_has_its_turn_before_the_job_fails),
        cmocka_unit_test(test_patience_has_an_end),
        cmocka_unit_test(test_every_mirror_is_tried_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
