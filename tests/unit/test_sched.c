/* sched.h: turns of users and lanes, and a window that never loses a lane or job. */
#include "tests/unit/sched_fixture.h"

/* ---- turns ---- */

static void test_users_take_turns(void **state) {
    struct fixture *f = *state;
    const int64_t want[] = {1, 4, 2, 3};

    add_many(f, 1, 1, 0, 3);
    add(f, 2, 2, 0);
    for (size_t i = 0; i < ELEMENTSOF(want); i++)
        assert_int_equal(next(f)->id, want[i]);
}

static void test_lanes_of_a_user_take_turns(void **state) {
    struct fixture *f = *state;
    const int64_t want[] = {1, 4, 2, 5, 3, 6};

    add_many(f, 1, 1, 0, 3);
    add_many(f, 1, 2, 0, 3);
    for (size_t i = 0; i < ELEMENTSOF(want); i++)
        assert_int_equal(next(f)->id, want[i]);
}

static void test_25_steps_of_priority_double_a_lanes_share(void **state) {
    struct fixture *f = *state;
    int64_t lane_of[200];
    int n[3] = {0};

    add_many(f, 1, 1, 25, 100);
    add_many(f, 1, 2, 0, 100);
    for (int i = 0; i < 200; i++)
        lane_of[i] = i < 100 ? 1 : 2;
    for (int i = 0; i < 90; i++)
        n[next_lane(f, lane_of)]++;
    assert_in_range(n[1], 59, 61);
}

static void test_lane_that_was_away_saved_up_no_turns(void **state) {
    struct fixture *f = *state;
    int64_t lane_of[104];

    add_many(f, 1, 1, 0, 100);
    for (int i = 0; i < 104; i++)
        lane_of[i] = i < 100 ? 1 : 2;
    for (int i = 0; i < 50; i++)
        next_lane(f, lane_of);
    add_many(f, 1, 2, 0, 4);
    assert_int_equal(next_lane(f, lane_of), 1);
    assert_int_equal(next_lane(f, lane_of), 2);
    assert_int_equal(next_lane(f, lane_of), 1);
}

/* Lists a lane of his with n jobs, as an answer does that has others behind. */
static void list_lane(struct fixture *f, int host, int n) {
    struct sched_request q;

    while (sched_wants(f->s, &q), q.want != SCHED_WANT_LANES)
        assert_int_not_equal(q.want, SCHED_WANT_NOTHING);
    for (int i = 0; i < n; i++)
        add_ranked(f, 1, host, 0, (int64_t)f->n);
    sched_lanes_listed(f->s, 1, true, host, 100 + host);
}

static void test_lane_that_is_listed_late_makes_up_for_its_turns(void **state) {
    struct fixture *f = *state;
    int64_t lane_of[300];

    sched_user_add(f->s, 1);
    list_lane(f, 1, 50);
    for (int i = 0; i < 300; i++)
        lane_of[i] = i < 50 ? 1 : 2;
    for (int i = 0; i < 20; i++)
        assert_int_equal(next_lane(f, lane_of), 1);
    list_lane(f, 2, 50);
    for (int i = 0; i < 19; i++)
        assert_int_equal(next_lane(f, lane_of), 2);
    for (int i = 0, n[3] = {0}; i < 20; i++)
        assert_in_range(++n[next_lane(f, lane_of)], 1, 11);
}

static void test_lane_that_is_listed_late_makes_up_for_some_turns_only(void **state) {
    struct fixture *f = *state;
    int64_t lane_of[300];
    int n = 0;

    sched_user_add(f->s, 1);
    list_lane(f, 1, 150);
    for (int i = 0; i < 300; i++)
        lane_of[i] = i < 150 ? 1 : 2;
    for (int i = 0; i < 120; i++)
        assert_int_equal(next_lane(f, lane_of), 1);
    list_lane(f, 2, 150);
    while (next_lane(f, lane_of) == 2)
        n++;
    assert_in_range(n, 62, 66);
}

