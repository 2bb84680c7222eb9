/* sched.h: what hosts are allowed, and their health. */
#include "tests/unit/sched_fixture.h"

static void test_host_has_at_most_its_connections(void **state) {
    struct fixture *f = *state;
    struct sched_job *first;

    f->policy.connections = 2;
    add_many(f, 1, 1, 0, 2);
    add_many(f, 2, 1, 0, 2);
    first = next(f);
    assert_non_null(next(f));
    assert_null(next(f));
    end(f, first, SCHED_SAYS_FINE);
    assert_non_null(next(f));
    assert_null(next(f));
}

static void test_more_connections_of_a_job_count(void **state) {
    struct fixture *f = *state;
    struct sched_job *first;

    f->policy.connections = 4;
    add_many(f, 1, 1, 0, 9);
    first = next(f);
    assert_true(sched_widen(f->s, first, "h1:80") && sched_widen(f->s, first, "h1:80"));
    assert_non_null(next(f));
    assert_null(next(f));
    assert_false(sched_widen(f->s, first, "h1:80"));
    end(f, first, SCHED_SAYS_FINE);
    first = next(f);
    assert_true(sched_widen(f->s, first, "h1:80") && sched_widen(f->s, first, "h1:80"));
    assert_false(sched_widen(f->s, first, "h1:80"));
    assert_null(next(f));
    sched_unstart(f->s, first);
    for (int i = 0; i < 3; i++)
        assert_non_null(next(f));
    assert_null(next(f));
}

static void test_connections_to_other_hosts_count_there(void **state) {
    struct fixture *f = *state;
    struct sched_job *first;

    f->policy.connections = 2;
    add_many(f, 1, 1, 0, 1);
    first = next(f);
    assert_true(sched_widen(f->s, first, "h2:80") && sched_widen(f->s, first, "h3:80"));
    add_many(f, 1, 2, 0, 3);
    assert_non_null(next(f));
    assert_null(next(f));
    assert_false(sched_widen(f->s, first, "h2:80"));
    end(f, first, SCHED_SAYS_FINE);
    assert_non_null(next(f));
    assert_null(next(f));
    assert_false(sched_host_info(f->s, "h3:80", f->now, &(struct sched_host_info){.limit = 0}));
}

static void test_host_in_trouble_lends_nothing(void **state) {
    struct fixture *f = *state;
    struct sched_job *first;

    add_many(f, 1, 1, 0, 1);
    add_many(f, 2, 2, 0, 1);
    first = next(f);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 90 * SEC, 7, f->now);
    assert_false(sched_widen(f->s, first, "h2:80"));
    f->policy.delay = 5 * SEC;
    assert_false(sched_widen(f->s, first, "h3:80"));
}

static void test_starts_are_delay_apart(void **state) {
    struct fixture *f = *state;

    f->policy.delay = 5 * SEC;
    add_many(f, 1, 1, 0, 2);
    assert_non_null(next(f));
    f->now += 5 * SEC - 1;
    assert_null(next(f));
    assert_int_equal(sched_wake(f->s), f->now + 1);
    f->now++;
    assert_non_null(next(f));
    assert_true(sched_wake(f->s) == USEC_INFINITY);
}

static void test_busy_host_is_left_alone_for_retry_after(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 2);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 90 * SEC, 7, f->now);
    assert_int_equal(info(f, 1).state, SCHED_HOST_BACKOFF);
    assert_int_equal(info(f, 1).error, 7);
    assert_int_equal(sched_wake(f->s), f->now + 90 * SEC);
    f->now += 90 * SEC - 1;
    assert_null(next(f));
    f->now++;
    assert_non_null(next(f));
}

static void test_retry_after_is_obeyed_up_to_an_hour(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 2);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * 3600 * SEC, 7, f->now);
    assert_int_equal(info(f, 1).next_start, f->now + 3600 * SEC);
}

static void test_backoff_doubles_up_to_its_max(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 10);
    for (uint64_t wait = 1; wait <= 128; wait *= 2) {
        run_one(f, SCHED_SAYS_BUSY);
        assert_int_equal(info(f, 1).next_start, f->now + MIN(wait, (uint64_t)60) * SEC);
        f->now = info(f, 1).next_start;
    }
    assert_int_equal(info(f, 1).failures, 8);
}

static void test_recovering_host_gets_a_probe_first(void **state) {
    struct fixture *f = *state;
    struct sched_job *probe;

    add_many(f, 1, 1, 0, 9);
    run_one(f, SCHED_SAYS_BUSY);
    f->now += SEC;
    assert_int_equal(info(f, 1).state, SCHED_HOST_PROBE);
    probe = next(f);
    assert_null(next(f));
    f->now++;
    end(f, probe, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).state, SCHED_HOST_OPEN);
    assert_int_equal(info(f, 1).limit, 2);
    run_one(f, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).limit, 3);
}

