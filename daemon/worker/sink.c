#include "daemon/worker/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"
#include "daemon/worker/owner.h"
#include "daemon/worker/unnamed.h"

void sink_init(struct sink *s, const struct sink_settings *settings) {
    *s = (struct sink){.settings = settings, .fd = -1};
}

void sink_done(struct sink *s) {
    sink_discard(s);
    free(TAKE_PTR(s->buffer));
}

void sink_begin(struct sink *s, int64_t job, const char *output) {
    s->job = job;
    s->output = output;
    s->used = 0;
    s->size = 0;
    s->expected = 0;
    s->reserved = s->sparse = false;
    s->dev = 0;
}

void sink_expect(struct sink *s, uint64_t bytes) {
    s->expected = bytes;
}

/* A part file left over is removed, not truncated: it may be another link to a published file, or
 * what the store says is kept. It is held open until there is a new one, whose inode is another one
 * therefore. */
static int part_create(struct sink *s) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    mode_t mode = s->settings->file_mode;
    _cleanup_close_ int old = -1;

    s->fd = openat(s->dir->fd, s->part, flags, mode);
    if (s->fd >= 0 || errno != EEXIST)
        return s->fd < 0 ? -errno : 0;
    old = openat(s->dir->fd, s->part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (unlinkat(s->dir->fd, s->part, 0) < 0 && errno != ENOENT)
        return -errno;
    s->fd = openat(s->dir->fd, s->part, flags, mode);
    return s->fd < 0 ? -errno : 0;
}

uint64_t part_mark(int fd) {
    const uint64_t spread = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / the golden ratio */
    struct statx st;
    uint64_t mark;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
        return 0;
    mark = st.stx_ino * spread;
    if (st.stx_mask & STATX_BTIME)
        mark = (mark ^ (uint64_t)st.stx_btime.tv_sec) * spread ^ st.stx_btime.tv_nsec;
    return mark != 0 ? mark : 1;
}

/* All of the body is in the buffer. Where it can't be, the part file is made as for any other. */
static void sink_open_unnamed(struct sink *s) {
    bool named;

    part_name(s->part, s->settings->store_id, s->job);
    if (dirs_open(s->settings->dirs, s->output, path_dir_len(s->output), true, &s->dir) < 0)
        return;
    s->fd = unnamed_open(s->dir, s->part, s->settings->file_mode, &named);
    if (s->fd < 0) {
        s->fd = -1;
        s->dir = dir_unref(s->dir);
        return;
    }
    s->unnamed = !named;
    s->dev = s->dir->dev;
}

static int sink_open(struct sink *s) {
    struct dirs *dirs = s->settings->dirs;
    int r = 0;

    part_name(s->part, s->settings->store_id, s->job);
    /* Twice, as a directory that was kept open may have been removed. */
    for (int i = 0; i < 2; i++) {
        r = dirs_open(dirs, s->output, path_dir_len(s->output), true, &s->dir);
        if (r < 0)
            return r == -ENOENT ? dirs_why_missing(dirs) : r;
        r = part_create(s);
        if (r != -ENOENT)
            break;
        dirs_forget(dirs, s->dir);
        s->dir = dir_unref(s->dir);
    }
    if (r < 0)
        s->dir = dir_unref(s->dir);
    fault_point(part_opened);
    return r == -ENOENT ? dirs_why_missing(dirs) : r;
}

/* Only as it was left: that regular file, with this one name, and no shorter. */
static int part_reopen(struct sink *s, uint64_t offset, uint64_t least, uint64_t mark) {
    struct stat st;

    s->fd = openat(s->dir->fd, s->part, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || (uint64_t)st.st_size < least)
        return -ESTALE;
    if (mark == 0 || part_mark(s->fd) != mark)
        return -ESTALE;
    if (ftruncate(s->fd, (off_t)least) < 0)
        return -errno;
    fault_point(part_reopened);
    s->size = offset;
    s->dev = st.st_dev;
    return 0;
}

int sink_resume(struct sink *s, uint64_t offset, uint64_t least, uint64_t mark) {
    int r;

    part_name(s->part, s->settings->store_id, s->job);
    r = dirs_open(s->settings->dirs, s->output, path_dir_len(s->output), false, &s->dir);
    if (r == 0)
        r = part_reopen(s, offset, least, mark);
    if (r < 0) {
        s->fd = close_fd(s->fd);
        s->dir = dir_unref(s->dir);
    }
    return r;
}

int sink_restart(struct sink *s) {
    _cleanup_close_ int old = TAKE_FD(s->fd);

    s->used = 0;
    s->size = 0;
    return old < 0 ? 0 : part_create(s);
}

/* At *size, which counts what was written, also before an error. */
static int write_all(int fd, const char *p, size_t n, uint64_t *size) {
    while (n > 0) {
        fault_point(write_due);
        ssize_t written = pwrite(fd, p, n, (off_t)*size);
        fault_point(write_done);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        p += written;
        n -= (size_t)written;
        *size += (uint64_t)written;
    }
    return 0;
}

