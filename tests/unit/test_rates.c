/* rates.h: which limit is in force, and which host has which bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/ratelimit.h"
#include "daemon/rates.h"

#define BUCKETS 1024 /* for hosts, where no jobs were announced */

struct fixture {
    sd_event *event;
    struct config config;
    struct rates *rates;
    struct ratelimit memory; /* as a worker sees it */
};

static void start(struct fixture *f, uint64_t limit, uint64_t host_rate) {
    f->config.rate.limit = limit;
    f->config.host.rate = host_rate;
    assert_int_equal(rates_new(&f->rates, f->event, &f->config, 0), 0);
    assert_int_equal(ratelimit_map(rates_fd(f->rates), &f->memory), 0);
}

static int fixture_begin(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    return f && sd_event_new(&f->event) >= 0 ? 0 : -1;
}

static int fixture_end(void **state) {
    struct fixture *f = *state;

    ratelimit_done(&f->memory);
    rates_free(f->rates);
    sd_event_unref(f->event);
    free(f);
    return 0;
}

static uint64_t rate_of(const struct fixture *f, uint32_t bucket) {
    return atomic_load(&f->memory.lines[bucket].bucket.rate);
}

static uint32_t take(struct fixture *f, const char *host) {
    uint32_t bucket = UINT32_MAX;

    assert_int_equal(rates_host_take(f->rates, host, &bucket), 0);
    return bucket;
}

static void test_limit_of_all_is_in_the_memory(void **state) {
    struct fixture *f = *state;
    struct rates_info info;

    start(f, 5 * MIB, 0);
    assert_int_equal(rate_of(f, RATELIMIT_GLOBAL), 5 * MIB);
    rates_set(f->rates, 6 * MIB);
    assert_int_equal(rate_of(f, RATELIMIT_GLOBAL), 6 * MIB);
    rates_now(f->rates, &info);
    assert_true(info.set && info.limit == 6 * MIB && !info.window);
    rates_set(f->rates, RATE_NONE);
    assert_int_equal(rate_of(f, RATELIMIT_GLOBAL), RATE_NONE);
    rates_reset(f->rates);
    assert_int_equal(rate_of(f, RATELIMIT_GLOBAL), 5 * MIB);
}

static void test_host_without_a_limit_has_no_bucket(void **state) {
    struct fixture *f = *state;

    start(f, 0, 0);
    assert_int_equal(take(f, "a:80"), 0);
    rates_host_drop(f->rates, 0);
}

static void test_jobs_of_a_host_share_its_bucket(void **state) {
    struct fixture *f = *state;
    uint32_t a, b;

    start(f, 0, MIB);
    a = take(f, "a:80");
    b = take(f, "b:80");
    assert_true(a > 0 && b > 0 && a != b);
    assert_int_equal(take(f, "a:80"), a);
    assert_int_equal(rate_of(f, a), MIB);
    assert_int_equal(rate_of(f, RATELIMIT_GLOBAL), RATE_NONE);
}

static void test_idle_host_keeps_what_it_has_spent(void **state) {
    struct fixture *f = *state;
    uint32_t a;

    start(f, 0, MIB);
    a = take(f, "a:80");
    bucket_take(&f->memory.lines[a].bucket, 10 * MIB, ratelimit_now());
    rates_host_drop(f->rates, a);
    rates_host_drop(f->rates, take(f, "b:80"));
    assert_int_equal(take(f, "a:80"), a);
    assert_true(bucket_wait(&f->memory.lines[a].bucket, ratelimit_now()) > 0);
}

static void test_bucket_idle_for_longest_is_used_again(void **state) {
    struct fixture *f = *state;
    uint32_t first = 0, second = 0, bucket;
    char host[32];

    start(f, 0, MIB);
    for (unsigned i = 0; i < BUCKETS; i++) {
        snprintf(host, sizeof(host), "h%u:80", i);
        bucket = take(f, host);
        if (i == 0)
            first = bucket;
        if (i == 1)
            second = bucket;
    }
    assert_int_equal(rates_host_take(f->rates, "new:80", &bucket), -EBUSY);
    bucket_take(&f->memory.lines[second].bucket, 10 * MIB, ratelimit_now());
    rates_host_drop(f->rates, second);
    rates_host_drop(f->rates, first);
    assert_int_equal(take(f, "new:80"), second);
    assert_int_equal(bucket_wait(&f->memory.lines[second].bucket, ratelimit_now()), 0);
    assert_int_equal(take(f, "h0:80"), first);
    assert_int_equal(rates_host_take(f->rates, "h1:80", &bucket), -EBUSY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_limit_of_all_is_in_the_memory),
        TEST(test_host_without_a_limit_has_no_bucket),
        TEST(test_jobs_of_a_host_share_its_bucket),
        TEST(test_idle_host_keeps_what_it_has_spent),
        TEST(test_bucket_idle_for_longest_is_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