/* The store has more of its jobs, and is slow. */
static void test_lane_that_waits_for_the_store_keeps_its_turns(void **state) {
    struct fixture *f = *state;
    struct sched_request q;
    int64_t lane_of[300];

    add_many(f, 1, 1, 0, 100);
    add_ranked(f, 1, 2, 0, 100);
    sched_filled(f->s, 102, true, 100, 101);
    for (int i = 0; i < 300; i++)
        lane_of[i] = i < 100 ? 1 : 2;
    while (next_lane(f, lane_of) != 2)
        ;
    while (sched_wants(f->s, &q), q.want != SCHED_WANT_JOBS || q.lane != 102)
        assert_int_not_equal(q.want, SCHED_WANT_NOTHING);
    for (int i = 0; i < 10; i++)
        assert_int_equal(next_lane(f, lane_of), 1);
    for (int i = 0; i < 30; i++)
        add_ranked(f, 1, 2, 0, 200 + i);
    for (int i = 0; i < 9; i++)
        assert_int_equal(next_lane(f, lane_of), 2);
}

static void test_new_lane_of_high_priority_starts_first(void **state) {
    struct fixture *f = *state;
    struct sched_job *job;

    for (int host = 1; host <= 20; host++)
        add_many(f, 1, host, 0, 3);
    for (int i = 0; i < 20; i++)
        next(f);
    job = add(f, 1, 21, 100);
    assert_ptr_equal(next(f), job);
}

static void test_jobs_of_a_lane_start_by_rank_then_id(void **state) {
    struct fixture *f = *state;
    const int64_t want[] = {4, 2, 3, 1};

    add_ranked(f, 1, 1, 0, 50);
    add_ranked(f, 1, 1, 0, 40);
    add_ranked(f, 1, 1, 0, 40);
    add_ranked(f, 1, 1, 0, -3);
    for (size_t i = 0; i < ELEMENTSOF(want); i++)
        assert_int_equal(next(f)->id, want[i]);
}

static void test_users_share_a_busy_host_evenly(void **state) {
    struct fixture *f = *state;
    int64_t uid_of[40];
    int n[3] = {0};

    f->policy.connections = 1;
    add_many(f, 1, 1, 0, 20);
    add_many(f, 2, 1, 0, 20);
    for (int i = 0; i < 40; i++)
        uid_of[i] = i < 20 ? 1 : 2;
    for (int i = 0; i < 20; i++)
        n[next_lane(f, uid_of)]++;
    assert_int_equal(n[1], 10);
}

static void test_unstarted_job_is_first_again(void **state) {
    struct fixture *f = *state;
    struct sched_job *job;

    add_many(f, 1, 1, 0, 2);
    add_many(f, 2, 2, 0, 2);
    f->policy.delay = SEC;
    sched_policies_changed(f->s);
    job = next(f);
    sched_unstart(f->s, job);
    assert_ptr_equal(next(f), job);
}

static void test_removed_job_does_not_start(void **state) {
    struct fixture *f = *state;

    add_many(f, 1, 1, 0, 2);
    sched_remove(f->s, &f->jobs[0]);
    assert_int_equal(next(f)->id, 2);
}

/* ---- the window ---- */

static struct sched_request want(struct fixture *f) {
    struct sched_request q;

    sched_wants(f->s, &q);
    return q;
}

static void test_request_is_given_once(void **state) {
    struct fixture *f = *state;

    assert_int_equal(want(f).want, SCHED_WANT_USERS);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
    sched_ready(f->s, 1, 101, 1, 1, 1);
    assert_int_equal(want(f).want, SCHED_WANT_LANES);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
    lane_add(f, 1, 1);
    assert_int_equal(want(f).want, SCHED_WANT_JOBS);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
}

static void test_lane_in_the_window_is_not_added_twice(void **state) {
    struct fixture *f = *state;

    add(f, 1, 1, 0);
    assert_int_equal(sched_lane_add(f->s, 1, 101, 1, "h1:80", 0, 0, f->now), -EEXIST);
    assert_int_equal(sched_n_lanes(f->s), 1);
}

static void test_job_before_the_cursor_is_read_from_there(void **state) {
    struct fixture *f = *state;
    struct sched_request q;

    add_ranked(f, 1, 1, 0, 100);
    nothing_more(f);
    sched_ready(f->s, 1, 101, 1, 40, 40);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 39);
    assert_true(q.after_id == INT64_MAX);
    sched_filled(f->s, 101, false, 100, 1);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
}

static void test_jobs_before_the_cursor_are_read_up_to_the_last(void **state) {
    struct fixture *f = *state;
    struct sched_request q;

    add_ranked(f, 1, 1, 0, 100);
    nothing_more(f);
    sched_ready(f->s, 1, 101, 1, 40, 60);
    q = want(f);
    assert_int_equal(q.after, 39);
    sched_filled(f->s, 101, true, 50, 7);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 50);
    assert_int_equal(q.after_id, 7);
    sched_filled(f->s, 101, true, 61, 1);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
}

