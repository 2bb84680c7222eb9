/* sched.h: turns, limits, order, and a window that never loses a job and never grows beyond its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/sched.h"

static const struct sched_limits small = {.max_active = 2, .max_hosts = 4, .max_jobs = 64};

static struct sched *new_sched(void) {
    struct sched *s = sched_new(&small);

    assert_non_null(s);
    return s;
}

static void add(struct sched *s, const char *host, struct sched_job *job, int64_t id, int64_t rank) {
    *job = (struct sched_job){.id = id, .rank = rank};
    assert_int_equal(sched_add(s, host, job), 0);
}

static void test_hosts_take_turns(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[6];

    (void)state;
    for (int i = 0; i < 3; i++) {
        add(s, "a:80", &jobs[i], 1 + i, i);
        add(s, "b:80", &jobs[3 + i], 11 + i, 100 + i);
    }
    assert_int_equal(sched_next(s)->id, 1);
    assert_int_equal(sched_next(s)->id, 11);
    assert_int_equal(sched_next(s)->id, 2);
    assert_int_equal(sched_next(s)->id, 12);
    sched_free(s);
}

static void test_a_host_has_at_most_max_active(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[3], *first;

    (void)state;
    for (int i = 0; i < 3; i++)
        add(s, "a:80", &jobs[i], 1 + i, i);
    first = sched_next(s);
    assert_non_null(sched_next(s));
    assert_null(sched_next(s));
    sched_ended(s, first);
    assert_int_equal(sched_next(s)->id, 3);
    sched_free(s);
}

static void test_jobs_of_a_host_start_by_rank_then_id(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[4], *job;
    const int64_t want[] = {9, 2, 5, 7};

    (void)state;
    add(s, "a:80", &jobs[0], 7, 50);
    add(s, "a:80", &jobs[1], 5, 40);
    add(s, "a:80", &jobs[2], 2, 40);
    add(s, "a:80", &jobs[3], 9, -3);
    for (size_t i = 0; i < ELEMENTSOF(want); i++) {
        job = sched_next(s);
        assert_int_equal(job->id, want[i]);
        sched_ended(s, job);
    }
    sched_free(s);
}

static void test_unstarted_job_is_first_again(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[2], *job;

    (void)state;
    add(s, "a:80", &jobs[0], 1, 1);
    add(s, "a:80", &jobs[1], 2, 2);
    job = sched_next(s);
    sched_unstart(s, job);
    assert_int_equal(sched_next(s)->id, 1);
    sched_free(s);
}

static void test_removed_job_does_not_start(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[2];

    (void)state;
    add(s, "a:80", &jobs[0], 1, 1);
    add(s, "a:80", &jobs[1], 2, 2);
    sched_remove(s, &jobs[0]);
    assert_int_equal(sched_next(s)->id, 2);
    sched_free(s);
}

static void test_host_with_nothing_left_leaves_the_window(void **state) {
    struct sched *s = new_sched();
    struct sched_request q;
    struct sched_job job;

    (void)state;
    assert_int_equal(sched_ready(s, "a:80", 5), 0);
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    add(s, "a:80", &job, 1, 5);
    sched_filled(s, "a:80", false, 5, 1);
    assert_int_equal(sched_n_hosts(s), 1);
    sched_ended(s, sched_next(s));
    assert_int_equal(sched_n_hosts(s), 0);
    sched_free(s);
}

static void test_request_is_given_once(void **state) {
    struct sched *s = new_sched();
    struct sched_request q;

    (void)state;
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_HOSTS);
    sched_hosts_listed(s, false, "");
    sched_ready(s, "a:80", 1);
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_NOTHING);
    sched_free(s);
}

static void test_job_that_comes_while_fetching_is_asked_for(void **state) {
    struct sched *s = new_sched();
    struct sched_request q;

    (void)state;
    sched_wants(s, &q); /* hosts */
    sched_ready(s, "a:80", 10);
    sched_wants(s, &q);
    sched_ready(s, "a:80", 3);
    sched_filled(s, "a:80", false, 10, 1);
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_JOBS);
    assert_int_equal(q.after_rank, INT64_MIN);
    sched_free(s);
}

