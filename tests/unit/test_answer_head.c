/* head.h: headers that mean two things at once, or have no end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "daemon/worker/head.h"

/* In memory of just its size, so that a sanitizer sees an overrun. */
static const char *give(struct head *h, const char *line, size_t n) {
    char *copy = malloc(n ? n : 1);
    const char *wrong;

    memcpy(copy, line, n);
    wrong = head_line(h, copy, n);
    free(copy);
    return wrong;
}

/* Lines end in \n; a CR is put before it. The first complaint, or NULL. */
static const char *read_head(struct head *h, const char *text) {
    const char *wrong = NULL;
    char line[512];

    *h = (struct head){0};
    while (*text && !wrong) {
        size_t n = strcspn(text, "\n");

        memcpy(line, text, n);
        memcpy(line + n, "\r\n", 2);
        wrong = give(h, line, n + 2);
        text += n + (text[n] == '\n');
    }
    return wrong;
}

#define OK "HTTP/1.1 200 OK\n"

static void test_good_heads(void **state) {
    static const char *const good[] = {
        OK "Content-Length: 5\n\n",
        OK "Content-Length: 5\nContent-Length:5 \n\n",
        OK "transfer-encoding: Chunked\n\n",
        OK "X-Folded: a\n b\n\n",
        OK "X-Empty:\n\n",
        "HTTP/1.1 100 Continue\n\n" OK "Content-Length: 5\n\n",
        "HTTP/1.1 302 Found\nLocation: /a\nContent-Length: 3\n\n" OK "Content-Length: 5\n\n",
        "HTTP/1.1 302 Found\nLocation: /a\nLocation: /a\n\n",
        OK "Transfer-Encoding: chunked\n\nX-Trailer without colon\n",
        "HTTP/2 200 \ncontent-length: 7\n\n",
        OK "Content-Length: 5, 5\n\n",
        OK "Content-Length: 5,5 ,\t5\nContent-Length: 5\n\n",
        OK "Content-Length: 5\nTransfer-Encoding: chunked\n\n",
        OK "Transfer-Encoding: chunked\nContent-Length: 6\n\n",
        OK "Transfer-Encoding: identity\nContent-Length: 5\n\n",
        OK "Transfer-Encoding: identity\nTransfer-Encoding: chunked\n\n",
        OK ": nameless\n\n",
        OK "Two words: 5\n and a third\n\n",
        OK "X-Blank : 5\n\n",
        OK "X-M\xfcller: 5\n\n",
    };
    struct head h;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_null(read_head(&h, good[i]));
}

static void test_bad_heads(void **state) {
    static const char *const bad[] = {
        "Date: before\n" OK,
        "\n" OK,
        OK "Content-Length: 5\nContent-Length: 6\n\n",
        OK "Content-Length: 5, 6\n\n",
        OK "Content-Length: 5,\n\n",
        OK "Content-Length: ,5\n\n",
        OK "Content-Length: 5,,5\n\n",
        OK "Content-Length: -5\n\n",
        OK "Content-Length: +5\n\n",
        OK "Content-Length: 0x5\n\n",
        OK "Content-Length: 5 5\n\n",
        OK "Content-Length: 5;\n\n",
        OK "Content-Length:\n\n",
        OK "Content-Length: 99999999999999999999\n\n",
        OK "Content-Length: 9223372036854775808\n\n",
        OK "Transfer-Encoding: gzip\n\n",
        OK "Transfer-Encoding: identity\nTransfer-Encoding: gzip\n\n",
        OK "Transfer-Encoding: identity, chunked\n\n",
        OK "Transfer-Encoding: chunked, gzip\n\n",
        OK "Transfer-Encoding: gzip, chunked\n\n",
        OK "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
        OK "Transfer-Encoding: xchunked\n\n",
        OK "Transfer-Encoding:\n\n",
        "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
        OK "No colon here\n\n",
        OK "Content-Length : 5\n\n",
        OK "Transfer-Encoding\t: chunked\n\n",
        OK "Location  : /a\n\n",
        OK "Content-Length: 5\n 6\n\n",
        OK "Location: /a\n /b\n\n",
        OK " folded: first\n\n",
        OK "X: a\rb\n\n",
        "HTTP/1.1 302 Found\nLocation: /a\nLocation: /b\n\n",
        "HTTP/1.1 206 Part\nContent-Range: bytes 0-1/2\nContent-Range: bytes 1-2/3\n\n",
        "HTTP/1.1 302 Found\n\nHTTP/x.y banana\n",
    };
    struct head h;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_non_null(read_head(&h, bad[i]));
}

static void test_nul_is_refused(void **state) {
    struct head h;

    (void)state;
    assert_null(read_head(&h, OK));
    assert_non_null(give(&h, "X: a\0b\r\n", 8));
}

static void test_what_is_kept(void **state) {
    struct head h;

    (void)state;
    assert_null(
        read_head(&h, "HTTP/1.1 302 Found\nContent-Length: 3\n\n" OK "Content-Length: 12\n"));
    assert_int_equal(h.status, 200);
    assert_int_equal(h.length, 12);
    assert_true(h.has_length);
    assert_false(h.ended);
    assert_null(read_head(&h, OK "Transfer-Encoding: identity\nContent-Length: 5, 5\n\n"));
    assert_int_equal(h.length, 5);
    assert_false(h.is_chunked);
    assert_true(h.ended);
    assert_null(read_head(&h, OK "Content-Length: 5\nTransfer-Encoding: Chunked\n\n"));
    assert_true(h.has_length && h.is_chunked);
}

static void test_endless_heads(void **state) {
    struct head h = {0};
    char line[1000];
    unsigned n;

    (void)state;
    assert_null(give(&h, "HTTP/1.1 100 Go on\r\n", 20));
    for (n = 0; n < 100000 && !give(&h, n % 2 ? "HTTP/1.1 100 Go on\r\n" : "\r\n", n % 2 ? 20 : 2);)
        n++;
    assert_true(n < HEAD_LINES_MAX);
    memset(line, 'x', sizeof(line));
    line[1] = ':';
    h = (struct head){0};
    assert_null(give(&h, "HTTP/1.1 200 OK\r\n", 17));
    for (n = 0; n < 100000 && !give(&h, line, sizeof(line));)
        n++;
    assert_true(n <= HEAD_BYTES_MAX / sizeof(line));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_heads),     cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_nul_is_refused), cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_endless_heads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
