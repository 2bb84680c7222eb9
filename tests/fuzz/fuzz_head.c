/*
 * Lines of servers: the header of an answer, the replies of an FTP server, and what comes behind an
 * answer. The first byte says which.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <inttypes.h>

#include "common/text.h"
#include "daemon/worker/ftp.h"
#include "daemon/worker/head.h"
#include "daemon/worker/header.h"
#include "daemon/worker/line_rest.h"

/* The next line with its end, in memory of just its size. */
static char *next(const uint8_t **data, size_t *size, size_t *ret) {
    const uint8_t *end = memchr(*data, '\n', *size);
    char *line;

    *ret = end ? (size_t)(end - *data) + 1 : *size;
    line = fuzz_copy(*data, *ret);
    *data += *ret;
    *size -= *ret;
    return line;
}

/* A length in the plainest form, or -1. */
static int64_t plain_length(const char *line, size_t n) {
    static const char name[] = "content-length:";
    char digits[20];
    uint64_t v;

    while (n > 0 && strchr("\r\n", line[n - 1]))
        n--;
    if (n < sizeof(name) || strncasecmp(line, name, sizeof(name) - 1) != 0 ||
        n - sizeof(name) + 1 >= sizeof(digits))
        return -1;
    snprintf(digits, sizeof(digits), "%.*s", (int)(n - sizeof(name) + 1), line + sizeof(name) - 1);
    return parse_u64(digits, &v) == 0 && v <= INT64_MAX ? (int64_t)v : -1;
}

/* Whatever else the header says, it is taken only where its length is the one that stands in it. */
static void head(const uint8_t *data, size_t size) {
    struct head h = {0};
    int64_t length = -1;

    while (size > 0) {
        bool was_ended = h.ended;
        size_t n;
        _cleanup_free_ char *line = next(&data, &size, &n);
        const char *wrong = head_line(&h, line, n);

        if (wrong)
            return;
        fuzz_check(h.status >= 100 && h.status <= 999);
        fuzz_check(h.n_lines <= HEAD_LINES_MAX && h.n_bytes <= HEAD_BYTES_MAX);
        fuzz_check(!(h.http10 && h.is_chunked) && h.length <= INT64_MAX);
        if (!h.ended && (was_ended || header_is_status_line(line, n)))
            length = -1;
        if (!h.ended && plain_length(line, n) >= 0) {
            fuzz_check(length < 0 || length == plain_length(line, n));
            length = plain_length(line, n);
        }
        fuzz_check(length < 0 || (h.has_length && h.length == (uint64_t)length));
    }
}

static void ftp(const uint8_t *data, size_t size) {
    struct ftp f;

    ftp_begin(&f);
    while (size > 0) {
        size_t n;
        _cleanup_free_ char *line = next(&data, &size, &n);

        if (ftp_line(&f, line, n))
            return;
        fuzz_check(f.size >= -1 && f.opening >= -1);
        fuzz_check(strnlen(f.line, sizeof(f.line)) <= FTP_LINE_SHOWN);
        fuzz_check(text_is_printable(f.line, strlen(f.line)));
    }
}

/* In one piece or byte by byte, it says the same. */
static void rest(const uint8_t *data, size_t size, bool tls) {
    struct line_rest whole = {.n_begin = 0}, pieces = {.n_begin = 0};
    _cleanup_free_ uint8_t *copy = fuzz_copy(data, size);
    bool more = line_rest_add(&whole, tls, copy, size), any = false;

    for (size_t i = 0; i < size && !any; i++)
        any = line_rest_add(&pieces, tls, copy + i, 1);
    fuzz_check(any == more && (tls || more == (size > 0)));
    line_rest_is_timeout(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    switch (fuzz_byte(&data, &size)) {
    case 'h':
        head(data, size);
        return 0;
    case 'f':
        ftp(data, size);
        return 0;
    case 'r':
        rest(data, size, false);
        return 0;
    case 't':
        rest(data, size, true);
        return 0;
    default:
        return -1;
    }
}
