#include "daemon/worker/head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/util.h"
#include "daemon/worker/header.h"

#define STATUS_AT 9 /* "HTTP/1.1 " */

static bool is_token_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static const char *begin(struct head *h, const char *line, size_t n) {
    unsigned lines = h->n_lines;
    size_t bytes = h->n_bytes;
    const char *digits;

    if (!header_status_line_is_valid(line, n))
        return "sent a status line that is not HTTP";
    if (h->status >= 200) /* a redirect's; each answer may have as much as any */
        lines = 0, bytes = 0;
    digits = (const char *)memchr(line, ' ', n) + 1;
    *h = (struct head){
        .status = (unsigned)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0'),
        .http10 = n > STATUS_AT && memcmp(line, "HTTP/1.0", 8) == 0,
        .http1 = memcmp(line, "HTTP/1", 6) == 0,
        .framing = true, /* a first line that is folded continues nothing */
        .n_lines = lines,
        .n_bytes = bytes,
    };
    return NULL;
}

static const char *take_one_length(struct head *h, const char *value, size_t n) {
    static const char bad[] = "announced the length of the body in a way that has no one meaning";
    uint64_t length = 0;

    while (n > 0 && is_blank(*value))
        value++, n--;
    while (n > 0 && is_blank(value[n - 1]))
        n--;
    if (n == 0)
        return bad;
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)value[i]) || __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, (uint64_t)(value[i] - '0'), &length))
            return bad;
    if (length > INT64_MAX || (h->has_length && h->length != length))
        return bad;
    h->has_length = true;
    h->length = length;
    return NULL;
}

/* "5, 5" is what becomes of two fields that a proxy makes one of (RFC 9110 section 8.6). */
static const char *take_length(struct head *h, const char *value, size_t n) {
    const char *wrong, *comma;

    while ((comma = memchr(value, ',', n))) {
        wrong = take_one_length(h, value, (size_t)(comma - value));
        if (wrong)
            return wrong;
        n -= (size_t)(comma + 1 - value);
        value = comma + 1;
    }
    return take_one_length(h, value, n);
}

static const char *take_coding(struct head *h, const char *value, size_t n) {
    if (n == strlen("identity") && strncasecmp(value, "identity", n) == 0) {
        h->is_identity = true; /* RFC 2616's word for none */
        return NULL;
    }
    if (h->is_chunked || h->http10 || n != strlen("chunked") ||
        strncasecmp(value, "chunked", n) != 0)
        return "sent the body in a Transfer-Encoding that nobody asked for";
    h->is_chunked = true;
    return NULL;
}

/* FNV-1a: two values that only look the same by it would both have to be the server's choice. */
static const char *take_single(struct head *h, enum head_field field, const char *value, size_t n) {
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)value[i]) * UINT64_C(1099511628211);
    if (h->single[field].seen && h->single[field].hash != hash)
        return field == HEAD_LOCATION ? "redirects to two places at once"
                                      : "sent two ranges for one body";
    h->single[field].seen = true;
    h->single[field].hash = hash;
    return NULL;
}

static bool is_name(const char *line, size_t n, const char *name) {
    return n == strlen(name) && strncasecmp(line, name, n) == 0;
}

/* Fields that frame the body or say where to go. */
static bool is_weighty(const char *line, size_t n) {
    return is_name(line, n, "Content-Length") || is_name(line, n, "Transfer-Encoding") ||
           is_name(line, n, "Location") || is_name(line, n, "Content-Range") ||
           is_name(line, n, "Content-Encoding");
}

/* Nobody is meant by such a field; but curl would pass over it where another reader, which takes
 * the blanks away, would not. */
static const char *take_nameless(const char *line, size_t len) {
    while (len > 0 && is_blank(line[len - 1]))
        len--;
    return is_weighty(line, len) ? "sent a header field with blanks behind its name" : NULL;
}

/* Digest, Repr-Digest, Content-Digest and Content-MD5, by their ends. */
static bool is_digest(const char *name, size_t n) {
    if (n < 6)
        return false;
    return name[n - 1] == '5' ? strncasecmp(name + n - 4, "-md5", 4) == 0
                              : strncasecmp(name + n - 6, "digest", 6) == 0;
}

static const char *take_field(struct head *h, const char *line, size_t n) {
    const char *colon = memchr(line, ':', n), *value, *end = line + n;
    size_t len = colon ? (size_t)(colon - line) : 0;

    if (!colon)
        return "sent a header line without a colon";
    h->framing = false;
    for (size_t i = 0; i < len; i++)
        if (!is_token_char(line[i]))
            return take_nameless(line, len);
    for (value = colon + 1; value < end && is_blank(*value);)
        value++;
    while (end > value && is_blank(end[-1]))
        end--;
    n = (size_t)(end - value);
    h->has_digest |= is_digest(line, len);
    h->framing = is_weighty(line, len);
    if (!h->framing)
        return NULL;
    if (is_name(line, len, "Content-Length"))
        return take_length(h, value, n);
    if (is_name(line, len, "Transfer-Encoding"))
        return take_coding(h, value, n);
    if (is_name(line, len, "Location"))
        return take_single(h, HEAD_LOCATION, value, n);
    if (is_name(line, len, "Content-Range"))
        return take_single(h, HEAD_CONTENT_RANGE, value, n);
    return NULL;
}

const char *head_line(struct head *h, const char *line, size_t n) {
    h->n_bytes += n;
    if (++h->n_lines > HEAD_LINES_MAX || h->n_bytes > HEAD_BYTES_MAX)
        return "sent a header that is too large to take";
    if (n > 0 && line[n - 1] == '\n')
        n--;
    if (n > 0 && line[n - 1] == '\r')
        n--;
    if (memchr(line, '\0', n) || memchr(line, '\r', n))
        return "sent a header with a NUL or a bare CR in it";
    if (header_is_status_line(line, n) && (h->ended || h->status == 0))
        return begin(h, line, n);
    if (h->status == 0)
        return "sent something before the status line";
    if (h->ended)
        return NULL;
    if (n == 0) {
        h->ended = true;
        return NULL;
    }
    if (is_blank(line[0]))
        return h->framing ? "folded a header field that must not be" : NULL;
    return take_field(h, line, n);
}
