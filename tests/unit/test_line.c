/* What comes behind the last answer of a connection, and the hosts that it came from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/worker/line_host.h"
#include "daemon/worker/line_rest.h"

static bool add(struct line_rest *r, bool tls, const char *bytes, size_t n) {
    return line_rest_add(r, tls, (const uint8_t *)bytes, n);
}

static void test_every_byte_is_too_many(void **state) {
    struct line_rest r = {0};

    (void)state;
    assert_true(add(&r, false, "x", 1));
    assert_false(line_rest_is_timeout(&r));
}

static void test_request_timeout_is_known(void **state) {
    struct line_rest r = {0}, other = {0}, old = {0};

    (void)state;
    assert_true(add(&r, false, "HTTP/1.1 408 Request Timeout\r\n", 30));
    assert_true(line_rest_is_timeout(&r));
    assert_true(add(&old, false, "HTTP/1.0 4", 10));
    assert_true(add(&old, false, "08 Request", 10));
    assert_true(line_rest_is_timeout(&old));
    assert_true(add(&other, false, "HTTP/1.1 400 Bad Request\r\n", 26));
    assert_false(line_rest_is_timeout(&other));
}

static void test_alerts_of_tls_are_no_answer(void **state) {
    static const char tls12[] = "\x15\x03\x03\0\x1a"
                                "12345678901234567890123456";
    static const char tls13[] = "\x17\x03\x03\0\x13"
                                "1234567890123456789";
    struct line_rest r = {0};

    (void)state;
    assert_false(add(&r, true, tls12, sizeof(tls12) - 1));
    assert_false(add(&r, true, tls13, sizeof(tls13) - 1));
    for (size_t i = 0; i < sizeof(tls13) - 1; i++)
        assert_false(add(&r, true, tls13 + i, 1));
}

static void test_data_of_tls_is_an_answer(void **state) {
    static const char record[] = "\x17\x03\x03\0\x40";
    struct line_rest r = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_false(add(&r, true, record + i, 1));
    assert_true(add(&r, true, record + 4, 1));
}

static void test_host_is_what_the_url_says(void **state) {
    (void)state;
    assert_true(line_host("http://a.example/x") == line_host("http://a.example/y?z"));
    assert_true(line_host("http://a.example") == line_host("http://a.example/"));
    assert_true(line_host("http://a.example:81/") != line_host("http://a.example/"));
    assert_true(line_host("") != 0);
}

static void test_hosts_are_remembered(void **state) {
    static struct line_hosts h;
    uint64_t a = line_host("http://a.example/"), b = line_host("http://b.example/");

    (void)state;
    assert_false(line_hosts_has(&h, a));
    line_hosts_note(&h, a);
    assert_true(line_hosts_has(&h, a));
    assert_false(line_hosts_has(&h, b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_is_too_many),
        cmocka_unit_test(test_request_timeout_is_known),
        cmocka_unit_test(test_alerts_of_tls_are_no_answer),
        cmocka_unit_test(test_data_of_tls_is_an_answer),
        cmocka_unit_test(test_host_is_what_the_url_says),
        cmocka_unit_test(test_hosts_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