static void test_host_without_room_is_listed_later(void **state) {
    struct sched *s = new_sched();
    struct sched_job jobs[4];
    struct sched_request q;
    char host[] = "a:80";

    (void)state;
    sched_wants(s, &q);
    sched_hosts_listed(s, false, "");
    for (int i = 0; i < 4; i++, host[0]++)
        add(s, host, &jobs[i], i + 1, 1);
    assert_int_equal(sched_ready(s, host, 1), 0);
    assert_int_equal(sched_n_hosts(s), 4);
    /* The window's own hosts are asked about first, then there is room for another. */
    for (int i = 0; i < 4; i++) {
        sched_wants(s, &q);
        assert_int_equal(q.want, SCHED_WANT_JOBS);
        sched_filled(s, q.host, false, 1, 9);
    }
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_NOTHING);
    sched_ended(s, sched_next(s));
    sched_wants(s, &q);
    assert_int_equal(q.want, SCHED_WANT_HOSTS);
    sched_free(s);
}

/* ---- a simulation: a store of jobs by host and rank, workers that take their time, and some failures ---- */

#define SIM_HOSTS 12
#define SIM_JOBS 3000

struct sim_job {
    struct sched_job sched;
    int host;
    enum { ABSENT, STORED, HELD, RUNNING, ENDED } where;
};

struct sim {
    struct sched *s;
    struct sim_job jobs[SIM_JOBS];
    int n_jobs;
    struct sim_job *running[64];
    int n_running;
    int active[SIM_HOSTS];
    uint64_t seed;
};

static uint32_t sim_random(struct sim *m, uint32_t below) {
    m->seed = m->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(m->seed >> 33) % below;
}

static const char *host_name(int host) {
    static char name[32];

    snprintf(name, sizeof(name), "h%02d:80", host);
    return name;
}

static struct sim_job *sim_of(struct sched_job *job) {
    return (struct sim_job *)((char *)job - offsetof(struct sim_job, sched));
}

static void sim_store(struct sim *m, struct sim_job *j) {
    j->where = STORED;
    assert_int_equal(sched_ready(m->s, host_name(j->host), j->sched.rank), 0);
}

static void sim_submit(struct sim *m) {
    struct sim_job *j = &m->jobs[m->n_jobs];

    j->sched.id = ++m->n_jobs;
    j->sched.rank = m->n_jobs - (int64_t)sim_random(m, 2) * sim_random(m, 500);
    /* Zipf-like: most jobs on few hosts. */
    j->host = (int)sim_random(m, 1 + sim_random(m, SIM_HOSTS));
    sim_store(m, j);
}

static bool sim_before(const struct sched_job *a, int64_t rank, int64_t id) {
    return a->rank < rank || (a->rank == rank && a->id <= id);
}

/* The queued job of the host that comes next behind (rank, id), held and running ones included, as the store has them. */
static struct sim_job *sim_next_row(struct sim *m, int host, int64_t rank, int64_t id) {
    struct sim_job *best = NULL;

    for (int i = 0; i < m->n_jobs; i++) {
        struct sim_job *j = &m->jobs[i];

        if (j->host != host || j->where == ABSENT || j->where == ENDED ||
            sim_before(&j->sched, rank, id))
            continue;
        if (!best || sim_before(&j->sched, best->sched.rank, best->sched.id))
            best = j;
    }
    return best;
}

static void sim_fetch(struct sim *m, const struct sched_request *q) {
    int host = atoi(q->host + 1);
    int64_t rank = q->after_rank, id = q->after_id;
    struct sched_job *surplus;
    struct sim_job *j = NULL;

    for (size_t i = 0; i < q->limit && (j = sim_next_row(m, host, rank, id)); i++) {
        rank = j->sched.rank;
        id = j->sched.id;
        if (j->where == STORED) {
            assert_int_equal(sched_add(m->s, host_name(host), &j->sched), 0);
            j->where = HELD;
        }
    }
    sched_filled(m->s, host_name(host), sim_next_row(m, host, rank, id) != NULL, rank, id);
    while ((surplus = sched_trim(m->s)))
        sim_of(surplus)->where = STORED;
}

