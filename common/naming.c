#include "common/naming.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/naming_part.h"
#include "common/text.h"
#include "common/util.h"

#define INDEX_NAME "index.html"

static const char *const conflict_names[CONFLICT_MAX_] = {
    [CONFLICT_RENAME] = "rename",
    [CONFLICT_FAIL] = "fail",
    [CONFLICT_OVERWRITE] = "overwrite",
    [CONFLICT_SKIP] = "skip",
};

const char *on_conflict_name(enum on_conflict c) {
    return (unsigned)c < CONFLICT_MAX_ ? conflict_names[c] : NULL;
}

int on_conflict_parse(const char *s, enum on_conflict *ret) {
    for (unsigned i = 0; i < CONFLICT_MAX_; i++)
        if (streq(s, conflict_names[i])) {
            *ret = (enum on_conflict)i;
            return 0;
        }
    return -EINVAL;
}

bool name_is_reserved(const char *s, size_t n) {
    return (n == 1 && s[0] == '.') || (n == 2 && memcmp(s, "..", 2) == 0) ||
           (n >= 5 && memcmp(s, ".dld-", 5) == 0);
}

size_t name_stem(const char *s, size_t n) {
    size_t first = 0, dot = n;

    while (first < n && s[first] == '.')
        first++;
    while (dot > first && s[dot - 1] != '.')
        dot--;
    if (dot == first || n - --dot > NAME_EXTENSION_MAX)
        return n;
    if (dot >= first + 5 && strncasecmp(s + dot - 4, ".tar", 4) == 0 &&
        n - (dot - 4) <= NAME_EXTENSION_MAX)
        dot -= 4;
    return dot;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_escape(const char *s, size_t n) {
    return n >= 3 && s[0] == '%' && hex_value(s[1]) >= 0 && hex_value(s[2]) >= 0;
}

/* The most bytes, up to max, that can be taken of s without splitting a character or an escape. */
static size_t cut_before(const char *s, size_t n, size_t max) {
    size_t cut = MIN(n, max);

    if (cut == n)
        return n;
    while (cut > 0 && ((unsigned char)s[cut] & 0xc0) == 0x80)
        cut--;
    for (size_t back = 1; back <= 2 && back <= cut; back++)
        if (is_escape(s + cut - back, n - (cut - back)))
            return cut - back;
    return cut;
}

/* Copies s to ret, cut before its extension to at most max bytes; returns how many there are. */
static size_t name_shorten(const char *s, size_t n, size_t max, char *ret) {
    size_t stem = name_stem(s, n), extension = n - stem;
    size_t keep = cut_before(s, stem, max - extension);

    memcpy(ret, s, keep);
    memcpy(ret + keep, s + stem, extension);
    return keep + extension;
}

/* Undoes percent-encoding. */
static size_t percent_decode(const char *s, size_t n, char *ret) {
    char *to = ret;

    while (n > 0) {
        size_t take = is_escape(s, n) ? 3 : 1;

        *to++ = take == 3 ? (char)(hex_value(s[1]) << 4 | hex_value(s[2])) : *s;
        s += take;
        n -= take;
    }
    return (size_t)(to - ret);
}

size_t segment_decode(const char *s, size_t n, char *ret) {
    static const char hex[] = "0123456789ABCDEF";
    char raw[URL_MAX_LENGTH], *to = ret;
    size_t left = percent_decode(s, n, raw);

    for (const char *p = raw; left > 0;) {
        size_t len = *p == '/' ? 0 : text_printable(p, left), take = len ? len : 1;

        if (len == 0) {
            unsigned char c = (unsigned char)*p;

            memcpy(to, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
        } else {
            memcpy(to, p, len);
        }
        to += len ? len : 3;
        p += take;
        left -= take;
    }
    return (size_t)(to - ret);
}

size_t name_settle(const char *s, size_t n, char *ret) {
    size_t room = name_is_reserved(s, n) ? 2 : 0; /* for "%2E" in the place of its dot */

    n = name_shorten(s, n, NAME_MAX_BYTES - room, ret + room);
    if (room)
        memcpy(ret, "%2E", 3);
    return n + room;
}

size_t url_name(const struct url *u, char *ret) {
    const char *end = u->path + u->path_len, *segment = memrchr(u->path, '/', u->path_len);
    char name[URL_MAX_LENGTH];
    size_t n = segment_decode(segment + 1, (size_t)(end - segment - 1), name);

    if (n == 0)
        return name_settle(INDEX_NAME, strlen(INDEX_NAME), ret);
    return name_settle(name, n, ret);
}

char *name_from_url(const struct url *u) {
    char name[NAME_MAX_BYTES];

    return strndup(name, url_name(u, name));
}

char *name_make_safe(const char *s, size_t n) {
    _cleanup_free_ char *clean = malloc(n + 1);
    char name[NAME_MAX_BYTES + 1], *to = clean, *from = clean;

    if (!clean)
        return NULL;
    while (n > 0) {
        size_t len = *s == '/' || *s == '\\' ? 0 : text_printable(s, n);
        size_t take = len ? len : MAX(utf8_sequence(s, n), (size_t)1);

        if (len > 0)
            to = (char *)mempcpy(to, s, len);
        else
            *to++ = '_';
        s += take;
        n -= take;
    }
    while (to > from && (to[-1] == ' ' || to[-1] == '.'))
        to--;
    while (from < to && *from == ' ')
        from++;
    n = name_settle(from, (size_t)(to - from), name);
    while (n > 0 && (name[n - 1] == ' ' || name[n - 1] == '.')) /* shortened to one */
        n--;
    name[n] = '\0';
    return strspn(name, " ._") == n ? NULL : strdup(name);
}

void name_with_number(const char *path, unsigned n, char *ret) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t len = strlen(name), stem = name_stem(name, len), extension = len - stem, keep;
    char number[16] = "";

    if (n > 0)
        snprintf(number, sizeof(number), ".%u", n);
    keep = cut_before(name, stem, NAME_MAX_BYTES - extension - strlen(number));
    snprintf(ret, NAME_MAX_BYTES + 1, "%.*s%s%s", (int)keep, name, number, name + stem);
}

bool path_is_safe(const char *path) {
    size_t len = strlen(path);

    if (len == 0 || len > OUTPUT_MAX_BYTES || !text_is_printable(path, len))
        return false;
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");

        if (n == 0 || n > NAME_MAX_BYTES || name_is_reserved(part, n))
            return false;
        part += n;
        if (!*part)
            return true;
    }
}
