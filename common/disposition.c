#include "common/disposition.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/naming.h"
#include "common/text.h"
#include "common/util.h"

#define VALUE_MAX 4096 /* bytes of a field that are worth reading */

/* One name as it was given. */
struct given {
    bool seen;
    char *bytes; /* room for VALUE_MAX */
    size_t n;
};

static bool is_token_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_blanks(const char *p) {
    return p + strspn(p, " \t");
}

static size_t token_length(const char *p) {
    size_t n = 0;

    while (is_token_char(p[n]))
        n++;
    return n;
}

/* A value: a token (also with bytes that are none, up to ';' or a blank, as many servers send it)
 * or a quoted string. Returns what follows it, NULL when it has no end. */
static const char *read_value(const char *p, char *to, size_t *ret_n) {
    size_t n = 0;

    if (*p != '"') {
        n = strcspn(p, "; \t\"");
        memcpy(to, p, n);
        *ret_n = n;
        return p + n;
    }
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        to[n++] = *p;
    }
    *ret_n = n;
    return *p ? p + 1 : NULL;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t to_utf8(char *to, unsigned char c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    to[0] = (char)(0xc0 | c >> 6);
    to[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* RFC 8187: UTF-8'language'percent-encoded; also ISO-8859-1, as older servers do. Decodes in place
 * into to, which has room for twice n. False: it is not of that form. */
static bool decode_extended(const char *s, size_t n, char *to, size_t *ret_n) {
    const char *first = memchr(s, '\'', n), *end = s + n, *p;
    const char *second = first ? memchr(first + 1, '\'', (size_t)(end - first - 1)) : NULL;
    size_t len = first ? (size_t)(first - s) : 0, out = 0;
    bool latin = len == 10 && strncasecmp(s, "iso-8859-1", 10) == 0;

    if (!second || (!latin && !(len == 5 && strncasecmp(s, "utf-8", 5) == 0)))
        return false;
    for (p = second + 1; p < end; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '%') {
            int high = end - p > 2 ? hex_value(p[1]) : -1, low = end - p > 2 ? hex_value(p[2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            p += 2;
        } else if (!is_token_char((char)c)) {
            return false;
        }
        if (latin)
            out += to_utf8(to + out, c);
        else
            to[out++] = (char)c;
    }
    *ret_n = out;
    return true;
}

/* A plain filename is ISO-8859-1 by the letter and UTF-8 in practice. */
static size_t decode_plain(const char *s, size_t n, char *to) {
    size_t out = 0;

    for (size_t i = 0; i < n;) {
        size_t len = utf8_sequence(s + i, n - i);

        if (len == 0 && n > 0) {
            for (i = out = 0; i < n; i++)
                out += to_utf8(to + out, (unsigned char)s[i]);
            return out;
        }
        memcpy(to + out, s + i, len);
        out += len;
        i += len;
    }
    return out;
}

/* The parameters behind the type. False: the field breaks off or names one twice. */
static bool read_parameters(const char *p, struct given *plain, struct given *extended) {
    char *value = malloc(VALUE_MAX);
    bool good = value;

    while (good && *(p = skip_blanks(p)) == ';') {
        const char *name = skip_blanks(p + 1);
        size_t len = token_length(name), n = 0;
        struct given *g = NULL;

        p = skip_blanks(name + len);
        if (len == 0 && (*p == ';' || !*p))
            continue; /* ";;", or one at the end */
        if (len == 0 || *p != '=') {
            good = false;
            break;
        }
        p = read_value(skip_blanks(p + 1), value, &n);
        good = p != NULL;
        if (len == 8 && strncasecmp(name, "filename", 8) == 0)
            g = plain;
        else if (len == 9 && strncasecmp(name, "filename*", 9) == 0)
            g = extended;
        if (good && g) {
            good = !g->seen;
            g->seen = true;
            memcpy(g->bytes, value, n);
            g->n = n;
        }
    }
    free(value);
    return good && !*p;
}

/* What follows the last separator. */
static char *last_component(const char *s, size_t n) {
    size_t start = n;

    while (start > 0 && s[start - 1] != '/' && s[start - 1] != '\\')
        start--;
    return name_make_safe(s + start, n - start);
}

static char *choose(const struct given *plain, const struct given *extended, char *decoded) {
    size_t n = 0;

    if (extended->seen && decode_extended(extended->bytes, extended->n, decoded, &n)) {
        char *name = last_component(decoded, n);

        if (name || errno == ENOMEM)
            return name;
    }
    if (!plain->seen)
        return NULL;
    n = decode_plain(plain->bytes, plain->n, decoded);
    return last_component(decoded, n);
}

char *disposition_name(const char *value) {
    _cleanup_free_ char *room = NULL;
    struct given plain = {0}, extended = {0};
    const char *p;

    errno = 0;
    if (strlen(value) >= VALUE_MAX)
        return NULL;
    room = malloc(4 * VALUE_MAX);
    if (!room)
        return NULL;
    plain.bytes = room;
    extended.bytes = room + VALUE_MAX;
    p = skip_blanks(value);
    p += token_length(p);
    /* Some servers leave the type out and begin with the parameter. */
    if (*skip_blanks(p) == '=')
        return NULL;
    if (!read_parameters(p, &plain, &extended))
        return NULL;
    return choose(&plain, &extended, room + 2 * VALUE_MAX);
}
