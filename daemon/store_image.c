#include "daemon/store_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"

#define LOG_HEADER 32
#define FRAME_HEADER 24
#define LOG_MAGIC 0x377f0682  /* the last bit: checksums are of big-endian words */
#define FRAMES_MAX (1u << 26) /* 256 GiB */

struct frame {
    uint32_t page;
    bool mine, commit, good; /* of this generation; ends a transaction; its checksum is right */
};

struct log {
    struct frame *frames; /* owned */
    uint32_t n;
    uint32_t end; /* frames up to the last commit that counts */
    bool damaged;
};

struct sum {
    uint32_t a, b;
};

static struct sum sum_add(struct sum s, const uint8_t *p, size_t n, bool big) {
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint32_t x = image_u32(p + i), y = image_u32(p + i + 4);

        s.a += (big ? x : __builtin_bswap32(x)) + s.b;
        s.b += (big ? y : __builtin_bswap32(y)) + s.a;
    }
    return s;
}

static struct sum sum_read(const uint8_t *p) {
    return (struct sum){image_u32(p), image_u32(p + 4)};
}

static bool sum_equal(struct sum x, struct sum y) {
    return x.a == y.a && x.b == y.b;
}

/* Reads n bytes at offset, or less at the end of the file. */
static ssize_t read_at(int fd, uint8_t *to, size_t n, uint64_t offset) {
    size_t got = 0;

    while (got < n) {
        ssize_t k = pread(fd, to + got, n - got, (off_t)(offset + got));

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -errno;
        if (k == 0)
            break;
        got += (size_t)k;
    }
    return (ssize_t)got;
}

static uint64_t frame_at(uint32_t i) {
    return LOG_HEADER + (uint64_t)i * (FRAME_HEADER + IMAGE_PAGE);
}

/* ---- the log ---- */

/* What each frame is by itself. *ret_broken is the first that a reader would stop at. */
static int frames_read(int fd, struct log *l, uint32_t *ret_broken) {
    uint8_t header[LOG_HEADER] = {0}, frame[FRAME_HEADER + IMAGE_PAGE];
    ssize_t n = read_at(fd, header, sizeof(header), 0);
    bool big = image_u32(header) & 1, whole;
    uint8_t salt[8];
    struct sum sum = sum_read(header + 24);

    if (n < 0)
        return (int)n;
    whole = (image_u32(header) & ~1u) == LOG_MAGIC && image_u32(header + 8) == IMAGE_PAGE &&
            sum_equal(sum_add((struct sum){0}, header, 24, big), sum);
    *ret_broken = whole ? UINT32_MAX : 0;
    memcpy(salt, header + 16, sizeof(salt));
    for (uint32_t i = 0; i < l->n; i++) {
        struct frame *f = &l->frames[i];

        n = read_at(fd, frame, sizeof(frame), frame_at(i));
        if (n != (ssize_t)sizeof(frame))
            return n < 0 ? (int)n : -EIO;
        if (i == 0 && !whole)
            memcpy(salt, frame + 8, sizeof(salt));
        f->page = image_u32(frame);
        f->commit = image_u32(frame + 4) > 0;
        f->mine = f->page > 0 && memcmp(frame + 8, salt, sizeof(salt)) == 0;
        sum = sum_add(sum, frame, 8, big);
        sum = sum_add(sum, frame + FRAME_HEADER, IMAGE_PAGE, big);
        f->good = f->mine && sum_equal(sum, sum_read(frame + 16));
        if (!f->good)
            *ret_broken = MIN(*ret_broken, i);
        sum = sum_read(frame + 16);
    }
    return 0;
}

static void log_judge(struct log *l, uint32_t broken) {
    uint32_t last = 0; /* of this generation, a commit behind the broken one */

    for (uint32_t i = 0; i < l->n; i++) {
        if (i < broken && l->frames[i].commit)
            l->end = i + 1;
        if (i >= broken && l->frames[i].mine && last > 0)
            l->damaged = true;
        if (i >= broken && l->frames[i].mine && l->frames[i].commit)
            last = i + 1;
    }
    if (l->damaged)
        l->end = last;
}

static int log_read(int fd, struct log *ret) {
    uint32_t broken = 0;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size <= LOG_HEADER)
        return 0;
    ret->n = (uint32_t)MIN((uint64_t)(st.st_size - LOG_HEADER) / (FRAME_HEADER + IMAGE_PAGE),
                           (uint64_t)FRAMES_MAX);
    ret->frames = calloc(ret->n + 1, sizeof(*ret->frames));
    if (!ret->frames)
        return -ENOMEM;
    int r = frames_read(fd, ret, &broken);
    if (r >= 0)
        log_judge(ret, broken);
    return r;
}

static void log_done(struct log *l) {
    free(l->frames);
}

static int log_open(const char *path) {
    _cleanup_free_ char *name = NULL;

    if (asprintf(&name, "%s-wal", path) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

int image_log_damaged(const char *path) {
    _cleanup_close_ int fd = log_open(path);
    _cleanup_(log_done) struct log l = {0};

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = log_read(fd, &l);
    return r < 0 ? r : l.damaged;
}

/* ---- pages ---- */

static int pages_find(struct image *im, const struct log *l) {
    struct stat st = {0};

    if (im->fd >= 0 && fstat(im->fd, &st) < 0)
        return -errno;
    uint64_t n = (uint64_t)st.st_size / IMAGE_PAGE;
    uint64_t most = n + l->n; /* each frame adds a page at most: others are wrong numbers */
    for (uint32_t i = 0; i < l->end; i++)
        if (l->frames[i].good && l->frames[i].page <= most)
            n = MAX(n, l->frames[i].page);
    if (n >= UINT32_MAX)
        return -EFBIG;
    im->frames = calloc(n + 1, sizeof(*im->frames));
    if (!im->frames)
        return -ENOMEM;
    im->n_pages = (uint32_t)n;
    for (uint32_t i = 0; i < l->end; i++)
        if (l->frames[i].good && l->frames[i].page <= n)
            im->frames[l->frames[i].page] = i + 1;
    return 0;
}

int image_open(struct image *ret, const char *path) {
    _cleanup_(log_done) struct log l = {0};

    *ret = (struct image){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), .log_fd = -1};
    if (ret->fd < 0 && errno != ENOENT)
        return -errno;
    ret->log_fd = log_open(path);
    if (ret->log_fd < 0 && (ret->log_fd != -ENOENT || ret->fd < 0))
        return ret->log_fd;
    int r = ret->log_fd >= 0 ? log_read(ret->log_fd, &l) : 0;
    if (r < 0)
        return r;
    ret->log_damaged = l.damaged;
    return pages_find(ret, &l);
}

void image_done(struct image *im) {
    close_fd(im->fd);
    close_fd(im->log_fd);
    free(im->frames);
    *im = (struct image){.fd = -1, .log_fd = -1};
}

int image_page(const struct image *im, uint32_t n, uint8_t page[IMAGE_PAGE]) {
    uint32_t frame = im->frames[n];
    ssize_t got = frame > 0
                      ? read_at(im->log_fd, page, IMAGE_PAGE, frame_at(frame - 1) + FRAME_HEADER)
                      : read_at(im->fd, page, IMAGE_PAGE, (uint64_t)(n - 1) * IMAGE_PAGE);

    if (got < 0)
        return (int)got;
    memset(page + got, 0, IMAGE_PAGE - (size_t)got);
    return 0;
}
