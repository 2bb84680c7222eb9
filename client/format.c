#include "client/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *format_bytes(uint64_t n, char ret[static FORMAT_MAX]) {
    static const char units[] = "KMGTPE";
    double v = (double)n / 1000;
    size_t unit = 0;

    if (n < 1000) {
        snprintf(ret, FORMAT_MAX, "%u B", (unsigned)n);
        return ret;
    }
    /* 999.95 would be printed as 1000.0 */
    while (v >= 999.95 && units[unit + 1]) {
        v /= 1000;
        unit++;
    }
    snprintf(ret, FORMAT_MAX, "%.1f %cB", v, units[unit]);
    return ret;
}

const char *format_duration(double seconds, char ret[static FORMAT_MAX]) {
    unsigned long long s;

    if (!(seconds >= 0)) {
        snprintf(ret, FORMAT_MAX, "-");
        return ret;
    }
    seconds = fmin(seconds, 1e15);
    s = (unsigned long long)llround(seconds);
    if (seconds < 59.995)
        snprintf(ret, FORMAT_MAX, "%.2f s", seconds);
    else if (s < 3600)
        snprintf(ret, FORMAT_MAX, "%llu min %llu s", s / 60, s % 60);
    else if (s < 24 * 3600)
        snprintf(ret, FORMAT_MAX, "%llu h %llu min", s / 3600, s / 60 % 60);
    else
        snprintf(ret, FORMAT_MAX, "%llu d %llu h", s / 86400, s / 3600 % 24);
    return ret;
}

const char *format_time(double epoch, char ret[static FORMAT_MAX]) {
    struct tm tm;
    time_t t;

    if (epoch >= 0 && epoch < 1e12) {
        t = (time_t)epoch;
        if (localtime_r(&t, &tm) && strftime(ret, FORMAT_MAX, "%Y-%m-%d %H:%M:%S", &tm) > 0)
            return ret;
    }
    snprintf(ret, FORMAT_MAX, "-");
    return ret;
}

/* The character at s, whose UTF-8 is well formed and n bytes long. */
static uint32_t utf8_value(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

struct range {
    uint32_t first, last;
};

static bool range_has(const struct range *ranges, size_t n, uint32_t c) {
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* C1, the line and paragraph separators, and what turns the direction of writing (Unicode, UAX 9).
 */
static bool is_unsafe(uint32_t c) {
    static const struct range unsafe[] = {
        {0x80, 0x9f}, {0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};

    return c >= 0x80 && range_has(unsafe, ELEMENTSOF(unsafe), c);
}

void format_printable(struct buf *b, const char *s) {
    const char *end = s + strlen(s);

    while (s < end) {
        size_t n = utf8_sequence(s, (size_t)(end - s));
        uint32_t c = n > 0 ? utf8_value(s, n) : 0;

        if (n == 0 || c < 0x20 || c == 0x7f)
            buf_addf(b, "\\x%02x", (unsigned char)*s);
        else if (is_unsafe(c))
            buf_addf(b, "\\u%04x", (unsigned)c);
        else
            buf_add(b, s, n);
        s += MAX(n, (size_t)1);
    }
}

/* Columns of one character; the wide ones are those of East Asian scripts and emoji (UAX 11). */
static unsigned char_width(uint32_t c) {
    static const struct range none[] = {{0x300, 0x36f}, {0x200b, 0x200d}, {0xfe00, 0xfe0f}};
    static const struct range wide[] = {{0x1100, 0x115f}, {0x2e80, 0xa4cf},   {0xac00, 0xd7a3},
                                        {0xf900, 0xfaff}, {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                                        {0xffe0, 0xffe6}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd}};

    if (c < 0x300)
        return 1;
    if (range_has(none, ELEMENTSOF(none), c))
        return 0;
    return range_has(wide, ELEMENTSOF(wide), c) ? 2 : 1;
}

/* Walks over s as far as width columns reach; *ret_columns is what was used of them. */
static size_t text_measure(const char *s, unsigned width, unsigned *ret_columns) {
    size_t at = 0, end = strlen(s);
    unsigned columns = 0;

    while (at < end) {
        size_t n = utf8_sequence(s + at, end - at);
        unsigned w = n > 0 ? char_width(utf8_value(s + at, n)) : 1;

        if (w > width - columns)
            break;
        columns += w;
        at += MAX(n, (size_t)1);
    }
    *ret_columns = columns;
    return at;
}

unsigned format_width(const char *s) {
    unsigned columns;

    text_measure(s, UINT32_MAX, &columns);
    return columns;
}

size_t format_fit(const char *s, unsigned width) {
    unsigned columns;

    return text_measure(s, width, &columns);
}
