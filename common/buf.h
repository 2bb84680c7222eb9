/*
 * buf.h - a growing byte buffer with a cap, and JSON written into it.
 *
 * Errors stick: after a failed append every later one does nothing, and buf_error() tells. So a
 * writer appends a whole document and checks once. Zero-initialise with BUF_INIT(max).
 */
#ifndef DLD_BUF_H
#define DLD_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util.h"

struct buf {
    char *data;   /* owned; not NUL-terminated, use buf_cstr() */
    size_t len;   /* bytes in use */
    size_t cap;   /* bytes allocated */
    size_t max;   /* most bytes it may hold */
    size_t start; /* bytes at the front already consumed: buf_consume() */
    int error;    /* 0, -ENOMEM or -ENOBUFS (over max) */
};

#define BUF_INIT(max_bytes)                                                                        \
    (struct buf) {                                                                                 \
        .max = (max_bytes)                                                                         \
    }

void buf_done(struct buf *b);

static inline int buf_error(const struct buf *b) {
    return b->error;
}

/* The unconsumed bytes. */
static inline char *buf_head(const struct buf *b) {
    return b->data ? b->data + b->start : NULL;
}
static inline size_t buf_size(const struct buf *b) {
    return b->len - b->start;
}

/* Empties the buffer, keeps its memory, forgets the error. */
void buf_clear(struct buf *b);

/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);

/* Room for n more bytes at data + len; the caller advances len. NULL when over the cap or out of
 * memory. */
char *buf_reserve(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Appends a NUL that is not counted and returns the unconsumed text, NULL after an error. */
const char *buf_cstr(struct buf *b);

/* JSON (RFC 8259). Each puts a comma first where the text before needs one; key is NULL inside an
 * array. A string's bytes that are not UTF-8 become U+FFFD, so that the document is always valid.
 */
void json_begin(struct buf *b, const char *key, char bracket); /* '{' or '[' */
void json_end(struct buf *b, char bracket);                    /* '}' or ']' */
void json_str(struct buf *b, const char *key, const char *s);  /* null where s is NULL */
void json_int(struct buf *b, const char *key, int64_t n);
void json_bool(struct buf *b, const char *key, bool v);
void json_none(struct buf *b, const char *key);
void json_num(struct buf *b, const char *key, double v); /* three decimals */
void json_raw(struct buf *b, const char *key, const char *json, size_t n);
/* Seconds with six decimals from microseconds since the epoch; null where usec is 0. */
void json_time(struct buf *b, const char *key, uint64_t usec);

#endif
