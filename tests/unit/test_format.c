/* Numbers and text as dlctl shows them, and the set of what it has shown. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/format.h"
#include "client/idset.h"

static void expect_bytes(uint64_t n, const char *text) {
    char got[FORMAT_MAX];

    assert_string_equal(format_bytes(n, got), text);
}

static void test_bytes(void **state) {
    (void)state;
    expect_bytes(0, "0 B");
    expect_bytes(999, "999 B");
    expect_bytes(1000, "1.0 KB");
    expect_bytes(324100, "324.1 KB");
    expect_bytes(1500000000, "1.5 GB");
    expect_bytes(UINT64_MAX, "18.4 EB");
}

static void test_bytes_round_up_to_the_next_unit(void **state) {
    (void)state;
    expect_bytes(999949, "999.9 KB");
    expect_bytes(999950, "1.0 MB");
}

static void expect_duration(double seconds, const char *text) {
    char got[FORMAT_MAX];

    assert_string_equal(format_duration(seconds, got), text);
}

static void test_duration(void **state) {
    (void)state;
    expect_duration(0, "0.00 s");
    expect_duration(2.16, "2.16 s");
    expect_duration(59.99, "59.99 s");
    expect_duration(59.996, "1 min 0 s");
    expect_duration(100.2, "1 min 40 s");
    expect_duration(3599.7, "1 h 0 min");
    expect_duration(7500, "2 h 5 min");
    expect_duration(273600, "3 d 4 h");
}

static void test_duration_of_nonsense(void **state) {
    (void)state;
    expect_duration(-1, "-");
    expect_duration(0.0 / 0.0, "-");
    expect_duration(1e300, "11574074074 d 1 h");
}

static void test_time(void **state) {
    char got[FORMAT_MAX];

    (void)state;
    setenv("TZ", "UTC", 1);
    assert_string_equal(format_time(1714827719.5, got), "2024-05-04 13:01:59");
    assert_string_equal(format_time(-1, got), "-");
    assert_string_equal(format_time(1e300, got), "-");
}

static void expect_printable(const char *s, const char *text) {
    struct buf b = BUF_INIT(KIB);

    format_printable(&b, s);
    assert_string_equal(buf_cstr(&b), text);
    buf_done(&b);
}

static void test_text_that_is_fine(void **state) {
    (void)state;
    expect_printable("", "");
    expect_printable("images/a b.jpg", "images/a b.jpg");
    expect_printable("Gr\xc3\xbc\xc3\x9f"
                     "e \xe2\x82\xac",
                     "Gr\xc3\xbc\xc3\x9f"
                     "e \xe2\x82\xac");
}

static void test_controls(void **state) {
    (void)state;
    expect_printable("\x1b[31m\n\t\x7f", "\\x1b[31m\\x0a\\x09\\x7f");
    expect_printable("\xc2\x9b"
                     "31m",
                     "\\u009b31m");
}

static void test_direction_marks(void **state) {
    (void)state;
    expect_printable("gpj.\xe2\x80\xae"
                     "exe",
                     "gpj.\\u202eexe");
}

static void test_bytes_that_are_no_utf8(void **state) {
    (void)state;
    expect_printable("a\xff\xc3", "a\\xff\\xc3");
}

static void test_width(void **state) {
    (void)state;
    assert_int_equal(format_width("abc"), 3);
    assert_int_equal(format_width("\xc3\xa4"), 1);
    assert_int_equal(format_width("\xe6\xbc\xa2\xe5\xad\x97"), 4); /* two ideographs */
    assert_int_equal(format_width("e\xcc\x81"), 1);                /* e and an accent */
}

static void test_fit(void **state) {
    (void)state;
    assert_int_equal(format_fit("abc", 2), 2);
    assert_int_equal(format_fit("abc", 9), 3);
    assert_int_equal(format_fit("a\xe6\xbc\xa2", 2), 1);
    assert_int_equal(format_fit("\xc3\xa4\xc3\xa4", 1), 2);
}

static void test_set_tells_what_is_new(void **state) {
    struct idset s = {0};

    (void)state;
    assert_int_equal(idset_add(&s, 7), 1);
    assert_int_equal(idset_add(&s, 7), 0);
    assert_int_equal(idset_add(&s, 0), 1);
    assert_int_equal(idset_add(&s, UINT64_MAX), 1);
    assert_int_equal(idset_add(&s, UINT64_MAX), 0);
    assert_int_equal(s.n, 3);
    idset_done(&s);
}

static void test_set_in_any_order(void **state) {
    struct idset s = {0};
    const uint64_t n = 100003; /* a prime: i * 40009 meets every number once */

    (void)state;
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(idset_add(&s, i * 40009 % n), 1);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(idset_add(&s, i), 0);
    assert_int_equal(s.n, n);
    idset_done(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_bytes_round_up_to_the_next_unit),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_duration_of_nonsense),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_text_that_is_fine),
        cmocka_unit_test(test_controls),
        cmocka_unit_test(test_direction_marks),
        cmocka_unit_test(test_bytes_that_are_no_utf8),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_set_tells_what_is_new),
        cmocka_unit_test(test_set_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
