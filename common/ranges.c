#include "common/ranges.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"

void ranges_append(struct ranges *r, uint64_t begin, uint64_t end) {
    struct range *last = r->n > 0 ? &r->list[r->n - 1] : NULL;

    if (begin >= end)
        return;
    if (last && last->end == begin)
        last->end = end;
    else if (r->n < RANGES_MAX)
        r->list[r->n++] = (struct range){begin, end};
}

/* Digits up to end. */
static int number_read(const char **s, char end, uint64_t *ret) {
    char digits[20];
    size_t n = strspn(*s, "0123456789");

    if (n == 0 || n >= sizeof(digits) || (*s)[n] != end)
        return -EINVAL;
    memcpy(digits, *s, n);
    digits[n] = '\0';
    *s += n;
    return parse_u64(digits, ret);
}

int ranges_parse(const char *text, uint64_t offset, int64_t total, struct ranges *ret) {
    uint64_t least = offset, most = total >= 0 ? (uint64_t)total : (uint64_t)INT64_MAX;

    ret->n = 0;
    for (const char *s = text;; s++) {
        struct range *x = &ret->list[ret->n];
        char separator;

        if (ret->n == RANGES_MAX || number_read(&s, '-', &x->begin) < 0)
            return -EINVAL;
        s++;
        separator = s[strspn(s, "0123456789")];
        if (number_read(&s, separator, &x->end) < 0 || x->begin <= least || x->end <= x->begin ||
            x->end > most || (separator != ' ' && separator != '\0'))
            return -EINVAL;
        least = x->end;
        ret->n++;
        if (separator == '\0')
            return 0;
    }
}

void ranges_text(const struct ranges *r, char *ret) {
    size_t n = 0;

    *ret = '\0';
    for (size_t i = 0; i < r->n; i++)
        n += (size_t)snprintf(ret + n, RANGES_TEXT_MAX - n, "%s%" PRIu64 "-%" PRIu64, i ? " " : "",
                              r->list[i].begin, r->list[i].end);
}

uint64_t ranges_bytes(const struct ranges *r) {
    uint64_t sum = 0;

    for (size_t i = 0; i < r->n; i++)
        sum += r->list[i].end - r->list[i].begin;
    return sum;
}
