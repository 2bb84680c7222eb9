/* sched.h against a slow and obvious model: at every step of random runs both must choose the same user,
 * lane and job, or none, and the same time to wake up.
 *
 * DLD_TEST_ROUNDS: number of runs; DLD_TEST_SEED: the first one's seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "common/util.h"
#include "tests/unit/sched_model.h"

#define ROUNDS 400
#define JOBS_MAX 2000
#define SLOTS 12

struct world {
    struct model m;
    struct sched *s;
    struct sched_job jobs[JOBS_MAX];
    struct model_job model_jobs[JOBS_MAX];
    int running[SLOTS];
    int n_running, n_jobs, n_users, n_hosts;
    int temper[MODEL_HOSTS]; /* of 100 ends: how many are trouble */
    uint64_t now, random, seed;
};

static uint32_t pick(struct world *w, uint32_t below) {
    w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % below;
}

static void host_name(int host, char ret[static 32]) {
    snprintf(ret, 32, "h%d:80", host);
}

static void policy(void *userdata, const char *host, struct sched_policy *ret) {
    struct world *w = userdata;

    *ret = w->m.hosts[atoi(host + 1)].policy;
}

/* The store has nothing that the window has not. */
static void answer(struct world *w) {
    struct sched_request q;

    while (sched_wants(w->s, &q), q.want != SCHED_WANT_NOTHING) {
        if (q.want == SCHED_WANT_JOBS)
            sched_filled(w->s, q.lane, false, q.after, q.after_id);
        else if (q.want == SCHED_WANT_LANES)
            sched_lanes_listed(w->s, q.uid, false, q.after, q.after_id);
        else
            sched_users_listed(w->s, false, -1);
    }
}

static void submit(struct world *w) {
    int i = w->m.n_jobs++, lane, r;
    struct model_job *j = &w->model_jobs[i];
    char host[32];

    *j = (struct model_job){
        .id = i + 1,
        .priority = pick(w, 3) ? 0 : (int)pick(w, 201) - 100,
        .user = (int)pick(w, 1 + pick(w, (uint32_t)w->n_users)),
        .host = (int)pick(w, 1 + pick(w, (uint32_t)w->n_hosts)),
    };
    j->rank = i - j->priority * (int)pick(w, 3);
    lane = model_lane_of(j);
    model_advance(&w->m, w->now);
    model_submit(&w->m, i);
    w->jobs[i] = (struct sched_job){.id = j->id, .rank = j->rank, .priority = j->priority};
    host_name(j->host, host);
    r = sched_lane_add(w->s, (uid_t)j->user, lane + 1, j->rank, host, 0, 0, w->now);
    assert_true(r == 0 || r == -EEXIST);
    assert_int_equal(sched_add(w->s, lane + 1, &w->jobs[i]), 0);
    if (r == 0)
        sched_filled(w->s, lane + 1, false, j->rank, j->id);
}

static void next(struct world *w) {
    bool refused = false;
    struct sched_job *job;
    int want;

    if (w->n_running == SLOTS)
        return;
    model_advance(&w->m, w->now);
    want = model_next(&w->m);
    job = sched_next(w->s, w->now, &refused);
    assert_int_equal(job ? job->id : 0, want + 1);
    assert_true(sched_wake(w->s) == model_wake(&w->m));
    if (want < 0)
        return;
    assert_int_equal(refused, w->model_jobs[want].where == MODEL_REFUSED);
    if (pick(w, 20) == 0) {
        model_unstart(&w->m, want);
        sched_unstart(w->s, job);
    } else {
        w->running[w->n_running++] = want;
    }
}

static enum sched_says how_it_ended(struct world *w, const struct model_job *j) {
    if (j->where == MODEL_REFUSED || pick(w, 12) == 0)
        return SCHED_SAYS_NOTHING;
    if ((int)pick(w, 100) >= w->temper[j->host])
        return SCHED_SAYS_FINE;
    return j->host % 3 == 0 ? SCHED_SAYS_BUSY : SCHED_SAYS_UNREACHED;
}

static void end(struct world *w) {
    int i = (int)pick(w, (uint32_t)w->n_running), job = w->running[i];
    enum sched_says says = how_it_ended(w, &w->model_jobs[job]);
    uint64_t retry_after = pick(w, 3) ? 0 : pick(w, 20000);

    w->running[i] = w->running[--w->n_running];
    model_advance(&w->m, w->now);
    model_end(&w->m, job, says, retry_after);
    sched_ended(w->s, &w->jobs[job], says, retry_after, 1, w->now);
    assert_true(sched_wake(w->s) == model_wake(&w->m));
}

