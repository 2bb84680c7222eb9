/*
 * sched_fixture.h - for tests of sched.h: a scheduler whose hosts all have the same policy, with memory
 * for the jobs of a test.
 */
#ifndef DLD_TEST_SCHED_FIXTURE_H
#define DLD_TEST_SCHED_FIXTURE_H

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

struct fixture {
    struct sched *s;
    struct sched_policy policy;
    struct sched_job jobs[300];
    size_t n;
    uint64_t now;
};

static inline void policy_of(void *userdata, const char *host, struct sched_policy *ret) {
    (void)host;
    *ret = *(struct sched_policy *)userdata;
}

static inline int setup_window(void **state, size_t lanes, size_t jobs, size_t users) {
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

static inline int setup(void **state) {
    return setup_window(state, 64, 4096, 8);
}

static inline int setup_small(void **state) {
    return setup_window(state, 4, 64, 2);
}

static inline int teardown(void **state) {
    struct fixture *f = *state;

    sched_free(f->s);
    free(f);
    return 0;
}

/* The store has nothing else. */
static inline void nothing_more(struct fixture *f) {
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
static inline int64_t lane_add(struct fixture *f, uid_t uid, int host) {
    char name[32];

    snprintf(name, sizeof(name), "h%d:80", host);
    sched_lane_add(f->s, uid, uid * 100 + host, host, name, 0, 0, f->now);
    return uid * 100 + host;
}

static inline struct sched_job *add_ranked(struct fixture *f, uid_t uid, int host, int priority,
                                           int64_t rank) {
    struct sched_job *job = &f->jobs[f->n++];
    int64_t lane = lane_add(f, uid, host);

    assert_true(f->n <= ELEMENTSOF(f->jobs));
    *job = (struct sched_job){.id = (int64_t)f->n, .rank = rank, .priority = priority};
    assert_int_equal(sched_add(f->s, lane, job), 0);
    sched_filled(f->s, lane, false, rank, job->id);
    return job;
}

static inline struct sched_job *add(struct fixture *f, uid_t uid, int host, int priority) {
    struct sched_job *job = add_ranked(f, uid, host, priority, (int64_t)f->n);

    nothing_more(f);
    return job;
}

static inline void add_many(struct fixture *f, uid_t uid, int host, int priority, int n) {
    for (int i = 0; i < n; i++)
        add(f, uid, host, priority);
}

static inline struct sched_job *next(struct fixture *f) {
    bool refused = false;
    struct sched_job *job = sched_next(f->s, f->now, &refused);

    assert_false(job && refused);
    return job;
}

static inline struct sched_job *next_refused(struct fixture *f) {
    bool refused = false;
    struct sched_job *job = sched_next(f->s, f->now, &refused);

    assert_non_null(job);
    assert_true(refused);
    return job;
}

static inline void end(struct fixture *f, struct sched_job *job, enum sched_says says) {
    sched_ended(f->s, job, says, 0, 7, f->now);
}

/* Starts and ends one job at its host. */
static inline void run_one(struct fixture *f, enum sched_says says) {
    struct sched_job *job;

    f->now++;
    job = next(f);
    assert_non_null(job);
    f->now++;
    end(f, job, says);
}

static inline struct sched_host_info info(struct fixture *f, int host) {
    struct sched_host_info ret;
    char name[32];

    snprintf(name, sizeof(name), "h%d:80", host);
    assert_true(sched_host_info(f->s, name, f->now, &ret));
    return ret;
}

/* Which lane the next job is of; it ends at once. */
static inline int64_t next_lane(struct fixture *f, int64_t lane_of[]) {
    struct sched_job *job = next(f);
    int64_t lane;

    assert_non_null(job);
    lane = lane_of[job->id - 1];
    end(f, job, SCHED_SAYS_NOTHING);
    return lane;
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define SMALL(name) cmocka_unit_test_setup_teardown(test_##name, setup_small, teardown)

#endif
