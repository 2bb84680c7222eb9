#include "common/text.h"

#include <stdint.h>
#include <string.h>

#include "common/util.h"

/* The two- and three-byte sequences that steer a terminal or reorder a line. */
static bool steers(const unsigned char *p, size_t len) {
    if (len == 2)
        return p[0] == 0xc2 && p[1] < 0xa0;
    if (len == 3 && p[0] == 0xe2)
        return (p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
               (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
    return false;
}

size_t text_printable(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    size_t len;

    if (n > 0 && p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    len = utf8_sequence(s, n);
    return steers(p, len) ? 0 : len;
}

bool text_is_utf8(const char *s) {
    size_t left = strlen(s), len;

    for (; left > 0; s += len, left -= len) {
        len = utf8_sequence(s, left);
        if (len == 0)
            return false;
    }
    return true;
}

bool text_is_printable(const char *s, size_t n) {
    while (n > 0) {
        size_t len = text_printable(s, n);

        if (len == 0)
            return false;
        s += len;
        n -= len;
    }
    return true;
}

#define QUOTED_TEXT 64 /* bytes between the quotes */

const char *text_quote(char ret[TEXT_QUOTED_MAX], const char *s, size_t n) {
    static const char hex[] = "0123456789abcdef";
    char *to = ret, *end = ret + 1 + QUOTED_TEXT;

    *to++ = '"';
    while (n > 0) {
        size_t len = text_printable(s, n), take = len ? len : 1;
        bool escaped = len == 1 && (*s == '"' || *s == '\\');
        size_t need = len ? len + escaped : 4;

        if ((size_t)(end - to) < need)
            break;
        if (len == 0) {
            unsigned char c = (unsigned char)*s;

            memcpy(to, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
        } else {
            if (escaped)
                *to = '\\';
            memcpy(to + escaped, s, len);
        }
        to += need;
        s += take;
        n -= take;
    }
    strcpy(to, n > 0 ? "...\"" : "\"");
    return ret;
}
