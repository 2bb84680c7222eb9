/* header.h: status lines and redirects that libcurl would let pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/worker/header.h"

/* In memory of just its size, so that a sanitizer sees an overrun. */
static bool check(bool (*fn)(const char *, size_t), const char *text) {
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    bool valid;

    memcpy(copy, text, n);
    valid = fn(copy, n);
    free(copy);
    return valid;
}

static void test_status_lines(void **state) {
    static const char *const good[] = {"HTTP/1.1 200 OK\r\n", "HTTP/1.0 404\r\n", "HTTP/2 200 \r\n",
                                       "HTTP/1.1 999 \n", "HTTP/1.1 200"};
    static const char *const bad[] = {"HTTP/",          "HTTP/1",          "HTTP/1.",
                                      "HTTP/1.1",       "HTTP/1.1 ",       "HTTP/1.1 20",
                                      "HTTP/x.y 200 OK", "HTTP/1.1 banana", "HTTP/1.1 2000 OK\r\n",
                                      "HTTP/1.1 020 OK", "HTTP/1.1200 OK",  "HTTP/ 200 OK"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        assert_true(check(header_is_status_line, good[i]));
        assert_true(check(header_status_line_is_valid, good[i]));
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(check(header_status_line_is_valid, bad[i]));
    assert_false(check(header_is_status_line, "HTT"));
    assert_false(check(header_is_status_line, "Date: HTTP/1.1 200"));
}

static void test_locations(void **state) {
    static const char *const good[] = {
        "Location: http://example.org/a\r\n", "location:https://example.org:8443/\r\n",
        "Location: /path?q\r\n",              "Location: path\r\n",
        "Location: //example.org/a\r\n",      "Location:\r\n",
        "Location: ?q\r\n",                   "Content-Location: http://user:word@a/\r\n",
        "Location: http://example.org/\xc3\xa9 a\r\n", "Date: now\r\n", "", "\r\n",
    };
    static const char *const bad[] = {
        "Location: http://user:word@example.org/\r\n", "Location: http:///a\r\n", "Location: http:a\r\n",
        "Location: file:///etc/passwd\r\n",            "Location: //user@a/\r\n", "Location: /\\a/\r\n",
        "Location: javascript:alert(1)\r\n",           "Location: http://a b/\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_true(check(header_location_is_valid, good[i]));
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(check(header_location_is_valid, bad[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_lines),
        cmocka_unit_test(test_locations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
