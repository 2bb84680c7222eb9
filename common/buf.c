#include "common/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_done(struct buf *b) {
    free(b->data);
    *b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b) {
    b->len = b->start = 0;
    b->error = 0;
}

void buf_consume(struct buf *b, size_t n) {
    b->start += n;
    if (b->start == b->len)
        b->start = b->len = 0;
}

static void buf_compact(struct buf *b) {
    memmove(b->data, b->data + b->start, b->len - b->start);
    b->len -= b->start;
    b->start = 0;
}

static int buf_grow(struct buf *b, size_t need) {
    size_t cap = MAX(b->cap * 2, (size_t)256);
    char *p;

    if (need > b->max)
        return -ENOBUFS;
    cap = MIN(MAX(cap, need), b->max);
    p = realloc(b->data, cap);
    if (!p)
        return -ENOMEM;
    b->data = p;
    b->cap = cap;
    return 0;
}

char *buf_reserve(struct buf *b, size_t n) {
    if (b->error)
        return NULL;
    if (n > b->cap - b->len && b->start > 0 && (b->start >= b->len / 2 || n > b->max - b->len))
        buf_compact(b);
    if (n > b->cap - b->len) {
        size_t need;

        if (__builtin_add_overflow(b->len, n, &need))
            need = SIZE_MAX;
        b->error = buf_grow(b, need);
        if (b->error)
            return NULL;
    }
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *p, size_t n) {
    char *to = buf_reserve(b, n);

    if (!to || n == 0)
        return;
    memcpy(to, p, n);
    b->len += n;
}

void buf_addc(struct buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...) {
    char small[256];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0 || b->error)
        return;
    if ((size_t)n < sizeof(small)) {
        buf_add(b, small, (size_t)n);
    } else if (buf_reserve(b, (size_t)n + 1)) {
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t)n;
    }
}

const char *buf_cstr(struct buf *b) {
    char *end = buf_reserve(b, 1);

    if (!end)
        return NULL;
    *end = '\0';
    return buf_head(b);
}

/* Separator and key of the next value. */
static void json_next(struct buf *b, const char *key) {
    char last = b->len > b->start ? b->data[b->len - 1] : '{';
    size_t n = key ? strlen(key) : 0;
    char *to = buf_reserve(b, n + strlen(", \"\": "));

    if (!to)
        return;
    if (last != '{' && last != '[' && last != '\n')
        to = mempcpy(to, ", ", 2);
    if (key) {
        *to++ = '"';
        to = mempcpy(to, key, n);
        to = mempcpy(to, "\": ", 3);
    }
    b->len = (size_t)(to - b->data);
}

void json_begin(struct buf *b, const char *key, char bracket) {
    json_next(b, key);
    buf_addc(b, bracket);
}

void json_end(struct buf *b, char bracket) {
    buf_addc(b, bracket);
}

static void json_escape(struct buf *b, unsigned char c) {
    switch (c) {
    case '"':
        buf_add(b, "\\\"", 2);
        break;
    case '\\':
        buf_add(b, "\\\\", 2);
        break;
    case '\n':
        buf_add(b, "\\n", 2);
        break;
    default:
        buf_addf(b, "\\u%04x", c);
    }
}

void json_str(struct buf *b, const char *key, const char *s) {
    const char *end;

    if (!s) {
        json_none(b, key);
        return;
    }
    json_next(b, key);
    buf_addc(b, '"');
    end = s + strlen(s);
    while (s < end) {
        const char *p = s;
        size_t n = 1;

        while (p < end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f &&
               (n = (unsigned char)*p < 0x80 ? 1 : utf8_sequence(p, (size_t)(end - p))) > 0)
            p += n;
        buf_add(b, s, (size_t)(p - s));
        if (p < end) {
            if (n == 0)
                buf_add(b, "\xef\xbf\xbd", 3);
            else
                json_escape(b, (unsigned char)*p);
            p++;
        }
        s = p;
    }
    buf_addc(b, '"');
}

/* Writes u in front of end, with `least` digits or more; returns where it begins. */
static char *put_digits(char *end, uint64_t u, size_t least) {
    char *p = end;

    do
        *--p = (char)('0' + u % 10);
    while ((u /= 10) || (size_t)(end - p) < least);
    return p;
}

void json_int(struct buf *b, const char *key, int64_t n) {
    char digits[24], *end = digits + sizeof(digits);
    char *p = put_digits(end, n < 0 ? -(uint64_t)n : (uint64_t)n, 1);

    if (n < 0)
        *--p = '-';
    json_raw(b, key, p, (size_t)(end - p));
}

void json_bool(struct buf *b, const char *key, bool v) {
    json_raw(b, key, v ? "true" : "false", v ? 4 : 5);
}

void json_none(struct buf *b, const char *key) {
    json_raw(b, key, "null", 4);
}

void json_num(struct buf *b, const char *key, double v) {
    json_next(b, key);
    buf_addf(b, "%.3f", v);
}

void json_raw(struct buf *b, const char *key, const char *json, size_t n) {
    json_next(b, key);
    buf_add(b, json, n);
}

void json_time(struct buf *b, const char *key, uint64_t usec) {
    char text[32], *end = text + sizeof(text);
    char *p;

    if (usec == 0) {
        json_none(b, key);
        return;
    }
    p = put_digits(end, usec % USEC_PER_SEC, 6);
    *--p = '.';
    p = put_digits(p, usec / USEC_PER_SEC, 1);
    json_raw(b, key, p, (size_t)(end - p));
}
