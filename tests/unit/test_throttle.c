/* throttle.h: who is held back goes on in time, in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <systemd/sd-event.h>

#include "daemon/worker/throttle.h"

#define MSEC UINT64_C(1000000)
#define TAKERS 4

struct taker {
    struct throttled throttled;
    struct fixture *fixture;
    uint64_t bytes;
    unsigned turns;
};

struct fixture {
    sd_event *event;
    struct throttle *throttle;
    struct ratelimit_bucket shared;
    struct taker takers[TAKERS];
};

/* Takes pieces until it is held. */
static void go_on(struct throttled *x) {
    struct taker *t = (struct taker *)x; /* its first member */

    t->turns++;
    while (throttle_take(t->fixture->throttle, x, KIB))
        t->bytes += KIB;
}

static int fixture_begin(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f || sd_event_new(&f->event) < 0 || throttle_new(&f->throttle, f->event, go_on) < 0)
        return -1;
    for (int i = 0; i < TAKERS; i++) {
        f->takers[i].fixture = f;
        f->takers[i].throttled.buckets[0] = &f->shared;
        f->takers[i].throttled.n_buckets = 1;
    }
    *state = f;
    return 0;
}

static int fixture_end(void **state) {
    struct fixture *f = *state;

    for (int i = 0; i < TAKERS; i++)
        throttle_drop(f->throttle, &f->takers[i].throttled);
    throttle_free(f->throttle);
    sd_event_unref(f->event);
    free(f);
    return 0;
}

static void run_for(struct fixture *f, uint64_t nsec) {
    uint64_t end = ratelimit_now() + nsec;

    for (uint64_t now; (now = ratelimit_now()) < end;)
        assert_true(sd_event_run(f->event, (end - now) / 1000 + 1) >= 0);
}

static void test_without_a_limit_nothing_is_held(void **state) {
    struct fixture *f = *state;

    assert_false(throttle_limits(&f->takers[0].throttled));
    assert_true(throttle_take(f->throttle, &f->takers[0].throttled, 100 * MIB));
    assert_false(f->takers[0].throttled.held);
}

static void test_takers_take_turns(void **state) {
    struct fixture *f = *state;
    uint64_t sum = 0;

    bucket_set(&f->shared, MIB, ratelimit_now());
    for (int i = 0; i < TAKERS; i++)
        go_on(&f->takers[i].throttled);
    run_for(f, 1000 * MSEC);
    for (int i = 0; i < TAKERS; i++) {
        assert_true(f->takers[i].throttled.held);
        assert_in_range(f->takers[i].turns, 2, 8);
        sum += f->takers[i].bytes;
    }
    assert_in_range(sum, MIB / 2, MIB * 12 / 10);
}

static void test_new_rate_holds_within_a_slice(void **state) {
    struct fixture *f = *state;
    struct taker *t = &f->takers[0];

    bucket_set(&f->shared, RATE_MIN, ratelimit_now());
    assert_true(throttle_take(f->throttle, &t->throttled, 64 * KIB));
    assert_false(throttle_take(f->throttle, &t->throttled, KIB));
    run_for(f, 100 * MSEC);
    assert_true(t->throttled.held);
    bucket_set(&f->shared, 64 * KIB, ratelimit_now());
    run_for(f, 400 * MSEC);
    assert_true(t->turns > 0);
    assert_true(t->throttled.waited > 100 * MSEC);
}

static void test_slowest_bucket_counts(void **state) {
    struct fixture *f = *state;
    struct throttled *x = &f->takers[0].throttled;

    x->buckets[x->n_buckets++] = &x->own;
    bucket_set(&f->shared, 1024 * MIB, ratelimit_now() - 100 * MSEC);
    bucket_set(&x->own, RATE_MIN, ratelimit_now());
    assert_true(throttle_take(f->throttle, x, 10 * KIB));
    assert_false(throttle_take(f->throttle, x, KIB));
    assert_true(throttle_take(f->throttle, &f->takers[1].throttled, KIB));
}

static void test_dropped_one_is_not_called(void **state) {
    struct fixture *f = *state;

    bucket_set(&f->shared, MIB, ratelimit_now());
    for (int i = 0; i < TAKERS; i++)
        while (throttle_take(f->throttle, &f->takers[i].throttled, KIB)) {
        }
    throttle_drop(f->throttle, &f->takers[0].throttled);
    throttle_drop(f->throttle, &f->takers[0].throttled);
    run_for(f, 500 * MSEC);
    assert_int_equal(f->takers[0].turns, 0);
    assert_true(f->takers[1].turns > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_limit_nothing_is_held), TEST(test_takers_take_turns),
        TEST(test_new_rate_holds_within_a_slice),   TEST(test_slowest_bucket_counts),
        TEST(test_dropped_one_is_not_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
