/* Chunked bodies, read strictly. */
#include "daemon/worker/chunks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* In one go and byte by byte; both must come to the same. */
static void check(const char *text, size_t n, enum chunks_state state, size_t used) {
    struct chunks whole = {0}, bytes = {0};
    size_t sum = 0;

    assert_int_equal(chunks_add(&whole, text, n), used);
    assert_int_equal(whole.state, state);
    for (size_t i = 0; i < n; i++)
        sum += chunks_add(&bytes, text + i, 1);
    assert_int_equal(sum, used);
    assert_int_equal(bytes.state, state);
}

static void ends(const char *text, size_t rest) {
    check(text, strlen(text), CHUNKS_ENDED, strlen(text) - rest);
}

static void is_wrong(const char *text, size_t at) {
    check(text, strlen(text), CHUNKS_WRONG, at);
}

static void test_body_in_chunks_ends(void **state) {
    (void)state;
    ends("5\r\nhello\r\n0\r\n\r\n", 0);
    ends("1\r\na\r\n2\r\nbc\r\n000\r\n\r\n", 0);
    ends("0\r\n\r\n", 0);
    ends("A\r\n0123456789\r\n0\r\n\r\n", 0);
}

static void test_what_follows_is_left(void **state) {
    (void)state;
    ends("5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK", 15);
}

static void test_extensions_and_padding_mean_nothing(void **state) {
    (void)state;
    ends("5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n", 0);
    ends("5  \r\nhello\r\n0 \t;x\r\n\r\n", 0);
}

static void test_trailers_mean_nothing(void **state) {
    (void)state;
    ends("0\r\nA: b\r\nContent-Length: 7\n\r\n", 0);
}

static void test_sizes_that_are_none(void **state) {
    (void)state;
    is_wrong("\r\n", 0);
    is_wrong(" 5\r\n", 0);
    is_wrong("-5\r\n", 0);
    is_wrong("0x5\r\n", 1);
    is_wrong("5g\r\n", 1);
    is_wrong("5 5\r\n", 2);
    is_wrong("5\n", 1);
    is_wrong("5\rx", 2);
    is_wrong("ffffffffffffffff\r\n", 15);
    is_wrong("00000000000000005\r\n", 16);
    is_wrong("5;a\nb\r\n", 3);
}

static void test_data_must_end_where_it_was_to_end(void **state) {
    (void)state;
    is_wrong("5\r\nhello!\r\n", 8);
    is_wrong("5\r\nhello\n", 8);
    is_wrong("5\r\nhello\r\r", 9);
}

static void test_trailers_that_are_none(void **state) {
    (void)state;
    is_wrong("0\r\nno field\r\n", 5);
    is_wrong("0\r\n: x\r\n", 3);
    is_wrong("0\r\n folded\r\n", 3);
    check("0\r\nA: \0\r\n", 9, CHUNKS_WRONG, 6);
}

static void test_lines_have_an_end(void **state) {
    static char text[CHUNKS_LINE_MAX + 100];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = '5';
    text[1] = ';';
    check(text, sizeof(text), CHUNKS_WRONG, CHUNKS_LINE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_in_chunks_ends),
        cmocka_unit_test(test_what_follows_is_left),
        cmocka_unit_test(test_extensions_and_padding_mean_nothing),
        cmocka_unit_test(test_trailers_mean_nothing),
        cmocka_unit_test(test_sizes_that_are_none),
        cmocka_unit_test(test_data_must_end_where_it_was_to_end),
        cmocka_unit_test(test_trailers_that_are_none),
        cmocka_unit_test(test_lines_have_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