static void test_probe_that_tells_nothing_is_followed_by_another(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 4);
    run_one(f, SCHED_SAYS_BUSY);
    f->now += SEC;
    end(f, next(f), SCHED_SAYS_NOTHING);
    assert_non_null(next(f));
    assert_null(next(f));
}

static void test_unreached_host_has_half_the_connections(void **state) {
    struct fixture *f = *state;
    const unsigned want[] = {4, 2, 1};

    add_many(f, 1, 1, 0, 9);
    run_one(f, SCHED_SAYS_FINE);
    for (size_t i = 0; i < ELEMENTSOF(want); i++) {
        run_one(f, SCHED_SAYS_UNREACHED);
        assert_int_equal(info(f, 1).limit, want[i]);
    }
    f->policy.patience = 9;
    sched_policies_changed(f->s);
    run_one(f, SCHED_SAYS_UNREACHED);
    assert_int_equal(info(f, 1).state, SCHED_HOST_BACKOFF);
}

static void test_slow_host_has_half_the_connections_but_one_at_least(void **state) {
    struct fixture *f = *state;
    const unsigned want[] = {4, 2, 1, 1};

    add_many(f, 1, 1, 0, 9);
    for (size_t i = 0; i < ELEMENTSOF(want); i++) {
        f->now++;
        run_one(f, SCHED_SAYS_SLOW);
        assert_int_equal(info(f, 1).state, SCHED_HOST_OPEN);
        assert_int_equal(info(f, 1).limit, want[i]);
    }
    run_one(f, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).limit, 2);
    assert_int_equal(info(f, 1).failures, 0);
}

static void test_answer_opens_before_the_probe_ends(void **state) {
    struct fixture *f = *state;
    struct sched_job *probe, *second;

    add_many(f, 1, 1, 0, 9);
    run_one(f, SCHED_SAYS_BUSY);
    f->now += SEC;
    probe = next(f);
    assert_true(sched_is_curious(probe));
    assert_null(next(f));
    sched_answered(f->s, probe, f->now);
    assert_int_equal(info(f, 1).limit, 2);
    second = next(f);
    assert_non_null(second);
    sched_answered(f->s, second, f->now);
    assert_int_equal(info(f, 1).limit, 3);
    end(f, probe, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).limit, 3);
    end(f, second, SCHED_SAYS_BUSY);
    assert_int_equal(info(f, 1).state, SCHED_HOST_BACKOFF);
}

static void test_what_a_host_asked_for_can_be_written_down(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;

    add_many(f, 1, 1, 0, 3);
    add_many(f, 1, 2, 0, 3);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 90 * SEC, 7, f->now);
    assert_true(sched_evict_away(f->s, f->now, &e));
    assert_int_equal(e.wait, 90 * SEC);
    assert_false(e.stays);
    assert_false(sched_evict_away(f->s, f->now, &e));
}

static void test_host_that_asked_for_patience_begins_with_a_probe(void **state) {
    struct fixture *f = *state;
    struct sched_job *probe;

    sched_lane_add(f->s, 1, 101, 1, "h1:80", 0, 90 * SEC, f->now);
    add_many(f, 1, 1, 0, 5);
    assert_null(next(f));
    f->now += 90 * SEC;
    probe = next(f);
    assert_non_null(probe);
    assert_null(next(f));
    end(f, probe, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).limit, 2);
}

static void test_late_word_of_an_open_host_holds(void **state) {
    struct fixture *f = *state;
    struct sched_job *slow, *quick;

    add_many(f, 1, 1, 0, 9);
    run_one(f, SCHED_SAYS_FINE);
    slow = next(f);
    quick = next(f);
    f->now++;
    end(f, quick, SCHED_SAYS_BUSY);
    f->now += 90 * SEC;
    run_one(f, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).state, SCHED_HOST_OPEN);
    sched_ended(f->s, slow, SCHED_SAYS_BUSY, 90 * SEC, 7, f->now);
    assert_int_equal(info(f, 1).state, SCHED_HOST_BACKOFF);
    assert_null(next(f));
    f->now += 90 * SEC;
    assert_non_null(next(f));
}

static void test_jobs_in_flight_fail_once(void **state) {
    struct fixture *f = *state;
    struct sched_job *job[4];

    add_many(f, 1, 1, 0, 9);
    run_one(f, SCHED_SAYS_FINE);
    f->now++;
    for (int i = 0; i < 4; i++)
        job[i] = next(f);
    for (int i = 0; i < 4; i++) {
        f->now++;
        end(f, job[i], SCHED_SAYS_UNREACHED);
    }
    assert_int_equal(info(f, 1).failures, 1);
    assert_int_equal(info(f, 1).limit, 4);
}

