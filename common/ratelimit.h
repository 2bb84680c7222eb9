/*
 * ratelimit.h - limits on bytes a second that many processes keep together, without a message.
 *
 * One memfd, mapped by the master and all workers, holds buckets. A bucket is a rate and the time
 * up to which its bytes are spent (virtual scheduling): bytes taken move that time on by what they
 * cost. While it lies ahead, takers wait; lying behind, it is credit, of RATE_BURST at most. Bytes
 * that have arrived can't be refused, so a bucket may go into debt, by what one take is worth.
 *
 * Bucket 0 is the limit of all; the master gives the others to hosts. A process may also have a
 * bucket of its own, which is a plain struct ratelimit_bucket, zero at first.
 *
 * Each field is atomic by itself, and nobody trusts what is there: a worker that writes nonsense
 * makes transfers slower or faster than they should be. The master reads none of it. Times are
 * nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef DLD_RATELIMIT_H
#define DLD_RATELIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

#define RATE_NONE UINT64_C(0) /* no limit */
#define RATE_MIN KIB          /* bytes a second: a slower one is refused */
#define RATE_MAX (KIB * KIB * MIB)
#define RATE_BURST UINT64_C(100000000)      /* 100 ms: credit that a bucket may gather */
#define RATE_HORIZON UINT64_C(600000000000) /* 10 min: more debt than this is nonsense */

#define RATELIMIT_GLOBAL 0 /* the bucket of all */
#define RATELIMIT_MAX_BUCKETS (1u << 20)

struct ratelimit_bucket {
    _Atomic uint64_t rate; /* bytes a second, RATE_NONE */
    _Atomic uint64_t next; /* up to when bytes are spent */
};

/* A cache line each: processes write them all the time. */
struct ratelimit_line {
    struct ratelimit_bucket bucket;
} __attribute__((aligned(64)));

struct ratelimit {
    uint32_t n_buckets;
    struct ratelimit_line *lines; /* shared */
};

/* Master: makes a sealed memfd for n_buckets and maps it. 0 or a negative errno. */
int ratelimit_create(uint32_t n_buckets, struct ratelimit *ret, int *ret_fd);

/* Worker: maps what it inherited, as large as it is; -EBADMSG if that makes no sense. */
int ratelimit_map(int fd, struct ratelimit *ret);

/* Unmaps; *r becomes zero. A zero one is left alone. */
void ratelimit_done(struct ratelimit *r);

/* A new rate, which holds at once: what was spent at the old one is forgotten. */
void bucket_set(struct ratelimit_bucket *b, uint64_t rate, uint64_t now);

/* Whether it limits at all: a relaxed load, for the way that all bytes take. */
static inline bool bucket_limits(const struct ratelimit_bucket *b) {
    return atomic_load_explicit(&b->rate, memory_order_relaxed) != RATE_NONE;
}

/* How long to wait before bytes may be taken; 0: now. The wait includes some credit, so that a
 * taker wakes up some twenty times a second, not for each piece. */
uint64_t bucket_wait(struct ratelimit_bucket *b, uint64_t now);

/* Bytes were taken. */
void bucket_take(struct ratelimit_bucket *b, uint64_t bytes, uint64_t now);

/* CLOCK_MONOTONIC. */
uint64_t ratelimit_now(void);

/* "none", "0", or bytes a second as parse_size() reads them. -EINVAL, or -ERANGE unless from
 * RATE_MIN to RATE_MAX. */
int rate_parse(const char *s, uint64_t *ret);

#endif