static void sim_list(struct sim *m, const struct sched_request *q) {
    char after[32], last[32] = "";
    size_t n = 0;
    bool more = false;

    snprintf(after, sizeof(after), "%s", q->host);
    for (int host = 0; host < SIM_HOSTS; host++) {
        if (strcmp(host_name(host), after) <= 0 || !sim_next_row(m, host, INT64_MIN, 0))
            continue;
        if (n++ == q->limit) {
            more = true;
            break;
        }
        snprintf(last, sizeof(last), "%s", host_name(host));
        sched_ready(m->s, last, INT64_MAX);
    }
    sched_hosts_listed(m->s, more, last);
}

static void sim_ask(struct sim *m) {
    struct sched_request q;

    /* Not always at once: the store takes its time. */
    while (sim_random(m, 3) && (sched_wants(m->s, &q), q.want != SCHED_WANT_NOTHING)) {
        if (q.want == SCHED_WANT_JOBS)
            sim_fetch(m, &q);
        else
            sim_list(m, &q);
    }
}

static void sim_start(struct sim *m) {
    while (m->n_running < (int)ELEMENTSOF(m->running)) {
        struct sched_job *job = sched_next(m->s);
        struct sim_job *j;

        if (!job)
            return;
        j = sim_of(job);
        assert_int_equal(j->where, HELD);
        j->where = RUNNING;
        assert_true(++m->active[j->host] <= (int)small.max_active);
        m->running[m->n_running++] = j;
    }
}

static void sim_end_one(struct sim *m) {
    int i = (int)sim_random(m, (uint32_t)m->n_running);
    struct sim_job *j = m->running[i];

    m->running[i] = m->running[--m->n_running];
    m->active[j->host]--;
    sched_ended(m->s, &j->sched);
    if (sim_random(m, 5) == 0)
        sim_store(m, j); /* failed: ready again, at its old rank */
    else
        j->where = ENDED;
}

static void simulate(uint64_t seed) {
    struct sim *m = calloc(1, sizeof(*m));
    int ended = 0;

    m->seed = seed;
    m->s = new_sched();
    for (int step = 0; ended < SIM_JOBS; step++) {
        assert_true(step < 200 * SIM_JOBS);
        for (uint32_t n = sim_random(m, 4); n > 0 && m->n_jobs < SIM_JOBS; n--)
            sim_submit(m);
        sim_ask(m);
        sim_start(m);
        for (uint32_t n = sim_random(m, 4); n > 0 && m->n_running > 0; n--)
            sim_end_one(m);
        assert_true(sched_n_hosts(m->s) <= small.max_hosts);
        assert_true(sched_n_queued(m->s) <= small.max_jobs + small.max_hosts * 16);
        ended = 0;
        for (int i = 0; i < m->n_jobs; i++)
            ended += m->jobs[i].where == ENDED;
    }
    assert_int_equal(sched_n_queued(m->s), 0);
    sched_free(m->s);
    free(m);
}

static void test_every_job_of_a_simulation_ends(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        print_message("seed %d\n", (int)seed);
        simulate(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_take_turns),
        cmocka_unit_test(test_a_host_has_at_most_max_active),
        cmocka_unit_test(test_jobs_of_a_host_start_by_rank_then_id),
        cmocka_unit_test(test_unstarted_job_is_first_again),
        cmocka_unit_test(test_removed_job_does_not_start),
        cmocka_unit_test(test_host_with_nothing_left_leaves_the_window),
        cmocka_unit_test(test_request_is_given_once),
        cmocka_unit_test(test_job_that_comes_while_fetching_is_asked_for),
        cmocka_unit_test(test_host_without_room_is_listed_later),
        cmocka_unit_test(test_every_job_of_a_simulation_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
