/* sched.h over virtual time: a queue of many hosts (Zipf), users, priorities, failures, cancels and jobs
 * that come later, a store that answers late, and what must hold at every step.
 *
 * DLD_TEST_SEED, DLD_TEST_ROUNDS (runs of the small world), DLD_TEST_JOBS (of the big one). */
#include "tests/unit/sched_world.h"

/* ---- running ---- */

static uint64_t how_long(struct world *w, const struct host *h) {
    return h->temper == DEAD ? 50 * MSEC + pick(w, 200 * MSEC)
                             : 1 + pick(w, (uint32_t)h->latency * 2);
}

static void check_wait(struct world *w, struct lane *l) {
    uint64_t starts = ++w->store.users[l->user].starts;

    if (l->entered && w->hosts[l->host].temper == FINE && l->n == 1)
        w->longest_wait = MAX(w->longest_wait, starts - l->entered);
    l->entered = 0;
}

static void start(struct world *w, struct held *j) {
    struct row *r = &w->store.rows[j->sched.id - 1];
    struct lane *l = &w->store.lanes[r->lane];
    struct host *h = &w->hosts[l->host];

    assert_int_equal(r->where, HELD);
    store_move(&w->store, (size_t)j->sched.id - 1, ACTIVE);
    check_wait(w, l);
    w->n_active++;
    w->n_starts++;
    h->could_since = 0;
    if (j->refused) {
        assert_true(h->temper == DEAD || h->temper == SHAKY);
        w->n_refused++;
        event_new(w, 0, JOB_ENDS, 0)->held = j;
        return;
    }
    assert_true(++h->active <= h->connections);
    assert_true(!h->started || w->now >= h->last_start + h->delay);
    assert_true(w->now >= h->closed_until);
    h->started = true;
    h->last_start = w->now;
    event_new(w, how_long(w, h), JOB_ENDS, 0)->held = j;
}

static enum sched_says how(struct world *w, const struct host *h) {
    uint32_t dice = pick(w, 100);

    switch (h->temper) {
    case DEAD:
        return SCHED_SAYS_UNREACHED;
    case BUSY:
        return dice < 20 ? SCHED_SAYS_BUSY : SCHED_SAYS_FINE;
    case SHAKY:
        return dice < 30 ? SCHED_SAYS_UNREACHED : dice < 35 ? SCHED_SAYS_NOTHING : SCHED_SAYS_FINE;
    default:
        return dice < 2 ? SCHED_SAYS_NOTHING : SCHED_SAYS_FINE;
    }
}

/* What a host may expect after this: at the least. */
static void learn(struct world *w, struct host *h, const struct held *j, enum sched_says says,
                  uint64_t retry_after) {
    bool news = !h->last_trouble || j->sched.started > h->last_trouble;

    if (says == SCHED_SAYS_FINE)
        h->reached = true;
    if (says != SCHED_SAYS_BUSY && says != SCHED_SAYS_UNREACHED)
        return;
    if (news && says == SCHED_SAYS_BUSY)
        h->closed_until = w->now + (retry_after ? retry_after : BASE);
    if (news && says == SCHED_SAYS_UNREACHED && !h->reached)
        h->closed_until = w->now + BASE;
    if (news)
        h->last_trouble = w->now;
}

static void end(struct world *w, struct held *j) {
    uint32_t row = (uint32_t)j->sched.id - 1;
    struct row *r = &w->store.rows[row];
    struct host *h = &w->hosts[w->store.lanes[r->lane].host];
    enum sched_says says = j->refused ? SCHED_SAYS_NOTHING : how(w, h);
    uint64_t retry_after = says == SCHED_SAYS_BUSY && pick(w, 2) ? pick(w, 3000 * MSEC) : 0;
    bool failed = says == SCHED_SAYS_BUSY || says == SCHED_SAYS_UNREACHED || j->refused;

    assert_int_equal(r->where, ACTIVE);
    w->n_active--;
    if (!j->refused) {
        h->active--;
        learn(w, h, j, says, retry_after);
    }
    sched_ended(w->s, &j->sched, says, retry_after, 1, w->now);
    let_go(w, j);
    if (failed && ++r->attempts < ATTEMPTS) {
        w->n_again++;
        store_move(&w->store, row, WAITING);
        event_new(w, pick(w, 2 * SEC), ROW_DUE, row);
    } else {
        store_move(&w->store, row, ENDED);
        w->n_ended++;
    }
}

