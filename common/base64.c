#include "common/base64.h"

#include <errno.h>
#include <stdbool.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void group_encode(char *to, const uint8_t *from, size_t n) {
    uint32_t bits =
        (uint32_t)from[0] << 16 | (n > 1 ? (uint32_t)from[1] << 8 : 0) | (n > 2 ? from[2] : 0);

    to[0] = digits[bits >> 18];
    to[1] = digits[bits >> 12 & 63];
    to[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
    to[3] = n > 2 ? digits[bits & 63] : '=';
}

void base64_encode(char *ret, const uint8_t *data, size_t n) {
    for (; n > 0; ret += 4) {
        size_t step = n < 3 ? n : 3;

        group_encode(ret, data, step);
        data += step;
        n -= step;
    }
}

static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many bytes the four characters stand for, or -EINVAL. */
static int group_decode(uint8_t *to, const char *from, bool last) {
    int n = !last || from[3] != '=' ? 3 : from[2] != '=' ? 2 : 1;
    uint32_t bits = 0;

    for (int i = 0; i < 4; i++) {
        int v = i <= n ? digit_value(from[i]) : 0;

        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)v;
    }
    if (bits & ((UINT32_C(1) << (24 - 8 * n)) - 1))
        return -EINVAL;
    for (int i = 0; i < n; i++)
        to[i] = (uint8_t)(bits >> (16 - 8 * i));
    return n;
}

ssize_t base64_decode_text(uint8_t *ret, const char *s, size_t n) {
    uint8_t *to = ret;

    if (n % 4 != 0)
        return -EINVAL;
    for (; n > 0; s += 4, n -= 4) {
        int got = group_decode(to, s, n == 4);

        if (got < 0)
            return got;
        to += got;
    }
    return to - ret;
}