static void test_job_that_comes_while_reading_is_asked_for(void **state) {
    struct fixture *f = *state;
    struct sched_request q;
    int64_t lane = lane_add(f, 1, 1);

    assert_int_equal(want(f).want, SCHED_WANT_LANES);
    assert_int_equal(want(f).want, SCHED_WANT_JOBS);
    sched_ready(f->s, 1, lane, 1, 3, 3);
    sched_filled(f->s, lane, false, 10, 1);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 2);
}

static void test_job_that_comes_while_its_lane_is_listed_is_read(void **state) {
    struct fixture *f = *state;
    struct sched_request q;

    sched_user_add(f->s, 1);
    assert_int_equal(want(f).want, SCHED_WANT_LANES);
    sched_ready(f->s, 1, 101, 1, 3, 3);
    add_ranked(f, 1, 1, 0, 10);
    sched_lanes_listed(f->s, 1, false, 1, 101);
    assert_int_equal(want(f).want, SCHED_WANT_LANES); /* it may have been added behind */
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.lane, 101);
    assert_true(q.after == INT64_MIN);
}

static void test_lane_with_nothing_left_leaves_the_window(void **state) {
    struct fixture *f = *state;

    add(f, 1, 1, 0);
    assert_int_equal(sched_n_lanes(f->s), 1);
    next(f);
    assert_int_equal(sched_n_lanes(f->s), 0);
    assert_int_equal(sched_n_users(f->s), 0);
}

static void test_job_of_an_unknown_lane_stays_in_the_store(void **state) {
    struct fixture *f = *state;
    struct sched_job job = {.id = 1};

    assert_int_equal(sched_add(f->s, 5, &job), -ENOENT);
}

static void test_longest_lane_gives_jobs_back(void **state) {
    struct fixture *f = *state;
    struct sched_job *job;

    add_many(f, 1, 1, 0, 10);
    add_many(f, 1, 2, 0, 60);
    for (int i = 0; i < 6; i++) {
        job = sched_trim(f->s);
        assert_int_equal(job->id, 70 - i);
    }
    assert_null(sched_trim(f->s));
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
}

/* Four lanes in a window of four, and others outside. */
static void fill_window(struct fixture *f, int jobs_each) {
    nothing_more(f);
    sched_ready(f->s, 1, 101, 1, 1, 1);
    assert_int_equal(want(f).want, SCHED_WANT_LANES);
    for (int host = 1; host <= 4; host++)
        for (int i = 0; i < jobs_each; i++)
            add_ranked(f, 1, host, 0, i);
    sched_lanes_listed(f->s, 1, true, 4, 104);
}

static void test_nothing_is_evicted_for_nobody(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;

    for (int host = 1; host <= 4; host++)
        add_many(f, 1, host, 0, 2);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * SEC, 7, f->now);
    assert_false(sched_evict(f->s, f->now, &e));
}

static void test_lane_whose_host_is_away_makes_room(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;

    fill_window(f, 2);
    assert_false(sched_evict(f->s, f->now, &e));
    sched_ended(f->s, next(f), SCHED_SAYS_UNREACHED, 0, 7, f->now);
    f->policy.base = 1;
    assert_false(sched_evict(f->s, f->now, &e));
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * SEC, 7, f->now);
    assert_true(sched_evict(f->s, f->now, &e));
    assert_int_equal(e.lane, 102);
    assert_int_equal(e.uid, 1);
    assert_int_equal(e.wait, 100 * SEC);
    assert_false(e.stays);
    assert_ptr_equal(e.jobs, &f->jobs[3]);
    assert_null(e.jobs->next);
    assert_int_equal(sched_n_lanes(f->s), 3);
}

static void test_lane_that_had_its_share_makes_room(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e = {0};
    int starts = 0;

    fill_window(f, 70);
    while (!sched_evict(f->s, f->now, &e)) {
        end(f, next(f), SCHED_SAYS_FINE);
        starts++;
    }
    assert_in_range(starts, 4 * 63, 4 * 64);
    assert_int_equal(e.wait, 0);
    assert_false(e.stays);
}

static void test_lanes_are_listed_when_there_is_room(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;
    struct sched_request q;

    fill_window(f, 2);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * SEC, 7, f->now);
    assert_true(sched_evict(f->s, f->now, &e));
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_LANES);
    assert_int_equal(q.after, 4);
    assert_int_equal(q.after_id, 104);
}