static void happen(struct world *w, struct event *e) {
    struct lane *l = &w->store.lanes[e->index];

    if (e->what == JOB_ENDS) {
        end(w, e->held);
    } else if (e->what == ROW_DUE) {
        submit(w, e->index);
    } else if (e->what == ANSWER) {
        answer(w, e);
    } else {
        l->parked = false;
        store_line(&w->store, e->index);
        if (l->live > 0)
            say_ready(w, e->index, INT64_MIN);
    }
}

/* Now and then somebody cancels a job, or takes one back that was about to start. */
static void meddle(struct world *w) {
    struct held *h;

    if (w->n_held == 0 || pick(w, 50))
        return;
    h = w->held[pick(w, (uint32_t)w->n_held)];
    if (w->store.rows[h->sched.id - 1].where != HELD)
        return;
    sched_remove(w->s, &h->sched);
    store_move(&w->store, (size_t)h->sched.id - 1, ENDED);
    w->n_ended++;
    let_go(w, h);
}

/* ---- what must hold ---- */

static void check_bounds(struct world *w) {
    const struct sched_settings *max = &w->size.window;

    assert_true(sched_n_lanes(w->s) <= max->max_lanes);
    assert_true(sched_n_users(w->s) <= max->max_users);
    assert_true(sched_n_queued(w->s) <= MAX(max->max_jobs, sched_n_lanes(w->s) * 16));
    assert_true(sched_n_hosts(w->s) <= 2 * max->max_lanes + w->size.slots);
    assert_true(w->most_lanes <= max->max_lanes + max->max_lanes / 2 + 16);
    w->most_jobs = MAX(w->most_jobs, sched_n_queued(w->s));
    w->most_hosts = MAX(w->most_hosts, sched_n_hosts(w->s));
}

static bool host_could(struct world *w, uint32_t host) {
    struct sched_host_info info;
    char name[16];

    host_name(host, name);
    if (!sched_host_info(w->s, name, w->now, &info))
        return true;
    return info.next_start == 0 && info.active < info.limit && info.state != SCHED_HOST_DOWN &&
           !(info.state == SCHED_HOST_PROBE && info.active > 0);
}

/* Slots are free: no host that could start something has it in the window, or in the store for longer
 * than asking for it takes; longer if users have to take turns in the window. */
static void check_idle(struct world *w) {
    bool users_wait = w->size.users > w->size.window.max_users;
    uint64_t patience = users_wait ? 100 * SEC : 10 * SEC;

    w->check++;
    for (size_t i = 0; i < w->n_held; i++) {
        const struct row *r = &w->store.rows[w->held[i]->sched.id - 1];
        uint32_t host = w->store.lanes[r->lane].host;

        if (r->where == HELD && w->hosts[host].seen != w->check) {
            w->hosts[host].seen = w->check;
            assert_false(host_could(w, host));
        }
    }
    for (uint32_t lane = 0; lane < w->store.n_lanes; lane++) {
        const struct lane *l = &w->store.lanes[lane];
        struct host *h = &w->hosts[l->host];

        if (!l->in_line || h->active > 0 || h->seen == w->check || h->temper != FINE)
            continue;
        h->seen = w->check;
        if (h->could_since == 0)
            h->could_since = w->now;
        assert_true(w->now - MAX(h->could_since, w->full) < patience);
    }
    for (uint32_t i = 0; i < w->size.hosts; i++)
        if (w->hosts[i].seen != w->check)
            w->hosts[i].could_since = 0;
}

