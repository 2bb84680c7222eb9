#include "daemon/job_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/util.h"

#define DIGEST_MAX 64

static const struct algorithm {
    const char *name, *expected;
    size_t bytes;
} algorithms[] = {
    {"sha-256", "\"sha-256:<64 hex digits>\"", 32},
    {"sha-512", "\"sha-512:<128 hex digits>\"", 64},
    {"sha-1", "\"sha-1:<40 hex digits>\"", 20},
    {"md5", "\"md5:<32 hex digits>\"", 16},
};

static const struct algorithm *algorithm_find(const char *name, size_t n) {
    for (const struct algorithm *a = algorithms; a < algorithms + ELEMENTSOF(algorithms); a++)
        if (strlen(a->name) == n && strncasecmp(a->name, name, n) == 0)
            return a;
    return NULL;
}

/* RFC 4648 section 4, with its padding and nothing in the bits left over; exactly n bytes. */
static int base64_decode(const char *s, uint8_t *ret, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(s), used = (n * 8 + 5) / 6, out = 0;
    uint32_t bits = 0;

    if (len != (n + 2) / 3 * 4 || strspn(s, digits) != used || strspn(s + used, "=") != len - used)
        return -EINVAL;
    for (size_t i = 0; i < used; i++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, s[i]) - digits);
        if (i % 4 > 0)
            ret[out++] = (uint8_t)(bits >> (6 - i % 4 * 2));
    }
    return used % 4 > 0 && bits & ((1u << (used % 4 == 2 ? 4 : 2)) - 1) ? -EINVAL : 0;
}

int job_checksum_parse(const char *s, char ret[JOB_CHECKSUM_MAX], const char **ret_expected) {
    size_t n = strcspn(s, ":");
    const struct algorithm *a = algorithm_find(s, n);
    const char *digest = s + n + 1;
    uint8_t bytes[DIGEST_MAX] = {0};

    *ret_expected = a ? a->expected : "\"sha-256:<64 hex digits>\" (or sha-512, sha-1, md5)";
    if (!a || !s[n])
        return -EINVAL;
    n = (size_t)snprintf(ret, JOB_CHECKSUM_MAX, "%s:", a->name);
    if (strlen(digest) == a->bytes * 2 &&
        strspn(digest, "0123456789abcdefABCDEF") == a->bytes * 2) {
        for (size_t i = 0; i <= a->bytes * 2; i++)
            ret[n + i] = (char)tolower((unsigned char)digest[i]);
        return 0;
    }
    if (base64_decode(digest, bytes, a->bytes) < 0)
        return -EINVAL;
    for (size_t i = 0; i < a->bytes; i++)
        snprintf(ret + n + i * 2, 3, "%02x", bytes[i]);
    return 0;
}
