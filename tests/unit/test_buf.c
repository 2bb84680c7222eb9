/* buf.h and jsonl.h: bounded buffers, JSON that is always valid, lines out of a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "common/buf.h"
#include "common/jsonl.h"

static void test_error_sticks(void **state) {
    struct buf b = BUF_INIT(8);

    (void)state;
    buf_adds(&b, "1234");
    buf_adds(&b, "567890");
    assert_int_equal(buf_error(&b), -ENOBUFS);
    buf_adds(&b, "5");
    assert_int_equal(buf_size(&b), 4);
    assert_null(buf_cstr(&b));
    buf_clear(&b);
    buf_adds(&b, "7654321");
    assert_string_equal(buf_cstr(&b), "7654321");
    buf_done(&b);
}

static void test_consumed_room_is_used_again(void **state) {
    struct buf b = BUF_INIT(8);

    (void)state;
    for (int i = 0; i < 100; i++) {
        buf_adds(&b, "abcde");
        buf_consume(&b, 3);
        buf_consume(&b, 2);
    }
    assert_int_equal(buf_error(&b), 0);
    buf_adds(&b, "abcdef");
    buf_consume(&b, 4);
    buf_adds(&b, "123456");
    assert_int_equal(buf_error(&b), 0);
    assert_memory_equal(buf_head(&b), "ef123456", 8);
    buf_done(&b);
}

static void test_json_document(void **state) {
    struct buf b = BUF_INIT(1000);

    (void)state;
    json_begin(&b, NULL, '{');
    json_int(&b, "min", INT64_MIN);
    json_str(&b, "s", "a\"b");
    json_begin(&b, "list", '[');
    json_int(&b, NULL, 0);
    json_bool(&b, NULL, true);
    json_begin(&b, NULL, '{');
    json_end(&b, '}');
    json_end(&b, ']');
    json_none(&b, "none");
    json_time(&b, "t", UINT64_C(1700000000000042));
    json_time(&b, "never", 0);
    json_num(&b, "n", 2.5);
    json_end(&b, '}');
    assert_string_equal(buf_cstr(&b),
                        "{\"min\": -9223372036854775808, \"s\": \"a\\\"b\", \"list\": [0, true, {}], "
                        "\"none\": null, \"t\": 1700000000.000042, \"never\": null, \"n\": 2.500}");
    buf_done(&b);
}

/* Whatever the bytes, a parser takes the string, and it is what went in where that was UTF-8. */
static void test_any_bytes_make_a_valid_string(void **state) {
    (void)state;
    for (unsigned first = 1; first < 256; first++) {
        for (unsigned second = 1; second < 256; second++) {
            const char s[] = {(char)first, (char)second, 'z', '\0'};
            struct buf b = BUF_INIT(100);
            json_t *v;

            json_str(&b, NULL, s);
            v = json_loadb(buf_head(&b), buf_size(&b), JSON_DECODE_ANY, NULL);
            assert_non_null(v);
            if (first < 0x80 && second < 0x80)
                assert_string_equal(json_string_value(v), s);
            json_decref(v);
            buf_done(&b);
        }
    }
}

static void test_lines(void **state) {
    struct buf b = BUF_INIT(64);
    size_t scanned = 0, n;
    char *line;

    (void)state;
    buf_adds(&b, "one\ntwo\r\n\nthr");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 1);
    assert_string_equal(line, "one");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 1);
    assert_string_equal(line, "two");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 1);
    assert_int_equal(n, 0);
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 0);
    buf_adds(&b, "ee\n");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 1);
    assert_string_equal(line, "three");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 0);
    buf_done(&b);
}

static void test_line_without_end_is_refused(void **state) {
    struct buf b = BUF_INIT(16);
    size_t scanned = 0, n;
    char *line;

    (void)state;
    buf_adds(&b, "0123456789abcd");
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), 0);
    buf_addc(&b, 'e');
    assert_int_equal(jsonl_next(&b, &scanned, &line, &n), -EMSGSIZE);
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_sticks),
        cmocka_unit_test(test_consumed_room_is_used_again),
        cmocka_unit_test(test_json_document),
        cmocka_unit_test(test_any_bytes_make_a_valid_string),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_line_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