/* ---- the world ---- */

static void turn(struct world *w) {
    bool refused = false, busy;
    struct sched_job *job = NULL;

    while (w->n_active < w->size.slots && (job = sched_next(w->s, w->now, &refused))) {
        if (pick(w, 200) == 0) {
            sched_unstart(w->s, job);
            continue;
        }
        ((struct held *)job)->refused = refused;
        start(w, (struct held *)job);
    }
    busy = w->n_active >= w->size.slots;
    meddle(w);
    if (w->n_late > 0 && (w->n_active == 0 || pick(w, 8) == 0))
        submit(w, w->late[--w->n_late]);
    evict(w);
    ask(w);
    check_bounds(w);
    if (busy)
        w->full = w->now;
    if (!busy && ++w->turns % (w->size.hosts < 1000 ? 16 : 4096) == 0 && sched_n_queued(w->s) > 0) {
        if (!(job = sched_next(w->s, w->now, &refused)))
            check_idle(w);
        else
            sched_unstart(w->s, job);
    }
}

static void go_on(struct world *w) {
    struct event *e = heap_first(&w->events);
    uint64_t wake = sched_wake(w->s);

    assert_true(e || wake < USEC_INFINITY || w->n_late > 0 || w->n_ended == w->store.n_rows);
    w->now = MAX(w->now, MIN(e ? e->at : USEC_INFINITY, MIN(wake, w->now + SEC)));
    while ((e = heap_first(&w->events)) && e->at <= w->now) {
        heap_remove(&w->events, e);
        happen(w, e);
        free(e);
    }
}

static void world_done(struct world *w) {
    struct event *e;

    while ((e = heap_first(&w->events))) {
        heap_remove(&w->events, e);
        if (e->what == ANSWER)
            free(e->list);
        free(e);
    }
    heap_done(&w->events);
    sched_free(w->s);
    for (size_t u = 0; u < w->store.n_users; u++) {
        bits_done(&w->store.users[u].line);
        free(w->store.users[u].lane_at);
    }
    bits_done(&w->store.live);
    free(w->store.rows);
    free(w->store.lanes);
    free(w->store.users);
    free(w->hosts);
    free(w->held);
    free(w->late);
}

static void simulate(struct world *w, const struct size *size, uint64_t seed) {
    *w = (struct world){.size = *size, .random = seed, .now = 1};
    w->size.window.policy = policy;
    w->size.window.userdata = w;
    heap_init(&w->events, event_before, offsetof(struct event, place));
    make_hosts(w);
    make_queue(w);
    w->s = sched_new(&w->size.window);
    assert_non_null(w->s);
    for (uint64_t quiet = 0, ended = 0; w->n_ended < w->store.n_rows; quiet++) {
        if (ended != w->n_ended)
            quiet = 0;
        ended = w->n_ended;
        assert_true(quiet < 1000000);
        turn(w);
        go_on(w);
    }
    /* Nobody waits for longer than it takes all others of the window to have the turns that their
     * priority (here up to 16 times as many) gives them. */
    assert_true(w->longest_wait <= 64 * w->size.window.max_lanes);
    assert_int_equal(w->n_held, 0);
    assert_int_equal(sched_n_queued(w->s), 0);
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);

    return value ? strtoull(value, NULL, 10) : otherwise;
}

static void test_small_windows(void **state) {
    uint64_t seed = number("DLD_TEST_SEED", 1), rounds = number("DLD_TEST_ROUNDS", 60);
    struct world *w = need(1, sizeof(*w));

    (void)state;
    print_message("seeds %" PRIu64 " to %" PRIu64 "\n", seed, seed + rounds - 1);
    for (uint64_t i = seed; i < seed + rounds; i++) {
        const struct size size = {
            .hosts = 2 + (uint32_t)(i * 7 % 300),
            .users = 1 + (uint32_t)(i % 7),
            .slots = 1 + (uint32_t)(i * 13 % 64),
            .jobs = 2000,
            .window = {.max_lanes = 4 + i * 11 % 60,
                       .max_jobs = 64 + i % 500,
                       .max_users = 1 + i % 4},
        };

        fprintf(stderr, "\rseed %" PRIu64 " ", i);
        simulate(w, &size, i);
        world_done(w);
    }
    fprintf(stderr, "\n");
    free(w);
}

