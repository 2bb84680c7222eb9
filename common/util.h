/*
 * util.h - small things every file needs: clean-up attributes, time, numbers.
 *
 * Functions return 0 or a negative errno; ret_ parameters are untouched on failure.
 */
#ifndef DLD_UTIL_H
#define DLD_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define DLD_VERSION "0.1.0"

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_INFINITY UINT64_MAX

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

/* Hands over ownership: the value of the variable, which becomes NULL (-1 for TAKE_FD). */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) *pp_ = &(p);                                                                 \
        __typeof__(p) v_ = *pp_;                                                                   \
        *pp_ = NULL;                                                                               \
        v_;                                                                                        \
    })
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int *pfd_ = &(fd);                                                                         \
        int v_ = *pfd_;                                                                            \
        *pfd_ = -1;                                                                                \
        v_;                                                                                        \
    })

static inline void freep(void *p) {
    free(*(void **)p);
}

/* Of the standard descriptors gives those that are closed to /dev/null, so that no file that is opened
 * later is taken for one of them; reading standard input, and writing the others, then fails. */
void standard_fds_hold(void);

/* Closes fd unless it is negative, keeps errno, returns -1: `fd = close_fd(fd)`. */
int close_fd(int fd);

static inline void closep(int *fd) {
    *fd = close_fd(*fd);
}

static inline bool streq(const char *a, const char *b) {
    return __builtin_strcmp(a, b) == 0;
}

/* Microseconds of a clock: CLOCK_MONOTONIC for intervals, CLOCK_REALTIME for what is kept or shown.
 */
uint64_t now_usec(clockid_t clock);
struct timespec timespec_of(uint64_t usec);

/* A number in base 10 and nothing else. -EINVAL for anything but digits, -ERANGE beyond 64 bits. */
int parse_u64(const char *s, uint64_t *ret);

/* "1.5 s", "50ms", "10" (seconds), "2min", "1h", "7d" into microseconds; units in small letters.
 * -EINVAL, -ERANGE. */
int parse_duration(const char *s, uint64_t *ret_usec);

/* "20M", "64 KiB", "1G", "512" into bytes; K, M, G and T are powers of 1024, in any case.
 * -EINVAL, -ERANGE. */
int parse_size(const char *s, uint64_t *ret_bytes);

/* The candidate with the smallest edit distance to s, or NULL when none is close enough to be what
 * was meant. candidates ends with NULL. */
const char *nearest(const char *s, const char *const *candidates);

/* Length of the well-formed UTF-8 sequence at s (1 to 4), 0 if there is none within n bytes.
 * Overlong forms and surrogates are not well formed (RFC 3629 section 3). */
size_t utf8_sequence(const char *s, size_t n);

#endif
