/* sched.h: turns of users and lanes, the health of hosts, and a window that never loses a lane or job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/sched.h"

#define SEC USEC_PER_SEC

/* A scheduler whose hosts all have the same policy, with memory for the jobs of a test. */
struct fixture {
    struct sched *s;
    struct sched_policy policy;
    struct sched_job jobs[300];
    size_t n;
    uint64_t now;
};

static void policy_of(void *userdata, const char *host, struct sched_policy *ret) {
    (void)host;
    *ret = *(struct sched_policy *)userdata;
}

static int setup_window(void **state, size_t lanes, size_t jobs, size_t users) {
    struct fixture *f = calloc(1, sizeof(*f));
    const struct sched_settings settings = {
        .max_lanes = lanes,
        .max_jobs = jobs,
        .max_users = users,
        .policy = policy_of,
        .userdata = &f->policy,
    };

    f->policy =
        (struct sched_policy){.connections = 8, .base = SEC, .max = 60 * SEC, .patience = 2};
    f->now = 1000 * SEC;
    f->s = sched_new(&settings);
    *state = f;
    return f->s ? 0 : -1;
}

static int setup(void **state) {
    return setup_window(state, 64, 4096, 8);
}

static int setup_small(void **state) {
    return setup_window(state, 4, 64, 2);
}

static int teardown(void **state) {
    struct fixture *f = *state;

    sched_free(f->s);
    free(f);
    return 0;
}

/* The store has nothing else. */
static void nothing_more(struct fixture *f) {
    struct sched_request q;

    while (sched_wants(f->s, &q), q.want != SCHED_WANT_NOTHING) {
        if (q.want == SCHED_WANT_JOBS)
            sched_filled(f->s, q.lane, false, q.after, q.after_id);
        else if (q.want == SCHED_WANT_LANES)
            sched_lanes_listed(f->s, q.uid, false, q.after, q.after_id);
        else
            sched_users_listed(f->s, false, -1);
    }
}

/* A lane's number is its user's x 100 and its host's. */
static int64_t lane_add(struct fixture *f, uid_t uid, int host) {
    char name[32];

    snprintf(name, sizeof(name), "h%d:80", host);
    sched_lane_add(f->s, uid, uid * 100 + host, host, name, 0, 0, f->now);
    return uid * 100 + host;
}

static struct sched_job *add_ranked(struct fixture *f, uid_t uid, int host, int priority,
                                    int64_t rank) {
    struct sched_job *job = &f->jobs[f->n++];
    int64_t lane = lane_add(f, uid, host);

    assert_true(f->n <= ELEMENTSOF(f->jobs));
    *job = (struct sched_job){.id = (int64_t)f->n, .rank = rank, .priority = priority};
    assert_int_equal(sched_add(f->s, lane, job), 0);
    sched_filled(f->s, lane, false, rank, job->id);
    return job;
}

static struct sched_job *add(struct fixture *f, uid_t uid, int host, int priority) {
    struct sched_job *job = add_ranked(f, uid, host, priority, (int64_t)f->n);

    nothing_more(f);
    return job;
}

static void add_many(struct fixture *f, uid_t uid, int host, int priority, int n) {
    for (int i = 0; i < n; i++)
        add(f, uid, host, priority);
}

static struct sched_job *next(struct fixture *f) {
    bool refused = false;
    struct sched_job *job = sched_next(f->s, f->now, &refused);

    assert_false(job && refused);
    return job;
}

static struct sched_job *next_refused(struct fixture *f) {
    bool refused = false;
    struct sched_job *job = sched_next(f->s, f->now, &refused);

    assert_non_null(job);
    assert_true(refused);
    return job;
}

static void end(struct fixture *f, struct sched_job *job, enum sched_says says) {
    sched_ended(f->s, job, says, 0, 7, f->now);
}

/* Starts and ends one job at its host. */
static void run_one(struct fixture *f, enum sched_says says) {
    struct sched_job *job;

    f->now++;
    job = next(f);
    assert_non_null(job);
    f->now++;
    end(f, job, says);
}

static struct sched_host_info info(struct fixture *f, int host) {
    struct sched_host_info ret;
    char name[32];

    snprintf(name, sizeof(name), "h%d:80", host);
    assert_true(sched_host_info(f->s, name, f->now, &ret));
    return ret;
}

/* Which lane the next job is of; it ends at once. */
static int64_t next_lane(struct fixture *f, int64_t lane_of[]) {
    struct sched_job *job = next(f);
    int64_t lane;

    assert_non_null(job);
    lane = lane_of[job->id - 1];
    end(f, job, SCHED_SAYS_NOTHING);
    return lane;
}

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

/* ---- hosts ---- */

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
    sched_ready(f->s, 1, 101, 1, 1);
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
    sched_ready(f->s, 1, 101, 1, 40);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 39);
    assert_true(q.after_id == INT64_MAX);
    sched_filled(f->s, 101, false, 100, 1);
    assert_int_equal(want(f).want, SCHED_WANT_NOTHING);
}

static void test_job_that_comes_while_reading_is_asked_for(void **state) {
    struct fixture *f = *state;
    struct sched_request q;
    int64_t lane = lane_add(f, 1, 1);

    assert_int_equal(want(f).want, SCHED_WANT_JOBS);
    sched_ready(f->s, 1, lane, 1, 3);
    sched_filled(f->s, lane, false, 10, 1);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after, 2);
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
    sched_ready(f->s, 1, 101, 1, 1);
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
    sched_ready(f->s, 1, 100, 0, 1);
    q = want(f);
    assert_int_equal(q.want, SCHED_WANT_LANES);
    assert_int_equal(q.after, -1);
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
    sched_ready(f->s, 1, 101, 1, 0);
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
    sched_ready(f->s, 3, 303, 1, 1);
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
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define SMALL(name) cmocka_unit_test_setup_teardown(test_##name, setup_small, teardown)
    const struct CMUnitTest tests[] = {
        TEST(users_take_turns),
        TEST(lanes_of_a_user_take_turns),
        TEST(25_steps_of_priority_double_a_lanes_share),
        TEST(lane_that_was_away_saved_up_no_turns),
        TEST(new_lane_of_high_priority_starts_first),
        TEST(jobs_of_a_lane_start_by_rank_then_id),
        TEST(users_share_a_busy_host_evenly),
        TEST(unstarted_job_is_first_again),
        TEST(removed_job_does_not_start),
        TEST(host_has_at_most_its_connections),
        TEST(starts_are_delay_apart),
        TEST(busy_host_is_left_alone_for_retry_after),
        TEST(retry_after_is_obeyed_up_to_an_hour),
        TEST(backoff_doubles_up_to_its_max),
        TEST(recovering_host_gets_a_probe_first),
        TEST(probe_that_tells_nothing_is_followed_by_another),
        TEST(unreached_host_has_half_the_connections),
        TEST(jobs_in_flight_fail_once),
        TEST(host_never_reached_is_left_alone_at_once),
        TEST(jobs_of_a_host_that_is_down_are_refused),
        TEST(host_that_is_down_is_probed_when_the_backoff_is_over),
        TEST(changed_policy_counts_at_once),
        TEST(host_is_remembered_while_there_is_something_to_remember),
        SMALL(hosts_in_memory_are_bounded),
        TEST(failures_are_known_again_when_a_lane_comes_back),
        TEST(request_is_given_once),
        TEST(lane_in_the_window_is_not_added_twice),
        TEST(job_before_the_cursor_is_read_from_there),
        TEST(job_that_comes_while_reading_is_asked_for),
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
