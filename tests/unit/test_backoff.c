/* backoff.h: how long to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/backoff.h"

static void test_delay_doubles(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(1, 1000, 1000000, UINT32_MAX), 1000);
    assert_int_equal(backoff_delay(2, 1000, 1000000, UINT32_MAX), 2000);
    assert_int_equal(backoff_delay(5, 1000, 1000000, UINT32_MAX), 16000);
}

static void test_delay_is_capped(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(20, 1000, 5000, UINT32_MAX), 5000);
    assert_int_equal(backoff_delay(UINT32_MAX, 1, UINT64_MAX, UINT32_MAX), UINT64_MAX);
    assert_int_equal(backoff_delay(64, UINT64_MAX, UINT64_MAX, UINT32_MAX), UINT64_MAX);
}

static void test_jitter_keeps_at_least_half(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(3, 1000, 1000000, 0), 2000);
    for (uint64_t r = 0; r <= UINT32_MAX; r += UINT32_MAX / 1000) {
        uint64_t d = backoff_delay(3, 1000, 1000000, (uint32_t)r);

        assert_in_range(d, 2000, 4000);
    }
}

static void test_no_delay_configured(void **state) {
    (void)state;
    assert_int_equal(backoff_delay(7, 0, 0, UINT32_MAX), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_doubles),
        cmocka_unit_test(test_delay_is_capped),
        cmocka_unit_test(test_jitter_keeps_at_least_half),
        cmocka_unit_test(test_no_delay_configured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
