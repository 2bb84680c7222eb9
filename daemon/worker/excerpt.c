#include "daemon/worker/excerpt.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/util.h"

#define ESCAPED 4 /* bytes that one may become */

void excerpt_add(struct excerpt *e, const char *p, size_t n) {
    size_t take = MIN(n, EXCERPT_MAX - e->n);

    memcpy(e->bytes + e->n, p, take);
    e->n += take;
}

/* May the n bytes, fewer than four, be how a longer sequence begins? */
static bool is_cut(const char *p, size_t n) {
    unsigned char c = (unsigned char)*p;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;

    if (n >= len)
        return false;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

static char *put(char *to, const char *p, size_t len) {
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)*p;

    if (len > 0)
        return (char *)mempcpy(to, p, len);
    if (c == '\r')
        return to;
    if (c == '\n' || c == '\t')
        return (char *)mempcpy(to, " ", 1);
    return (char *)mempcpy(to, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, ESCAPED);
}

char *excerpt_text(const struct excerpt *e) {
    char *text = malloc(e->n * ESCAPED + 1), *to = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < e->n;) {
        size_t len = text_printable(e->bytes + i, e->n - i);

        if (len == 0 && e->n == EXCERPT_MAX && is_cut(e->bytes + i, e->n - i))
            break;
        if (to > text || !strchr(" \r\n\t", e->bytes[i]) || e->bytes[i] == '\0')
            to = put(to, e->bytes + i, len);
        i += len ? len : 1;
    }
    while (to > text && to[-1] == ' ')
        to--;
    *to = '\0';
    return text;
}
