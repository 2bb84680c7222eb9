/* ranges.h: text and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/ranges.h"
#include "common/util.h"

static void test_there_and_back(void **state) {
    static const char text[] = "4096-8192 20000-30000 30001-9223372036854775807";
    char again[RANGES_TEXT_MAX];
    struct ranges r;

    (void)state;
    assert_int_equal(ranges_parse(text, 4095, -1, &r), 0);
    assert_int_equal(r.n, 3);
    assert_true(r.list[1].begin == 20000 && r.list[1].end == 30000);
    ranges_text(&r, again);
    assert_string_equal(again, text);
}

static void test_bytes(void **state) {
    struct ranges r;

    (void)state;
    assert_int_equal(ranges_parse("10-20 30-31", 5, 31, &r), 0);
    assert_int_equal(ranges_bytes(&r), 11);
}

static void test_what_makes_no_sense(void **state) {
    static const char *const wrong[] = {
        "", " ", "10", "10-", "-20", "20-10", "10-10", "10-20 ", " 10-20", "10-20  30-40", "10-20,30-40",
        "10-20 20-30", "10-20 15-30", "30-40 10-20", "5-20", "4-20", "10-101", "10-20x", "+10-20",
        "10-99999999999999999999", "99999999999999999999-100"};
    struct ranges r;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_int_equal(ranges_parse(wrong[i], 5, 100, &r), -EINVAL);
}

static void test_no_more_than_there_is_room_for(void **state) {
    char text[RANGES_TEXT_MAX + 100];
    struct ranges r = {.n = 0};

    (void)state;
    for (uint64_t i = 1; i <= RANGES_MAX + 5; i++)
        ranges_append(&r, i * 10, i * 10 + 5);
    assert_int_equal(r.n, RANGES_MAX);
    ranges_text(&r, text);
    assert_int_equal(ranges_parse(text, 1, -1, &r), 0);
    strcat(text, " 900-901");
    assert_int_equal(ranges_parse(text, 1, -1, &r), -EINVAL);
}

static void test_what_touches_is_one(void **state) {
    struct ranges r = {.n = 0};

    (void)state;
    ranges_append(&r, 10, 20);
    ranges_append(&r, 20, 30);
    ranges_append(&r, 30, 30);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.list[0].end, 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_what_makes_no_sense),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
        cmocka_unit_test(test_what_touches_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
