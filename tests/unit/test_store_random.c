/* The durable queue: whatever is done to it in whatever order, its numbers are what counting gives.
 * */

#include <signal.h>
#include <sys/resource.h>
#include <syslog.h>

#include "common/log.h"
#include "tests/unit/store_fixture.h"

#define ROUNDS 12
#define OPERATIONS 150
#define HOSTS 5

static uint64_t seed;

static unsigned any(unsigned n) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

static void host_set(char **url, char **host) {
    unsigned n = any(HOSTS);

    free(*url);
    free(*host);
    assert_true(asprintf(url, "http://h%u.example/%u", n, any(1000)) > 0);
    assert_true(asprintf(host, "h%u.example:80", n) > 0);
}

static uint64_t soon(void) {
    return now_usec(CLOCK_REALTIME) + any(300) * USEC_PER_MSEC;
}

static void submit_any(struct fixture *f) {
    static unsigned keys;
    char key[32];

    snprintf(key, sizeof(key), "key %u", any(3) ? keys++ : keys);
    size_t first = any(40), n = first + any(40);
    struct store_chunk *c = chunk_new(key, 0, n, any(3) != 0);
    c->uid = 1000 + any(3);
    for (size_t i = 0; i < n; i++) {
        host_set(&c->jobs[i].url, &c->jobs[i].host);
        c->jobs[i].priority = (int)any(3) - 1;
        if (any(5) == 0)
            c->jobs[i].not_before = soon();
        if (any(3) == 0)
            c->jobs[i].tag = strdup(any(2) ? "x" : "y");
    }
    int r = submit_chunk(f, c);
    assert_true(r == 0 || r == -EINVAL || r == -ENOSPC);
}

static void put_any(struct fixture *f) {
    static const enum job_state to[] = {JOB_DONE,    JOB_DONE,   JOB_FAILED, JOB_WAITING,
                                        JOB_WAITING, JOB_QUEUED, JOB_PAUSED, JOB_CANCELLED};
    struct job **jobs;
    size_t n;

    assert_int_equal(lanes(f, 1000 + any(3), 4, 3), 0);
    jobs = TAKE_PTR(f->jobs);
    n = f->n_jobs;
    f->n_jobs = 0;
    for (size_t i = 0; i < n; i++) {
        struct job *j = jobs[i];

        if (any(4) == 0)
            host_set(&j->url, &j->host);
        j->attempts++;
        j->due = soon();
        j->result.bytes = any(100);
        j->result.error = any(2) ? ERR_TIMEOUT : ERR_NONE;
        int r = put(f, j, to[any(ELEMENTSOF(to))]);
        assert_true(r == 0 || r == -ENOSPC || r == -EALREADY);
        if (any(4))
            store_job_back(f->store, j->id);
    }
    job_free_many(jobs, n);
}

static void change_any(struct fixture *f) {
    static const char *const tags[] = {NULL, NULL, "x", "y"};
    struct store_filter filter = {.state = -1, .limit = 1 + any(30), .tag = tags[any(4)]};
    unsigned what = any(7);
    char host[32];

    snprintf(host, sizeof(host), "h%u.example:80", any(HOSTS));
    if (any(2))
        filter.host = host;
    if (any(3) == 0)
        filter.batch = 1 + any(20);
    if (what > STORE_RATE)
        assert_int_equal(store_purge(f->store, &filter, on_change, f), 0);
    else
        assert_int_equal(store_change(f->store, &filter, what, (int64_t)any(100), on_change, f), 0);
    int r = answer(f);
    assert_true(r == 0 || r == -ENOSPC);
}

static void on_leftovers(void *userdata, int error, struct job **jobs, size_t n) {
    on_jobs(userdata, error, jobs, n, false);
}

static void discard_any(struct fixture *f) {
    assert_int_equal(store_leftovers(f->store, 1 + any(10), on_leftovers, f), 0);
    assert_int_equal(answer(f), 0);
    for (size_t i = 0; i < f->n_jobs; i++)
        assert_int_equal(store_leftover_gone(f->store, f->jobs[i]->id), 0);
}

static void park_any(struct fixture *f) {
    assert_int_equal(hosts(f, NULL, 0, 20), 0);
    if (f->n_lanes > 0)
        assert_int_equal(lane_put(f, f->lanes[any((unsigned)f->n_lanes)].id,
                                        (int64_t)any(1000), any(2) ? soon() : 0, any(3)),
                         0);
}

/* For a while no transaction that makes the log longer can be committed. */
static void disk_fill(struct fixture *f, bool full) {
    struct rlimit limit;
    struct stat st;

    assert_return_code(stat(fixture_path(f, "queue.db-wal"), &st), errno);
    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    limit.rlim_cur = full ? (rlim_t)st.st_size + any(3) * 20 * KIB : limit.rlim_max;
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
}

/* Every lane that has queued jobs and isn't parked is in its user's line, with its first job. */
static void check_lines(struct fixture *f) {
    size_t in_line = 0, queued = 0;

    for (uid_t uid = 1000; uid < 1003; uid++) {
        assert_int_equal(lanes(f, uid, 64, 1), 0);
        in_line += f->n_lanes;
        assert_int_equal(f->n_jobs, f->n_lanes);
    }
    assert_int_equal(hosts(f, NULL, 0, 64), 0);
    for (size_t i = 0; i < f->n_lanes; i++)
        queued += f->lanes[i].queued > 0 && f->lanes[i].due == 0;
    assert_int_equal(in_line, queued);
}

static void round_run(struct fixture *f) {
    for (int i = 0; i < OPERATIONS; i++) {
        unsigned what = any(20);

        if (what == 0)
            disk_fill(f, true);
        else if (what < 4)
            disk_fill(f, false);
        else if (what < 8)
            submit_any(f);
        else if (what < 13)
            put_any(f);
        else if (what < 17)
            change_any(f);
        else if (what < 18)
            discard_any(f);
        else if (what < 19)
            park_any(f);
        else
            store_set_keep(f->store, 0, any(2) ? 0 : 50 + any(50));
    }
    disk_fill(f, false);
}

static void test_numbers_hold(void **state) {
    struct fixture *f = *state;

    for (int i = 0; i < ROUNDS; i++) {
        print_message("round %d: seed %llu\n", i, (unsigned long long)seed);
        round_run(f);
        check_numbers(f);
        usleep(400 * USEC_PER_MSEC); /* nothing is due any more */
        check_lines(f);
    }
}

static int setup(void **state) {
    const char *given = getenv("SEED");

    log_init("test", LOG_CRIT); /* not of each full disk */
    signal(SIGXFSZ, SIG_IGN);
    seed = given ? strtoull(given, NULL, 10) : now_usec(CLOCK_REALTIME);
    return fixture_setup(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_hold, setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
