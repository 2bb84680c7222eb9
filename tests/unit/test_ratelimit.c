/* ratelimit.h: what a bucket lets through in a time, alone and shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ratelimit.h"

#define SEC UINT64_C(1000000000)
#define MSEC UINT64_C(1000000)
#define PIECE (16 * KIB)

/* Bytes that a taker of pieces gets through from `from` to `to`, if it wakes up late each time. */
static uint64_t run(struct ratelimit_bucket *b, uint64_t from, uint64_t to, uint64_t piece,
                    uint64_t late) {
    uint64_t bytes = 0, now = from;

    while (now < to) {
        uint64_t wait = bucket_wait(b, now);

        if (wait > 0) {
            now += wait + late;
            continue;
        }
        bucket_take(b, piece, now);
        bytes += piece;
    }
    return bytes;
}

static void assert_near(uint64_t bytes, uint64_t wanted) {
    assert_in_range(bytes, wanted - wanted / 50, wanted + wanted / 50);
}

static void test_no_limit_never_waits(void **state) {
    struct ratelimit_bucket b = {0};

    (void)state;
    assert_false(bucket_limits(&b));
    bucket_take(&b, UINT64_MAX, 5 * SEC);
    assert_int_equal(bucket_wait(&b, 5 * SEC), 0);
}

static void test_rate_is_held(void **state) {
    static const uint64_t rates[] = {10 * KIB, MIB, 100 * MIB, 10 * KIB * MIB};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rates); i++) {
        struct ratelimit_bucket b = {0};

        bucket_set(&b, rates[i], 100 * SEC);
        assert_near(run(&b, 100 * SEC, 120 * SEC, MIN(PIECE, rates[i] / 8), 0), 20 * rates[i]);
    }
}

static void test_waking_up_late_costs_nothing(void **state) {
    struct ratelimit_bucket b = {0};

    (void)state;
    bucket_set(&b, MIB, 100 * SEC);
    assert_near(run(&b, 100 * SEC, 120 * SEC, PIECE, 20 * MSEC), 20 * MIB);
}

static void test_idle_time_is_no_credit(void **state) {
    struct ratelimit_bucket b = {0};
    uint64_t bytes;

    (void)state;
    bucket_set(&b, MIB, 100 * SEC);
    bytes = run(&b, 200 * SEC, 200 * SEC + 1, PIECE, 0);
    assert_in_range(bytes, 1, MIB / 10 + PIECE);
}

static void test_large_piece_is_paid_for(void **state) {
    struct ratelimit_bucket b = {0};

    (void)state;
    bucket_set(&b, MIB, 100 * SEC);
    bucket_take(&b, 10 * MIB, 100 * SEC);
    assert_in_range(bucket_wait(&b, 100 * SEC), 9800 * MSEC, 10100 * MSEC);
    assert_int_equal(bucket_wait(&b, 110 * SEC), 0);
}

static void test_new_rate_holds_at_once(void **state) {
    struct ratelimit_bucket b = {0};

    (void)state;
    bucket_set(&b, RATE_MIN, 100 * SEC);
    bucket_take(&b, MIB / 4, 100 * SEC);
    assert_true(bucket_wait(&b, 100 * SEC) > 200 * SEC);
    bucket_set(&b, MIB, 101 * SEC);
    assert_int_equal(bucket_wait(&b, 101 * SEC), 0);
    assert_near(run(&b, 101 * SEC, 121 * SEC, PIECE, 0), 20 * MIB);
}

static void test_nonsense_is_put_right(void **state) {
    struct ratelimit_bucket b = {0};

    (void)state;
    bucket_set(&b, MIB, 100 * SEC);
    atomic_store(&b.next, UINT64_MAX);
    assert_int_equal(bucket_wait(&b, 100 * SEC), 0);
    assert_near(run(&b, 100 * SEC, 120 * SEC, PIECE, 0), 20 * MIB);
}

static void test_takers_share(void **state) {
    struct ratelimit_bucket b = {0};
    uint64_t at[10], bytes = 0;

    (void)state;
    bucket_set(&b, MIB, 100 * SEC);
    for (size_t i = 0; i < ELEMENTSOF(at); i++)
        at[i] = 100 * SEC + i;
    while (true) {
        size_t first = 0;
        uint64_t wait;

        for (size_t i = 1; i < ELEMENTSOF(at); i++)
            if (at[i] < at[first])
                first = i;
        if (at[first] >= 120 * SEC)
            break;
        wait = bucket_wait(&b, at[first]);
        if (wait == 0) {
            bucket_take(&b, PIECE, at[first]);
            bytes += PIECE;
        }
        at[first] += wait + 1000;
    }
    assert_near(bytes, 20 * MIB);
}

