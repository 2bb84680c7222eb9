#include "client/jobfile_text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int text_fail_at(struct jobfile *f, uint64_t line, uint64_t column, const char *fmt, ...) {
    size_t n;
    va_list ap;

    n = (size_t)snprintf(f->error, sizeof(f->error), "%.400s:%" PRIu64 ":%" PRIu64 ": ", f->name,
                         line, column);
    va_start(ap, fmt);
    vsnprintf(f->error + n, sizeof(f->error) - n, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

int text_fail_read(struct jobfile *f) {
    snprintf(f->error, sizeof(f->error), "cannot read %.400s: %s", f->name,
             strerror(-f->read_error));
    return -EBADMSG;
}

/* Reads on; false at the end of the file and when it can't be read. */
static bool fill(struct jobfile *f) {
    ssize_t n;

    if (f->ended || f->read_error)
        return false;
    do
        n = read(f->fd, f->data, TEXT_BUFFER_SIZE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        f->read_error = -errno;
    f->ended = n == 0;
    f->pos = 0;
    f->len = n > 0 ? (size_t)n : 0;
    return n > 0;
}

int text_peek(struct jobfile *f) {
    if (f->pos == f->len && !fill(f))
        return TEXT_END;
    return (unsigned char)f->data[f->pos];
}

void text_advance(struct jobfile *f, unsigned char c) {
    f->pos++;
    if (c == '\n') {
        f->line++;
        f->column = 0;
    } else if ((c & 0xc0) != 0x80) {
        f->column++;
    }
}

static bool is_blank(int c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int text_peek_word(struct jobfile *f, bool keep) {
    int c;

    while (is_blank(c = text_peek(f))) {
        if (keep)
            buf_addc(&f->raw, (char)c);
        text_advance(f, (unsigned char)c);
    }
    return c;
}

int text_fail_expected(struct jobfile *f, const char *what) {
    int c = text_peek(f);
    char found[32];

    if (f->read_error)
        return text_fail_read(f);
    if (c == TEXT_END)
        snprintf(found, sizeof(found), "the end of the file");
    else if (c > 0x20 && c < 0x7f)
        snprintf(found, sizeof(found), "'%c'", c);
    else
        snprintf(found, sizeof(found), "the byte 0x%02x", (unsigned)c);
    return text_fail_at(f, f->line, f->column + 1, "expected %s, found %s", what, found);
}

/* Where in the file jansson found fault with raw. */
static int fail_json(struct jobfile *f, const json_error_t *e) {
    uint64_t line = f->value_line, column = (uint64_t)MAX(e->column, 1);

    if (e->line > 1)
        line += (uint64_t)e->line - 1;
    else
        column += f->value_column - 1;
    if (json_error_code(e) == json_error_null_character ||
        json_error_code(e) == json_error_null_byte_in_key)
        return text_fail_at(f, line, column, "the character \\u0000 is not allowed in a job");
    return text_fail_at(f, line, column, "%s", e->text);
}

int text_check(struct jobfile *f) {
    json_error_t e;
    json_t *value;

    value = json_loadb(buf_head(&f->raw), buf_size(&f->raw),
                       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!value)
        return json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : fail_json(f, &e);
    json_decref(value);
    return 0;
}

int text_fail_value(struct jobfile *f, const char *reason) {
    int c = text_peek(f);
    json_error_t e;
    json_t *value;

    if (f->read_error)
        return text_fail_read(f);
    if (!reason && c != TEXT_END)
        buf_addc(&f->raw, (char)c);
    value = json_loadb(buf_head(&f->raw), buf_size(&f->raw), JSON_DECODE_ANY, &e);
    if (!value && (!reason || json_error_code(&e) != json_error_premature_end_of_input))
        return fail_json(f, &e);
    json_decref(value);
    return text_fail_at(f, f->value_line, f->value_column, "%s",
                        reason ? reason : "this is no JSON value");
}

int text_fail_raw(struct jobfile *f) {
    if (buf_error(&f->raw) == -ENOMEM)
        return -ENOMEM;
    f->raw.error = 0;
    return text_fail_value(f, "this is larger than 1 MiB, which is the most for one job");
}

/* How far into a value the scanner is. */
struct scan {
    unsigned depth;
    bool string, escape;
    bool bad;  /* no JSON can look like this */
    bool deep; /* deeper than JOBFILE_DEPTH_MAX */
};

/* Whether c, outside of strings, ends the value; *ret_take: c is its last byte. */
static bool scan_plain(struct scan *s, unsigned char c, bool *ret_take) {
    switch (c) {
    case '"':
        s->string = true;
        return false;
    case '{':
    case '[':
        s->deep = s->depth == JOBFILE_DEPTH_MAX;
        s->depth++;
        return s->deep;
    case '}':
    case ']':
        *ret_take = s->depth > 0;
        if (s->depth > 0)
            s->depth--;
        return s->depth == 0;
    case ',':
    case ':':
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        *ret_take = s->depth > 0;
        return s->depth == 0;
    default:
        return false;
    }
}

/* The same within a string. */
static bool scan_string(struct scan *s, unsigned char c) {
    s->bad = c < 0x20;
    if (s->bad)
        return true;
    if (s->escape)
        s->escape = false;
    else if (c == '\\')
        s->escape = true;
    else if (c == '"')
        s->string = false;
    return !s->string && s->depth == 0;
}

/* Takes bytes of a value out of the read buffer, up to its end: true when that is reached. */
static bool scan_buffer(struct jobfile *f, struct scan *s) {
    size_t start = f->pos;
    bool end = false;

    while (!end && f->pos < f->len) {
        unsigned char c = (unsigned char)f->data[f->pos];
        bool take = true;

        end = s->string ? scan_string(s, c) : scan_plain(s, c, &take);
        if (take)
            text_advance(f, c);
    }
    buf_add(&f->raw, f->data + start, f->pos - start);
    return end;
}

int text_scan_value(struct jobfile *f) {
    struct scan s = {0};
    size_t before = buf_size(&f->raw);
    bool end = false;

    while (!end && !buf_error(&f->raw) && text_peek(f) != TEXT_END)
        end = scan_buffer(f, &s);
    if (buf_error(&f->raw))
        return text_fail_raw(f);
    if (s.deep)
        return text_fail_value(f, "this is nested too deeply for a job");
    if (f->read_error || s.bad || s.string || s.depth > 0 || buf_size(&f->raw) == before)
        return text_fail_value(f, NULL);
    return 0;
}

void text_begin_value(struct jobfile *f) {
    buf_clear(&f->raw);
    f->value_line = f->line;
    f->value_column = f->column + 1;
}

int text_read_value(struct jobfile *f) {
    int r;

    text_begin_value(f);
    r = text_scan_value(f);
    return r < 0 ? r : text_check(f);
}

int text_take(struct jobfile *f, int c, const char *what) {
    if (text_peek_word(f, false) != c)
        return text_fail_expected(f, what);
    text_advance(f, (unsigned char)c);
    return 0;
}

char *text_decode(struct jobfile *f, size_t offset) {
    json_t *value =
        json_loadb(buf_head(&f->raw) + offset, buf_size(&f->raw) - offset, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(value);
    char *copy = text ? strdup(text) : NULL;

    json_decref(value);
    return copy;
}
