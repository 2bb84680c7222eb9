/* util.h and errors.h: numbers with units, nearest words, UTF-8, the table of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/errors.h"
#include "common/util.h"

static void test_durations(void **state) {
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},           {"10", 10000000},  {"50ms", 50000},   {"1.5 s", 1500000},
        {"2min", 120000000}, {"7us", 7},       {"1h", UINT64_C(3600000000)},
        {"1d", UINT64_C(86400000000)},
    };
    static const char *const bad[] = {"", "s", "-1", "1x", "1 2", ".5", "1e3", "inf", "0x10", "1.", "1 s s",
                                      "2M", "1 SEC", "1D"};
    uint64_t v;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        assert_int_equal(parse_duration(good[i].text, &v), 0);
        assert_int_equal(v, good[i].usec);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_int_equal(parse_duration(bad[i], &v), -EINVAL);
    assert_int_equal(parse_duration("999999999999999999d", &v), -ERANGE);
}

static void test_sizes(void **state) {
    uint64_t v;

    (void)state;
    assert_int_equal(parse_size("512", &v), 0);
    assert_int_equal(v, 512);
    assert_int_equal(parse_size("64 KiB", &v), 0);
    assert_int_equal(v, 65536);
    assert_int_equal(parse_size("1.5M", &v), 0);
    assert_int_equal(v, 1572864);
    assert_int_equal(parse_size("2g", &v), 0);
    assert_int_equal(v, UINT64_C(2) << 30);
    assert_int_equal(parse_size("20Q", &v), -EINVAL);
    assert_int_equal(parse_size("99999999T", &v), -ERANGE);
}

static void test_numbers(void **state) {
    uint64_t v = 7;

    (void)state;
    assert_int_equal(parse_u64("18446744073709551615", &v), 0);
    assert_int_equal(v, UINT64_MAX);
    assert_int_equal(parse_u64("18446744073709551616", &v), -ERANGE);
    assert_int_equal(parse_u64("", &v), -EINVAL);
    assert_int_equal(parse_u64("+1", &v), -EINVAL);
    assert_int_equal(parse_u64("1 ", &v), -EINVAL);
    assert_int_equal(v, UINT64_MAX);
}

static void test_nearest_word(void **state) {
    static const char *const words[] = {"priority", "output", "url", "max_size", NULL};

    (void)state;
    assert_string_equal(nearest("priorty", words), "priority");
    assert_string_equal(nearest("Output", words), "output");
    assert_string_equal(nearest("maxsize", words), "max_size");
    assert_string_equal(nearest("ulr", words), "url");
    assert_null(nearest("completely", words));
    assert_null(nearest("x", words));
    assert_null(nearest("", words));
}

static void test_utf8(void **state) {
    (void)state;
    assert_int_equal(utf8_sequence("a", 1), 1);
    assert_int_equal(utf8_sequence("\xc3\xa9", 2), 2);
    assert_int_equal(utf8_sequence("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(utf8_sequence("\xf0\x9f\x98\x80", 3), 0);
    assert_int_equal(utf8_sequence("\xc0\xaf", 2), 0);
    assert_int_equal(utf8_sequence("\xed\xa0\x80", 3), 0);
    assert_int_equal(utf8_sequence("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(utf8_sequence("\x80", 1), 0);
}

static void test_every_error_has_a_name_and_a_sentence(void **state) {
    (void)state;
    assert_null(error_name(ERR_NONE));
    assert_null(error_name(ERR_MAX_));
    for (unsigned e = 1; e < ERR_MAX_; e++) {
        assert_non_null(error_name(e));
        assert_true(strlen(error_sentence(e)) > 10);
        for (unsigned other = 1; other < e; other++)
            assert_string_not_equal(error_name(e), error_name(other));
    }
}

static void test_statuses_worth_another_try(void **state) {
    (void)state;
    assert_true(http_status_transient(408) && http_status_transient(429));
    assert_true(http_status_transient(500) && http_status_transient(503));
    assert_false(http_status_transient(404) || http_status_transient(410));
    assert_false(http_status_transient(501) || http_status_transient(200));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_nearest_word),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_every_error_has_a_name_and_a_sentence),
        cmocka_unit_test(test_statuses_worth_another_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