/* Takes room for n bytes; they may only be written where there is some for all that will come. */
static int sink_take(struct sink *s, size_t n) {
    struct room *room = s->settings->room;
    int r;

    if (!room || s->reserved)
        return 0;
    r = room_check(room, s->fd, s->dev, MAX(s->expected, n), now_usec(CLOCK_MONOTONIC));
    if (r < 0)
        return r;
    room_take(room, n);
    s->expected -= MIN(s->expected, n);
    return 0;
}

/* Makes the part file, unless it is there. */
static int sink_need(struct sink *s) {
    int r;

    if (s->fd >= 0)
        return 0;
    r = sink_open(s);
    if (r == 0)
        s->dev = s->dir->dev;
    return r;
}

static int sink_put(struct sink *s, const char *p, size_t n) {
    int r = sink_need(s);

    if (r == 0)
        r = sink_take(s, n);
    return r < 0 ? r : write_all(s->fd, p, n, &s->size);
}

static int sink_flush(struct sink *s) {
    size_t n = s->used;

    s->used = 0;
    return sink_put(s, s->buffer, n);
}

int sink_settle(struct sink *s) {
    return s->used > 0 ? sink_flush(s) : 0;
}

int sink_reserve(struct sink *s, uint64_t total) {
    struct stat st;
    int r = sink_need(s);

    if (r >= 0)
        r = sink_take(s, 0);
    if (r < 0)
        return r;
    if (fstat(s->fd, &st) < 0)
        return -errno;
    s->sparse = true;
    s->reserved = fallocate(s->fd, 0, 0, (off_t)total) == 0;
    if (!s->reserved && errno == ENOSPC) /* it may have got some of it */
        return ftruncate(s->fd, st.st_size) < 0 ? -errno : -ENOSPC;
    if (s->reserved && s->settings->room)
        room_take(s->settings->room, s->expected);
    s->expected = 0; /* whoever shares the file takes of it too */
    return 0;
}

int sink_share(struct sink *s, const struct sink *of, uint64_t from) {
    s->fd = fcntl(of->fd, F_DUPFD_CLOEXEC, 0);
    if (s->fd < 0)
        return -errno;
    s->dev = of->dev;
    s->size = from;
    s->reserved = of->reserved;
    return 0;
}

int sink_write(struct sink *s, const void *p, size_t n) {
    size_t size = s->settings->buffer;
    int r = 0;

    if (n > size - s->used && s->used > 0)
        r = sink_flush(s);
    if (r < 0)
        return r;
    if (n >= size)
        return sink_put(s, p, n);
    if (!s->buffer) {
        s->buffer = malloc(size);
        if (!s->buffer)
            return -ENOMEM;
    }
    memcpy(s->buffer + s->used, p, n);
    s->used += n;
    return 0;
}

/* Without the mark a file is as good; only a job done again after a crash won't know it. */
static int sink_mark(const struct sink *s, unsigned http_status) {
    static bool told;
    int r = owner_mark(s->fd, s->settings->store_id, s->job, http_status);

    fault_point(part_marked);
    if (r == -ENOTSUP || r == -EPERM || r == -ENOSYS) {
        if (!told)
            log_notice(
                "the file system of the output has no extended attributes: a job interrupted by "
                "a crash may leave a second copy of its file");
        told = true;
        return 0;
    }
    return r;
}

static void sink_hand_over(struct sink *s, struct parcel *ret) {
    size_t dir_len = path_dir_len(s->output);

    ret->fd = TAKE_FD(s->fd);
    ret->dir = TAKE_PTR(s->dir);
    ret->name = s->output + dir_len + (dir_len > 0 ? 1 : 0);
    ret->unnamed = s->unnamed;
    ret->reserved = s->sparse;
    s->unnamed = false;
    memcpy(ret->part, s->part, sizeof(ret->part));
}

int sink_keep(struct sink *s, struct parcel *ret) {
    int r = s->used > 0 ? sink_flush(s) : 0;

    if (s->fd < 0)
        return r < 0 ? r : -ENOENT;
    sink_hand_over(s, ret); /* after an error, what was written before it */
    return 0;
}

int sink_finish(struct sink *s, unsigned http_status, struct parcel *ret) {
    int r;

    if (s->fd < 0 && s->settings->unnamed)
        sink_open_unnamed(s);
    r = s->used > 0 || s->fd < 0 ? sink_flush(s) : 0;
    if (r == 0)
        r = sink_mark(s, http_status);
    if (r < 0 && s->unnamed)
        sink_discard(s);
    if (r < 0)
        return r;
    sink_hand_over(s, ret);
    return 0;
}

void sink_leave(struct sink *s) {
    s->used = 0;
    s->fd = close_fd(s->fd);
    s->dir = dir_unref(s->dir);
}

void sink_discard(struct sink *s) {
    if (s->fd >= 0 && !s->unnamed)
        part_unlink(s->dir, s->part);
    if (s->unnamed)
        s->size = 0; /* there is nothing left to go on with */
    s->unnamed = false;
    sink_leave(s);
}
