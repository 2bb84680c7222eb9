#include "client/print.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/dlctl.h"
#include "client/format.h"
#include "common/exitcode.h"

void complain(const char *fmt, ...) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(64 * KIB);
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fflush(stdout); /* what was said before comes first; a failure is print_flush()'s to tell */
    buf_adds(&b, "dlctl: ");
    format_printable(&b, text);
    buf_addc(&b, '\n');
    if (buf_error(&b))
        fputs("dlctl: out of memory\n", stderr);
    else
        fwrite(buf_head(&b), 1, buf_size(&b), stderr);
}

int complain_memory(void) {
    complain("out of memory");
    return DLCTL_JOB_FAILED;
}

/* jansson leaves DEL and C1 as they are; inside its strings, the only place for them, they can be
 * written as escapes. */
static void write_json(const char *text, size_t n, FILE *file) {
    const char *end = text + n;

    for (const char *p = text; p < end; p++) {
        unsigned char c = (unsigned char)*p, next = p + 1 < end ? (unsigned char)p[1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next <= 0x9f;

        if (!c1 && c != 0x7f)
            continue;
        fwrite(text, 1, (size_t)(p - text), file);
        fprintf(file, "\\u%04x", c1 ? next : c);
        p += c1;
        text = p + 1;
    }
    fwrite(text, 1, (size_t)(end - text), file);
}

/* stdio may have written by itself; errno still tells why it couldn't. */
static void print_check(void) {
    if (ferror(stdout))
        print_flush();
}

void print_json(const json_t *value) {
    /* 16 digits: microseconds since the epoch exactly, and 0.31 as 0.31 */
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));

    if (text) {
        write_json(text, strlen(text), stdout);
        putchar('\n');
    } else {
        exit(complain_memory());
    }
    free(text);
    print_check();
}

void print_line(struct buf *b) {
    buf_addc(b, '\n');
    if (buf_error(b))
        exit(complain_memory());
    fwrite(buf_head(b), 1, buf_size(b), stdout);
    buf_clear(b);
    print_check();
}

void print_flush(void) {
    bool bad = ferror(stdout);

    if (fflush(stdout) == 0 && !bad)
        return;
    if (errno == EPIPE)
        _exit(DLCTL_BROKEN_PIPE);
    complain("cannot write the results: %s", strerror(errno));
    _exit(DLCTL_JOB_FAILED);
}
