#include "common/ratelimit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC UINT64_C(1000000000)

/* ---- memory ---- */

static int map(int fd, uint32_t n_buckets, struct ratelimit *ret) {
    void *p = mmap(NULL, n_buckets * sizeof(struct ratelimit_line), PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return -errno;
    *ret = (struct ratelimit){.n_buckets = n_buckets, .lines = p};
    return 0;
}

int ratelimit_create(uint32_t n_buckets, struct ratelimit *ret, int *ret_fd) {
    _cleanup_close_ int fd = memfd_create("dld-rates", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (fd < 0)
        return -errno;
    if (n_buckets == 0 || n_buckets > RATELIMIT_MAX_BUCKETS)
        return -EINVAL;
    if (ftruncate(fd, (off_t)(n_buckets * sizeof(struct ratelimit_line))) < 0)
        return -errno;
    /* Sealed, so that no worker can shrink it and the master get SIGBUS. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    r = map(fd, n_buckets, ret);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

int ratelimit_map(int fd, struct ratelimit *ret) {
    struct stat st;
    uint64_t n;

    if (fstat(fd, &st) < 0)
        return -errno;
    n = (uint64_t)st.st_size / sizeof(struct ratelimit_line);
    if (st.st_size <= 0 || st.st_size % sizeof(struct ratelimit_line) != 0 ||
        n > RATELIMIT_MAX_BUCKETS)
        return -EBADMSG;
    return map(fd, (uint32_t)n, ret);
}

void ratelimit_done(struct ratelimit *r) {
    if (r->lines)
        munmap(r->lines, r->n_buckets * sizeof(struct ratelimit_line));
    *r = (struct ratelimit){0};
}

/* ---- buckets ---- */

uint64_t ratelimit_now(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* In this order, so that a taker that has computed with the old rate finds the time changed. */
void bucket_set(struct ratelimit_bucket *b, uint64_t rate, uint64_t now) {
    atomic_store(&b->rate, rate);
    atomic_store(&b->next, now);
}

uint64_t bucket_wait(struct ratelimit_bucket *b, uint64_t now) {
    uint64_t next;

    if (!bucket_limits(b))
        return 0;
    next = atomic_load_explicit(&b->next, memory_order_relaxed);
    if (next <= now)
        return 0;
    if (next - now > RATE_HORIZON) {
        atomic_compare_exchange_strong(&b->next, &next, now);
        return 0;
    }
    return next - now + RATE_BURST / 2;
}

void bucket_take(struct ratelimit_bucket *b, uint64_t bytes, uint64_t now) {
    uint64_t next = atomic_load(&b->next), rate, from;

    do {
        rate = atomic_load(&b->rate);
        if (rate == RATE_NONE)
            return;
        from = MAX(next, now > RATE_BURST ? now - RATE_BURST : 0);
    } while (!atomic_compare_exchange_weak(
        &b->next, &next, from + (uint64_t)((__uint128_t)bytes * NSEC_PER_SEC / rate)));
}

/* ---- text ---- */

int rate_parse(const char *s, uint64_t *ret) {
    uint64_t n;
    int r;

    if (streq(s, "none")) {
        *ret = RATE_NONE;
        return 0;
    }
    r = parse_size(s, &n);
    if (r < 0)
        return r;
    if (n != 0 && (n < RATE_MIN || n > RATE_MAX))
        return -ERANGE;
    *ret = n;
    return 0;
}
