#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job.h"

static void test_names_go_both_ways(void **state) {
    enum job_state s;

    (void)state;
    for (unsigned i = 0; i < JOB_STAGED; i++) {
        assert_int_equal(job_state_parse(job_state_name((enum job_state)i), &s), 0);
        assert_int_equal(s, i);
    }
}

static void test_staged_is_called_queued(void **state) {
    enum job_state s;

    (void)state;
    assert_string_equal(job_state_name(JOB_STAGED), "queued");
    assert_int_equal(job_state_parse("queued", &s), 0);
    assert_int_equal(s, JOB_QUEUED);
    assert_int_equal(job_state_parse("staged", &s), -EINVAL);
}

static void test_unknown_names_are_refused(void **state) {
    enum job_state s;

    (void)state;
    assert_int_equal(job_state_parse("ended", &s), -EINVAL);
    assert_int_equal(job_state_parse("", &s), -EINVAL);
    assert_int_equal(job_state_parse("Queued", &s), -EINVAL);
    assert_null(job_state_name(JOB_STATE_MAX_));
    assert_null(job_state_name((enum job_state) - 1));
}

/* Row: from; column: to. */
static void test_transitions(void **state) {
    static const char *const table[JOB_STATE_MAX_] = {
        /*                   qwpadfcs */
        [JOB_QUEUED] = "-xxx-xx-",    [JOB_WAITING] = "x-x---x-", [JOB_PAUSED] = "xx----x-",
        [JOB_ACTIVE] = "xxx-xxx-",    [JOB_DONE] = "--------",    [JOB_FAILED] = "x-------",
        [JOB_CANCELLED] = "x-------", [JOB_STAGED] = "x-x---x-",
    };

    (void)state;
    for (int from = 0; from < JOB_STATE_MAX_; from++)
        for (int to = 0; to < JOB_STATE_MAX_; to++)
            if (job_state_may((enum job_state)from, (enum job_state)to) != (table[from][to] == 'x'))
                fail_msg("from %d to %d", from, to);
}

static void test_numbers_out_of_range_may_nothing(void **state) {
    (void)state;
    assert_false(job_state_may(JOB_STATE_MAX_, JOB_QUEUED));
    assert_false(job_state_may(JOB_QUEUED, JOB_STATE_MAX_));
    assert_false(job_state_may(JOB_QUEUED, (enum job_state)40));
}

static void test_nothing_is_ended_and_may_end_again(void **state) {
    (void)state;
    for (int from = 0; from < JOB_STATE_MAX_; from++)
        for (int to = 0; to < JOB_STATE_MAX_; to++)
            if (job_state_ended((enum job_state)from) && job_state_ended((enum job_state)to))
                assert_false(job_state_may((enum job_state)from, (enum job_state)to));
}

static void test_ended_states(void **state) {
    (void)state;
    for (int s = 0; s < JOB_STATE_MAX_; s++)
        assert_int_equal(job_state_ended((enum job_state)s),
                         s == JOB_DONE || s == JOB_FAILED || s == JOB_CANCELLED);
}

static void test_free_takes_all_that_a_job_owns(void **state) {
    struct job **jobs = calloc(2, sizeof(*jobs));

    (void)state;
    assert_null(job_free(NULL));
    assert_non_null(jobs);
    jobs[0] = calloc(1, sizeof(**jobs));
    assert_non_null(jobs[0]);
    jobs[0]->url = strdup("http://h/");
    jobs[0]->host = strdup("h:80");
    jobs[0]->body = strdup("{}");
    jobs[0]->result = (struct job_result){
        .output = strdup("a"),
        .message = strdup("b"),
        .effective_url = strdup("c"),
        .content_type = strdup("d"),
    };
    job_free_many(jobs, 2); /* one of them NULL; the leak checker tells */
    job_free_many(NULL, 0);
}

static void test_done_leaves_an_empty_result(void **state) {
    struct job_result r = {.error = 3, .message = strdup("m")};

    (void)state;
    job_result_done(&r);
    assert_null(r.message);
    assert_int_equal(r.error, 0);
    assert_int_equal(r.size, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_go_both_ways),
        cmocka_unit_test(test_staged_is_called_queued),
        cmocka_unit_test(test_unknown_names_are_refused),
        cmocka_unit_test(test_transitions),
        cmocka_unit_test(test_numbers_out_of_range_may_nothing),
        cmocka_unit_test(test_nothing_is_ended_and_may_end_again),
        cmocka_unit_test(test_ended_states),
        cmocka_unit_test(test_free_takes_all_that_a_job_owns),
        cmocka_unit_test(test_done_leaves_an_empty_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
