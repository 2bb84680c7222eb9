#include "common/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

int close_fd(int fd) {
    if (fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return -1;
}

void standard_fds_hold(void) {
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = 0; fd < (int)ELEMENTSOF(modes); fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) < 0)
            return;
}

uint64_t now_usec(clockid_t clock) {
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

struct timespec timespec_of(uint64_t usec) {
    return (struct timespec){
        .tv_sec = (time_t)(usec / USEC_PER_SEC),
        .tv_nsec = (long)(usec % USEC_PER_SEC * 1000),
    };
}

int parse_u64(const char *s, uint64_t *ret) {
    uint64_t n = 0;

    if (!*s)
        return -EINVAL;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            return -EINVAL;
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return -ERANGE;
    }
    *ret = n;
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

/* "1.5 ms": a number without sign or exponent, blanks, a unit of the table (NULL-terminated; "" is
 * what no unit means), which compare() finds equal. */
static int parse_with_unit(const char *s, const struct unit *units,
                           int (*compare)(const char *, const char *), uint64_t *ret) {
    size_t digits = strspn(s, "0123456789"), n = digits;
    double v;

    if (s[n] == '.')
        n += 1 + strspn(s + n + 1, "0123456789");
    if (digits == 0 || s[n - 1] == '.' || n > 30)
        return -EINVAL;
    v = strtod(s, NULL);
    s += n;
    s += strspn(s, " ");
    for (; units->name; units++)
        if (compare(s, units->name) == 0)
            break;
    if (!units->name)
        return -EINVAL;
    v *= units->factor;
    if (v >= 9e18)
        return -ERANGE;
    *ret = (uint64_t)llround(v);
    return 0;
}

int parse_duration(const char *s, uint64_t *ret_usec) {
    static const struct unit units[] = {
        {"", 1e6},    {"us", 1},  {"ms", 1e3},  {"s", 1e6},     {"sec", 1e6},
        {"min", 6e7}, {"m", 6e7}, {"h", 3.6e9}, {"d", 8.64e10}, {NULL, 0},
    };

    return parse_with_unit(s, units, strcmp, ret_usec); /* M is a size */
}

int parse_size(const char *s, uint64_t *ret_bytes) {
    static const struct unit units[] = {
        {"", 1},          {"B", 1},           {"K", KIB},       {"KiB", KIB},
        {"M", MIB},       {"MiB", MIB},       {"G", KIB * MIB}, {"GiB", KIB * MIB},
        {"T", MIB * MIB}, {"TiB", MIB * MIB}, {NULL, 0},
    };

    return parse_with_unit(s, units, strcasecmp, ret_bytes);
}

#define NEAREST_MAX 40 /* characters of the longest word compared */

/* Levenshtein's distance, case ignored. */
static unsigned edit_distance(const char *a, const char *b) {
    unsigned row[NEAREST_MAX + 1];
    size_t n = strlen(a), m = strlen(b);

    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned up = row[j];
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);

            row[j] = MIN(MIN(row[j], row[j - 1]) + 1, diagonal + !same);
            diagonal = up;
        }
    }
    return row[m];
}

const char *nearest(const char *s, const char *const *candidates) {
    const char *best = NULL;
    unsigned best_distance = (unsigned)MIN(strlen(s) / 3 + 1, (size_t)3) + 1;

    for (; *candidates; candidates++) {
        unsigned d = edit_distance(s, *candidates);

        if (d < best_distance && d < strlen(*candidates)) {
            best = *candidates;
            best_distance = d;
        }
    }
    return best;
}

size_t utf8_sequence(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    size_t len;

    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}