static void test_lane_with_an_early_turn_gets_into_a_full_window(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;
    struct sched_request q;

    fill_window(f, 2);
    sched_ready(f->s, 1, 100, 0, 1, 1);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_LANES);
    assert_int_equal(q.after, 0);
    assert_int_equal(q.after_id, 99);
    add_ranked(f, 1, 0, 100, 1);
    sched_lanes_listed(f->s, 1, true, 2, 102);
    assert_true(sched_evict(f->s, f->now, &e));
    assert_int_equal(e.lane, 104);
    assert_true(e.stays);
    assert_false(sched_evict(f->s, f->now, &e));
    assert_int_equal(next(f)->priority, 100);
}

static void test_lane_that_stays_in_line_is_read_again(void **state) {
    struct fixture *f = *state;
    struct sched_request q;

    /* One of its four lanes has no jobs left. */
    test_lane_with_an_early_turn_gets_into_a_full_window(state);
    assert_int_equal(sched_n_lanes(f->s), 3);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_LANES);
    assert_int_equal(q.after, 4);
    assert_int_equal(q.after_id, 103);
}

static void test_answer_from_before_an_eviction_moves_no_cursor(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;
    struct sched_request q;
    int64_t lane;

    fill_window(f, 2);
    sched_ready(f->s, 1, 101, 1, 0, 0);
    assert_int_equal(want(f).want, SCHED_WANT_JOBS);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * SEC, 7, f->now);
    assert_true(sched_evict(f->s, f->now, &e));
    assert_int_equal(e.lane, 101);
    lane = lane_add(f, 1, 1);
    sched_filled(f->s, lane, true, 5, 5);   /* what the list had */
    sched_filled(f->s, lane, true, 90, 90); /* the answer to the request */
    do {
        q = want(f);
    } while (q.want == SCHED_WANT_LANES);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 5);
}

static void test_user_with_nothing_to_start_makes_room_for_another(void **state) {
    struct fixture *f = *state;
    struct sched_evicted e;
    struct sched_request q;

    add_many(f, 1, 1, 0, 2);
    add_many(f, 2, 2, 0, 2);
    sched_ready(f->s, 3, 303, 1, 1, 1);
    assert_int_equal(sched_n_users(f->s), 2);
    sched_ended(f->s, next(f), SCHED_SAYS_BUSY, 100 * SEC, 7, f->now);
    f->now += 2 * SEC;
    assert_true(sched_evict(f->s, f->now, &e));
    assert_int_equal(e.uid, 1);
    assert_int_equal(sched_n_users(f->s), 1);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_USERS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(users_take_turns),
        TEST(lanes_of_a_user_take_turns),
        TEST(25_steps_of_priority_double_a_lanes_share),
        TEST(lane_that_was_away_saved_up_no_turns),
        TEST(lane_that_is_listed_late_makes_up_for_its_turns),
        TEST(lane_that_is_listed_late_makes_up_for_some_turns_only),
        TEST(lane_that_waits_for_the_store_keeps_its_turns),
        TEST(new_lane_of_high_priority_starts_first),
        TEST(jobs_of_a_lane_start_by_rank_then_id),
        TEST(users_share_a_busy_host_evenly),
        TEST(unstarted_job_is_first_again),
        TEST(removed_job_does_not_start),
        TEST(request_is_given_once),
        TEST(lane_in_the_window_is_not_added_twice),
        TEST(job_before_the_cursor_is_read_from_there),
        TEST(jobs_before_the_cursor_are_read_up_to_the_last),
        TEST(job_that_comes_while_reading_is_asked_for),
        TEST(job_that_comes_while_its_lane_is_listed_is_read),
        TEST(lane_with_nothing_left_leaves_the_window),
        TEST(job_of_an_unknown_lane_stays_in_the_store),
        SMALL(longest_lane_gives_jobs_back),
        TEST(nothing_is_evicted_for_nobody),
        SMALL(lane_whose_host_is_away_makes_room),
        SMALL(lane_that_had_its_share_makes_room),
        SMALL(lanes_are_listed_when_there_is_room),
        SMALL(lane_with_an_early_turn_gets_into_a_full_window),
        SMALL(lane_that_stays_in_line_is_read_again),
        SMALL(answer_from_before_an_eviction_moves_no_cursor),
        SMALL(user_with_nothing_to_start_makes_room_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