static void cancel(struct world *w) {
    int job = (int)pick(w, (uint32_t)w->m.n_jobs);

    if (w->model_jobs[job].where != MODEL_QUEUED)
        return;
    model_remove(&w->m, job);
    sched_remove(w->s, &w->jobs[job]);
}

static void check_host(struct world *w) {
    int i = (int)pick(w, (uint32_t)w->n_hosts);
    const struct model_host *h = &w->m.hosts[i];
    struct sched_host_info info;
    char name[32];

    host_name(i, name);
    if (!sched_host_info(w->s, name, w->now, &info))
        return;
    assert_int_equal(info.active, w->m.seen.host_active[i]);
    assert_true(info.active <= h->policy.connections);
    assert_int_equal(info.state == SCHED_HOST_DOWN, model_down(h, w->now));
}

static void step(struct world *w) {
    uint32_t dice = pick(w, 100);

    if (dice < 25 && w->m.n_jobs < w->n_jobs)
        submit(w);
    else if (dice < 60)
        next(w);
    else if (dice < 85 && w->n_running > 0)
        end(w);
    else if (dice < 88 && w->m.n_jobs > 0)
        cancel(w);
    else if (dice < 90)
        check_host(w);
    else if (dice < 92 && model_wake(&w->m) != MODEL_NEVER)
        w->now = MAX(w->now, model_wake(&w->m));
    else
        w->now += pick(w, 300);
    answer(w);
}

static void world_init(struct world *w, uint64_t seed) {
    static const struct sched_settings settings = {
        .max_lanes = 4096, .max_jobs = 1 << 20, .max_users = 64, .policy = policy};
    struct sched_settings own = settings;

    memset(w, 0, sizeof(*w));
    w->seed = w->random = seed;
    w->now = 1;
    w->m.jobs = w->model_jobs;
    pick(w, 2);
    w->n_users = 1 + (int)pick(w, MODEL_USERS);
    w->n_hosts = 1 + (int)pick(w, MODEL_HOSTS);
    w->n_jobs = seed % 10 == 0 ? JOBS_MAX : 200;
    for (int i = 0; i < MODEL_HOSTS; i++) {
        w->m.hosts[i].policy = (struct sched_policy){
            .connections = 1 + pick(w, 6),
            .delay = pick(w, 3) ? 0 : pick(w, 2000),
            .base = 1 + pick(w, 1000),
            .max = 10000,
            .patience = 1 + pick(w, 3),
        };
        w->temper[i] = pick(w, 2) ? 0 : (int)pick(w, 101);
        model_host_reset(&w->m.hosts[i]);
    }
    own.userdata = w;
    w->s = sched_new(&own);
    assert_non_null(w->s);
    answer(w);
}

static bool finished(const struct world *w) {
    return w->m.n_jobs == w->n_jobs && w->n_running == 0 && sched_n_queued(w->s) == 0;
}

static void run(struct world *w, uint64_t seed) {
    world_init(w, seed);
    for (int i = 0; !finished(w); i++) {
        assert_true(i < 1000 * w->n_jobs);
        step(w);
    }
    for (int i = 0; i < w->n_jobs; i++)
        assert_int_equal(w->model_jobs[i].where, MODEL_ENDED);
    assert_int_equal(sched_n_lanes(w->s), 0);
    assert_int_equal(sched_n_users(w->s), 0);
    sched_free(w->s);
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);

    return value ? strtoull(value, NULL, 10) : otherwise;
}

static void test_every_choice_is_the_models(void **state) {
    uint64_t seed = number("DLD_TEST_SEED", 1), rounds = number("DLD_TEST_ROUNDS", ROUNDS);
    struct world *w = malloc(sizeof(*w));

    (void)state;
    assert_non_null(w);
    print_message("seeds %llu to %llu\n", (unsigned long long)seed,
                  (unsigned long long)(seed + rounds - 1));
    for (uint64_t i = 0; i < rounds; i++) {
        fprintf(stderr, "\rseed %llu ", (unsigned long long)(seed + i));
        run(w, seed + i);
    }
    fprintf(stderr, "\n");
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_choice_is_the_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
