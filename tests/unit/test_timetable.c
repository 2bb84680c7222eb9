/* timetable.h: which limit holds, and until when, also over changes of the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "common/util.h"
#include "daemon/timetable.h"

#define ZONE "CET-1CEST,M3.5.0/2,M10.5.0/3" /* by rule, so that no file of zones is needed */
#define STANDARD 100
#define MON (1u << 1)
#define SUN (1u << 0)
#define AT(h, m) ((h)*60 + (m))

static const struct rate_window night = {.name = (char *)"night",
                                         .from = AT(23, 0),
                                         .to = AT(7, 0),
                                         .days = TIMETABLE_ALL_DAYS,
                                         .limit = 1};
static const struct rate_window noon = {.name = (char *)"noon",
                                        .from = AT(12, 0),
                                        .to = AT(13, 0),
                                        .days = TIMETABLE_ALL_DAYS,
                                        .limit = 2};

/* UTC into usec since the epoch. */
static uint64_t utc(int month, int day, int hour, int minute) {
    struct tm tm = {
        .tm_year = 126, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute};

    return (uint64_t)timegm(&tm) * USEC_PER_SEC;
}

static void expect(const struct rate_window *w, size_t n, uint64_t now, uint64_t limit,
                   uint64_t until) {
    struct rate_now r;

    timetable_at(w, n, STANDARD, now, &r);
    assert_int_equal(r.limit, limit);
    assert_int_equal(r.until, until);
    assert_true((r.window != NULL) == (limit != STANDARD));
}

static void test_without_windows_nothing_changes(void **state) {
    (void)state;
    expect(NULL, 0, utc(1, 1, 0, 0), STANDARD, USEC_INFINITY);
}

static void test_window_within_a_day(void **state) {
    (void)state; /* an hour ahead of UTC in winter */
    expect(&noon, 1, utc(1, 15, 10, 59) + 59999999, STANDARD, utc(1, 15, 11, 0));
    expect(&noon, 1, utc(1, 15, 11, 0), 2, utc(1, 15, 12, 0));
    expect(&noon, 1, utc(1, 15, 11, 59) + 59999999, 2, utc(1, 15, 12, 0));
    expect(&noon, 1, utc(1, 15, 12, 0), STANDARD, utc(1, 16, 11, 0));
}

static void test_window_over_midnight(void **state) {
    (void)state;
    expect(&night, 1, utc(1, 15, 21, 59), STANDARD, utc(1, 15, 22, 0));
    expect(&night, 1, utc(1, 15, 22, 0), 1, utc(1, 16, 6, 0));
    expect(&night, 1, utc(1, 16, 5, 59), 1, utc(1, 16, 6, 0));
    expect(&night, 1, utc(1, 16, 6, 0), STANDARD, utc(1, 16, 22, 0));
}

static void test_last_window_wins(void **state) {
    struct rate_window all = {.name = (char *)"all", .days = TIMETABLE_ALL_DAYS, .limit = 3};
    const struct rate_window first[] = {all, noon}, last[] = {noon, all};

    (void)state;
    expect(first, 2, utc(1, 15, 11, 30), 2, utc(1, 15, 12, 0));
    expect(first, 2, utc(1, 15, 12, 30), 3, utc(1, 16, 11, 0));
    expect(last, 2, utc(1, 15, 11, 30), 3, USEC_INFINITY);
}

/* The 18th of January 2026 is a Sunday. */
static void test_days_are_those_on_which_it_begins(void **state) {
    struct rate_window w = night;

    (void)state;
    w.days = SUN;
    expect(&w, 1, utc(1, 18, 3, 0), STANDARD, utc(1, 18, 22, 0));
    expect(&w, 1, utc(1, 18, 22, 30), 1, utc(1, 19, 6, 0));
    expect(&w, 1, utc(1, 19, 3, 0), 1, utc(1, 19, 6, 0));
    expect(&w, 1, utc(1, 19, 22, 30), STANDARD, utc(1, 25, 22, 0));
    w.days = SUN | MON;
    expect(&w, 1, utc(1, 19, 22, 30), 1, utc(1, 20, 6, 0));
}

static void test_whole_days(void **state) {
    struct rate_window w = {.name = (char *)"monday", .days = MON, .limit = 4};

    (void)state;
    expect(&w, 1, utc(1, 18, 22, 59), STANDARD, utc(1, 18, 23, 0));
    expect(&w, 1, utc(1, 18, 23, 0), 4, utc(1, 19, 23, 0));
}

/* On the 29th of March 2026 the clock goes from 02:00 to 03:00, at 01:00 UTC. */
static void test_clock_put_forward(void **state) {
    struct rate_window skipped = {.name = (char *)"s",
                                  .from = AT(2, 15),
                                  .to = AT(2, 45),
                                  .days = TIMETABLE_ALL_DAYS,
                                  .limit = 5};
    struct rate_window into = {.name = (char *)"i",
                               .from = AT(2, 30),
                               .to = AT(4, 0),
                               .days = TIMETABLE_ALL_DAYS,
                               .limit = 6};

    (void)state;
    expect(&night, 1, utc(3, 28, 22, 30), 1, utc(3, 29, 5, 0));
    expect(&skipped, 1, utc(3, 28, 12, 0), STANDARD, utc(3, 30, 0, 15));
    expect(&into, 1, utc(3, 28, 12, 0), STANDARD, utc(3, 29, 1, 0));
    expect(&into, 1, utc(3, 29, 1, 0), 6, utc(3, 29, 2, 0));
}

/* On the 25th of October 2026 it goes from 03:00 back to 02:00, at 01:00 UTC. */
static void test_clock_put_back(void **state) {
    struct rate_window twice = {.name = (char *)"t",
                                .from = AT(2, 15),
                                .to = AT(2, 45),
                                .days = TIMETABLE_ALL_DAYS,
                                .limit = 7};

    (void)state;
    expect(&night, 1, utc(10, 24, 21, 30), 1, utc(10, 25, 6, 0));
    expect(&twice, 1, utc(10, 24, 12, 0), STANDARD, utc(10, 25, 0, 15));
    expect(&twice, 1, utc(10, 25, 0, 15), 7, utc(10, 25, 0, 45));
    expect(&twice, 1, utc(10, 25, 0, 45), STANDARD, utc(10, 25, 1, 15));
    expect(&twice, 1, utc(10, 25, 1, 30), 7, utc(10, 25, 1, 45));
    expect(&twice, 1, utc(10, 25, 1, 45), STANDARD, utc(10, 26, 1, 15));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_windows_nothing_changes),
        cmocka_unit_test(test_window_within_a_day),
        cmocka_unit_test(test_window_over_midnight),
        cmocka_unit_test(test_last_window_wins),
        cmocka_unit_test(test_days_are_those_on_which_it_begins),
        cmocka_unit_test(test_whole_days),
        cmocka_unit_test(test_clock_put_forward),
        cmocka_unit_test(test_clock_put_back),
    };

    setenv("TZ", ZONE, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