static double seconds(void) {
    return (double)now_usec(CLOCK_MONOTONIC) / 1e6;
}

static void test_a_hundred_thousand_hosts(void **state) {
    const struct size size = {
        .hosts = 100000,
        .users = 4,
        .slots = 256,
        .jobs = number("DLD_TEST_JOBS", 1000000),
        .window = {.max_lanes = 4096, .max_jobs = 16384, .max_users = 1024},
    };
    uint64_t seed = number("DLD_TEST_SEED", 1);
    struct world *w = need(1, sizeof(*w));
    double began = seconds(), took;

    (void)state;
    simulate(w, &size, seed);
    took = seconds() - began;
    print_message("seed %" PRIu64
                  ": %zu jobs, %zu starts (%zu refused, %zu again) in %.0f s of virtual "
                  "time; %.1f s, %.0f starts/s\n",
                  seed, size.jobs, w->n_starts, w->n_refused, w->n_again, (double)w->now / 1e6,
                  took, (double)w->n_starts / took);
    print_message(
        "at most %zu lanes, %zu jobs, %zu hosts in memory; %zu lanes evicted; longest wait %zu "
        "turns\n",
        w->most_lanes, w->most_jobs, w->most_hosts, w->evicted, w->longest_wait);
    world_done(w);
    free(w);
}

static void plain_policy(void *userdata, const char *name, struct sched_policy *ret) {
    (void)userdata;
    (void)name;
    *ret = (struct sched_policy){.connections = 2, .base = SEC, .max = SEC, .patience = 3};
}

/* In a full window; each job comes back when it has ended. */
static double cost_of_a_turn(uint32_t lanes, uint32_t jobs, uint32_t turns) {
    const struct sched_settings settings = {
        .max_lanes = lanes, .max_jobs = jobs, .max_users = 64, .policy = plain_policy};
    struct sched *s = sched_new(&settings);
    struct sched_job *job = need(jobs, sizeof(*job)), *next;
    bool refused;
    double began;

    for (uint32_t i = 0; i < jobs; i++) {
        uint32_t lane = i % lanes;
        char name[16];
        int r;

        host_name(lane, name);
        r = sched_lane_add(s, lane % 4, lane + 1, lane, name, 0, 0, 1);
        job[i] = (struct sched_job){.id = i + 1, .rank = i, .priority = (int)(i % 5) * 25 - 50};
        assert_int_equal(sched_add(s, lane + 1, &job[i]), 0);
        if (r == 0)
            sched_filled(s, lane + 1, false, 0, 0);
    }
    began = seconds();
    for (uint32_t i = 0; i < turns; i++) {
        next = sched_next(s, i, &refused);
        assert_non_null(next);
        sched_ended(s, next, SCHED_SAYS_FINE, 0, 0, i);
        next->rank = (int64_t)jobs + i;
        assert_int_equal(sched_add(s, (next->id - 1) % lanes + 1, next), 0);
    }
    began = (seconds() - began) / turns;
    sched_free(s);
    free(job);
    return began * 1e9;
}

static void test_cost_of_a_turn(void **state) {
    (void)state;
    print_message("start, end and a new job: %.0f ns at 64 lanes, %.0f ns at 4,096\n",
                  cost_of_a_turn(64, 1024, 300000), cost_of_a_turn(4096, 16384, 300000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost_of_a_turn),
        cmocka_unit_test(test_small_windows),
        cmocka_unit_test(test_a_hundred_thousand_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