static void test_host_never_reached_is_left_alone_at_once(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 2);
    run_one(f, SCHED_SAYS_UNREACHED);
    assert_int_equal(info(f, 1).state, SCHED_HOST_BACKOFF);
    assert_null(next(f));
}

/* A host of ten jobs that wasn't reached twice. */
static void bring_down(struct fixture *f) {
    add_many(f, 1, 1, 0, 10);
    run_one(f, SCHED_SAYS_UNREACHED);
    f->now += SEC;
    run_one(f, SCHED_SAYS_UNREACHED);
    assert_int_equal(info(f, 1).state, SCHED_HOST_DOWN);
    assert_true(info(f, 1).unreached_since > 0);
}

static void test_jobs_of_a_host_that_is_down_are_refused(void **state) {
    struct fixture *f = *state;

    bring_down(f);
    for (int i = 0; i < 8; i++)
        end(f, next_refused(f), SCHED_SAYS_NOTHING);
    assert_null(next(f));
}

static void test_host_that_is_down_is_probed_when_the_backoff_is_over(void **state) {
    struct fixture *f = *state;
    struct sched_job *probe;

    bring_down(f);
    end(f, next_refused(f), SCHED_SAYS_NOTHING);
    f->now += 2 * SEC;
    probe = next(f);
    assert_null(next(f));
    end(f, probe, SCHED_SAYS_FINE);
    assert_int_equal(info(f, 1).state, SCHED_HOST_OPEN);
    assert_non_null(next(f));
}

static void test_changed_policy_counts_at_once(void **state) {
    struct fixture *f = *state;

    f->policy.connections = 1;
    add_many(f, 1, 1, 0, 9);
    next(f);
    assert_null(next(f));
    f->policy.connections = 3;
    sched_policies_changed(f->s);
    assert_non_null(next(f));
    assert_non_null(next(f));
    assert_null(next(f));
}

static void test_host_is_remembered_while_there_is_something_to_remember(void **state) {
    struct fixture *f = *state;
    struct sched_host_info i;

    add(f, 1, 1, 0);
    add(f, 1, 2, 0);
    run_one(f, SCHED_SAYS_BUSY);
    run_one(f, SCHED_SAYS_FINE);
    assert_true(sched_host_info(f->s, "h1:80", f->now, &i));
    assert_false(sched_host_info(f->s, "h2:80", f->now, &i));
}

static void test_hosts_in_memory_are_bounded(void **state) {
    struct fixture *f = *state;

    for (int host = 1; host <= 30; host++) {
        add(f, 1, host, 0);
        run_one(f, SCHED_SAYS_BUSY);
    }
    assert_true(sched_n_hosts(f->s) <= 8);
}

static void test_failures_are_known_again_when_a_lane_comes_back(void **state) {
    struct fixture *f = *state;

    sched_lane_add(f->s, 1, 101, 1, "h1:80", 3, 10 * SEC, f->now);
    assert_int_equal(info(f, 1).state, SCHED_HOST_DOWN);
    assert_int_equal(info(f, 1).next_start, f->now + 10 * SEC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(host_has_at_most_its_connections),
        TEST(more_connections_of_a_job_count),
        TEST(connections_to_other_hosts_count_there),
        TEST(host_in_trouble_lends_nothing),
        TEST(starts_are_delay_apart),
        TEST(busy_host_is_left_alone_for_retry_after),
        TEST(retry_after_is_obeyed_up_to_an_hour),
        TEST(backoff_doubles_up_to_its_max),
        TEST(recovering_host_gets_a_probe_first),
        TEST(probe_that_tells_nothing_is_followed_by_another),
        TEST(unreached_host_has_half_the_connections),
        TEST(slow_host_has_half_the_connections_but_one_at_least),
        TEST(answer_opens_before_the_probe_ends),
        TEST(what_a_host_asked_for_can_be_written_down),
        TEST(host_that_asked_for_patience_begins_with_a_probe),
        TEST(late_word_of_an_open_host_holds),
        TEST(jobs_in_flight_fail_once),
        TEST(host_never_reached_is_left_alone_at_once),
        TEST(jobs_of_a_host_that_is_down_are_refused),
        TEST(host_that_is_down_is_probed_when_the_backoff_is_over),
        TEST(changed_policy_counts_at_once),
        TEST(host_is_remembered_while_there_is_something_to_remember),
        SMALL(hosts_in_memory_are_bounded),
        TEST(failures_are_known_again_when_a_lane_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
