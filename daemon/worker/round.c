#include "daemon/worker/round.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <utlist.h>

#include "common/fault.h"
#include "common/util.h"

#define TOGETHER_MIN 16                   /* files */
#define TOGETHER_USEC (2 * USEC_PER_MSEC) /* for each, which is no better than by itself */
#define TOGETHER_PAUSE (30 * USEC_PER_SEC)

/* A directory above others that was synced in this round. */
struct synced {
    UT_hash_handle hh;
    char path[];
};

static bool is_going(const struct parcel *p) {
    return p->error == 0 && p->work == PARCEL_PUBLISH;
}

/* It has its name, or is to get it. */
static bool is_file(const struct parcel *p) {
    return is_going(p) || (p->error == 0 && p->work == PARCEL_CHECK);
}

static void check(struct parcel *list) {
    struct parcel *p;

    DL_FOREACH(list, p) {
        if (p->unread)
            parcel_check(p);
        if (p->error < 0 && p->work == PARCEL_PUBLISH)
            parcel_discard(p);
    }
}

/* Does syncfs() bring all to the disk there? Not so where that is a server's to do: FUSE's may know
 * nothing of it. */
static bool may_sync_all(int fd) {
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

/* Many files of one file system at once, which costs it far less than each by itself, unless others
 * have left it much to write: then not again for a while. */
static void sync_together(struct parcel *list) {
    static uint64_t not_before; /* usec of CLOCK_MONOTONIC */
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    const struct dir *dir = NULL;
    struct parcel *p;
    unsigned n = 0;

    DL_FOREACH(list, p) {
        if (is_file(p) && (!dir || p->dir->dev == dir->dev)) {
            dir = p->dir;
            n++;
        }
    }
    if (n < TOGETHER_MIN || now < not_before || !may_sync_all(dir->fd) || syncfs(dir->fd) < 0)
        return;
    if (now_usec(CLOCK_MONOTONIC) - now > n * TOGETHER_USEC)
        not_before = now + TOGETHER_PAUSE;
    /* syncfs() doesn't say which file could not be written, or that one couldn't before; this does. */
    DL_FOREACH(list, p) {
        p->synced = is_file(p) && p->dir->dev == dir->dev &&
                    sync_file_range(p->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) == 0;
    }
}

static void sync_data(struct parcel *list) {
    struct parcel *p;

    DL_FOREACH(list, p) {
        p->synced = false;
    }
    sync_together(list);
    /* All are set going before any is waited for. */
    DL_FOREACH(list, p) {
        if (is_file(p) && !p->synced)
            sync_file_range(p->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    DL_FOREACH(list, p) {
        if (is_file(p) && !p->synced && fsync(p->fd) < 0) {
            p->error = -errno;
            if (p->work == PARCEL_PUBLISH)
                parcel_discard(p);
        }
    }
}

/* The directory too, or an older part file could come back under the name. */
static void sync_kept(struct parcel *list) {
    struct parcel *p;

    DL_FOREACH(list, p) {
        if ((p->work == PARCEL_KEEP || p->work == PARCEL_SAVE) &&
            (fdatasync(p->fd) < 0 || fsync(p->dir->fd) < 0))
            p->error = -errno;
    }
}

static int sync_path(const struct dirs *dirs, const char *path) {
    _cleanup_close_ int fd = dirs_open_fd(dirs, path);

    if (fd < 0)
        return fd;
    return fsync(fd) < 0 ? -errno : 0;
}

/* Not remembering that it was synced, for want of memory, only costs another sync. */
static void remember(struct synced **seen, const char *path, size_t len) {
    struct synced *s = malloc(sizeof(*s) + len + 1);

    if (!s)
        return;
    memcpy(s->path, path, len + 1);
    HASH_ADD(hh, *seen, path, len, s);
    if (!s->hh.tbl)
        free(s);
}

static int sync_above(const struct dirs *dirs, const char *path, struct synced **seen) {
    _cleanup_free_ char *above = strdup(path);
    size_t len;

    if (!above)
        return -ENOMEM;
    do {
        struct synced *s = NULL;
        int r;

        len = path_dir_len(above);
        above[len] = '\0';
        HASH_FIND(hh, *seen, above, len, s);
        if (s)
            return 0; /* then so are those above it */
        r = sync_path(dirs, above);
        if (r < 0)
            return r;
        remember(seen, above, len);
    } while (len > 0);
    return 0;
}

static int sync_dir(const struct dirs *dirs, struct dir *dir, struct synced **seen) {
    int r = 0;

    if (fsync(dir->fd) < 0)
        return -errno;
    if (!dir->settled && *dir->path)
        r = sync_above(dirs, dir->path, seen);
    dir->settled = r == 0;
    return r;
}

static void sync_dirs(struct parcel *list, const struct dirs *dirs, unsigned number) {
    struct synced *seen = NULL, *s, *next;
    struct parcel *p;

    DL_FOREACH(list, p) {
        if (!is_file(p) || p->skipped)
            continue;
        if (p->dir->synced_in != number) {
            p->dir->synced_in = number;
            p->dir->sync_error = sync_dir(dirs, p->dir, &seen);
        }
        p->error = p->dir->sync_error;
    }
    HASH_ITER(hh, seen, s, next) {
        HASH_DEL(seen, s);
        free(s);
    }
}

void round_publish(struct parcel *list, const struct dirs *dirs, unsigned number) {
    struct parcel *p;

    check(list);
    if (number != 0) {
        fault_point(sync_due);
        sync_data(list);
        fault_point(data_synced);
        sync_kept(list);
        fault_point(kept_synced);
    }
    DL_FOREACH(list, p) {
        if (is_going(p))
            parcel_name(p);
    }
    if (number != 0) {
        fault_point(directories_due);
        sync_dirs(list, dirs, number);
        fault_point(directories_synced);
    }
    DL_FOREACH(list, p) {
        if (p->work == PARCEL_PUBLISH && p->fd >= 0 && p->error < 0)
            parcel_unname(p);
        else if (p->work == PARCEL_PUBLISH)
            p->fd = close_fd(p->fd);
    }
}