/* ---- several threads on the real clock ---- */

#define THREADS 4
#define RACES 20000

static void *take_many(void *userdata) {
    for (int i = 0; i < RACES; i++)
        bucket_take(userdata, 1000, 1 * SEC);
    return NULL;
}

static void test_no_take_is_lost(void **state) {
    struct ratelimit_bucket b = {0};
    pthread_t threads[THREADS];

    (void)state;
    bucket_set(&b, 1000000, 1 * SEC);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &b), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    /* a millisecond each */
    assert_int_equal(atomic_load(&b.next), 1 * SEC + THREADS * RACES * MSEC);
}

struct race {
    struct ratelimit_bucket bucket;
    _Atomic bool stop;
    _Atomic uint64_t bytes;
};

static void *take_until_stopped(void *userdata) {
    struct race *race = userdata;

    while (!atomic_load(&race->stop)) {
        uint64_t now = ratelimit_now(), wait = bucket_wait(&race->bucket, now);

        if (wait > 0) {
            usleep((useconds_t)(MIN(wait, 20 * MSEC) / 1000));
            continue;
        }
        bucket_take(&race->bucket, PIECE, now);
        atomic_fetch_add(&race->bytes, PIECE);
    }
    return NULL;
}

static void test_threads_hold_the_rate_together(void **state) {
    struct race race = {.bytes = 0};
    pthread_t threads[THREADS];
    uint64_t begin, took;

    (void)state;
    bucket_set(&race.bucket, 50 * MIB, ratelimit_now());
    begin = ratelimit_now();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_until_stopped, &race), 0);
    usleep(500000);
    atomic_store(&race.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    took = ratelimit_now() - begin + RATE_BURST;
    assert_true(race.bytes <= 50 * MIB * took / SEC + THREADS * PIECE);
}

/* ---- memory and text ---- */

static void test_memory_is_shared(void **state) {
    struct ratelimit a, b;
    int fd;

    (void)state;
    assert_int_equal(ratelimit_create(100, &a, &fd), 0);
    assert_int_equal(ratelimit_map(fd, &b), 0);
    assert_int_equal(b.n_buckets, 100);
    bucket_set(&a.lines[99].bucket, MIB, SEC);
    assert_true(bucket_limits(&b.lines[99].bucket));
    assert_int_equal(ftruncate(fd, 0), -1);
    ratelimit_done(&a);
    ratelimit_done(&b);
    ratelimit_done(&b);
    close_fd(fd);
}

static void test_other_memory_is_refused(void **state) {
    struct ratelimit r;
    int fd;

    (void)state;
    assert_int_equal(ratelimit_create(0, &r, &fd), -EINVAL);
    assert_int_equal(ratelimit_create(RATELIMIT_MAX_BUCKETS + 1, &r, &fd), -EINVAL);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ratelimit_map(fd, &r), -EBADMSG);
    close_fd(fd);
}

static void test_text(void **state) {
    uint64_t n;

    (void)state;
    assert_int_equal(rate_parse("none", &n), 0);
    assert_int_equal(n, RATE_NONE);
    assert_int_equal(rate_parse("0", &n), 0);
    assert_int_equal(n, RATE_NONE);
    assert_int_equal(rate_parse("2M", &n), 0);
    assert_int_equal(n, 2 * MIB);
    assert_int_equal(rate_parse("100", &n), -ERANGE);
    assert_int_equal(rate_parse("2000T", &n), -ERANGE);
    assert_int_equal(rate_parse("fast", &n), -EINVAL);
    assert_int_equal(n, 2 * MIB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit_never_waits),
        cmocka_unit_test(test_rate_is_held),
        cmocka_unit_test(test_waking_up_late_costs_nothing),
        cmocka_unit_test(test_idle_time_is_no_credit),
        cmocka_unit_test(test_large_piece_is_paid_for),
        cmocka_unit_test(test_new_rate_holds_at_once),
        cmocka_unit_test(test_nonsense_is_put_right),
        cmocka_unit_test(test_takers_share),
        cmocka_unit_test(test_no_take_is_lost),
        cmocka_unit_test(test_threads_hold_the_rate_together),
        cmocka_unit_test(test_memory_is_shared),
        cmocka_unit_test(test_other_memory_is_refused),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
