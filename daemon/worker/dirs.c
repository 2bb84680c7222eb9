#include "daemon/worker/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "common/fault.h"
#include "common/util.h"

#define OPEN_TRIES 8 /* EAGAIN: a rename ran into the path while it was resolved */

struct dirs {
    int root_fd;
    mode_t mode;
    struct dir *by_path;
    struct dir *by_use; /* the longest unused first */
    unsigned n;
};

static int open_beneath(int fd, const char *path) {
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long r = -1;

    for (int i = 0; i < OPEN_TRIES; i++) {
        r = syscall(SYS_openat2, fd, *path ? path : ".", &how, sizeof(how));
        if (r >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return r < 0 ? -errno : (int)r;
}

int dirs_open_fd(const struct dirs *d, const char *path) {
    return open_beneath(d->root_fd, path);
}

int dirs_why_missing(const struct dirs *d) {
    struct stat st;

    return fstat(d->root_fd, &st) == 0 && st.st_nlink == 0 ? -EIDRM : -ENOENT;
}

static int make_component(int parent, const char *name, mode_t mode) {
    int fd = open_beneath(parent, name);

    if (fd != -ENOENT)
        return fd;
    if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
        return -errno;
    fault_point(directory_made);
    return open_beneath(parent, name);
}

/* Walks down from the root, making what is missing. */
static int make_path(const struct dirs *d, const char *path) {
    _cleanup_free_ char *copy = strdup(path);
    _cleanup_close_ int fd = -1;
    char *rest = copy, *name;

    if (!copy)
        return -ENOMEM;
    while ((name = strsep(&rest, "/"))) {
        int child = make_component(fd < 0 ? d->root_fd : fd, name, d->mode);

        if (child < 0)
            return child;
        close_fd(fd);
        fd = child;
    }
    return TAKE_FD(fd);
}

int dirs_new(struct dirs **ret, int root_fd, mode_t mode) {
    struct dirs *d = calloc(1, sizeof(*d));
    int fd;

    if (!d)
        return -ENOMEM;
    d->mode = mode;
    d->root_fd = open_beneath(root_fd, "");
    if (d->root_fd < 0) {
        fd = d->root_fd;
        free(d);
        return fd;
    }
    *ret = d;
    return 0;
}

struct dir *dir_unref(struct dir *dir) {
    if (!dir || --dir->n_refs > 0)
        return NULL;
    close_fd(dir->fd);
    free(dir->path);
    free(dir);
    return NULL;
}

void dirs_forget(struct dirs *d, struct dir *dir) {
    struct dir *known = NULL;

    HASH_FIND_STR(d->by_path, dir->path, known);
    if (known != dir)
        return;
    HASH_DEL(d->by_path, dir);
    DL_DELETE(d->by_use, dir);
    d->n--;
    dir_unref(dir);
}

struct dirs *dirs_free(struct dirs *d) {
    if (!d)
        return NULL;
    while (d->by_use)
        dirs_forget(d, d->by_use);
    close_fd(d->root_fd);
    free(d);
    return NULL;
}

static int dir_new(const struct dirs *d, const char *path, size_t len, bool create,
                   struct dir **ret) {
    struct dir *dir = calloc(1, sizeof(*dir));
    struct stat st;
    int r = -ENOMEM;

    if (!dir)
        return r;
    dir->n_refs = 1;
    dir->seen_usec = now_usec(CLOCK_MONOTONIC);
    dir->fd = -1;
    dir->path = strndup(path, len);
    if (dir->path) {
        r = dirs_open_fd(d, dir->path);
        if (r == -ENOENT && create)
            r = make_path(d, dir->path);
        dir->fd = r;
        if (r >= 0 && fstat(r, &st) == 0)
            dir->dev = st.st_dev;
    }
    if (r < 0) {
        dir_unref(dir);
        return r;
    }
    *ret = dir;
    return 0;
}

/* Keeps dir for whoever asks next; where there is no memory for that, it just isn't kept. */
static void dirs_keep(struct dirs *d, struct dir *dir) {
    HASH_ADD_KEYPTR(hh, d->by_path, dir->path, strlen(dir->path), dir);
    if (!dir->hh.tbl)
        return;
    DL_APPEND(d->by_use, dir);
    dir->n_refs++;
    if (++d->n > DIRS_KEPT)
        dirs_forget(d, d->by_use);
}

/* Is the directory still the one at its path? Someone may have moved it, even out of the root. */
static bool dir_in_place(const struct dirs *d, struct dir *dir) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    struct stat then, here;
    _cleanup_close_ int fd = -1;

    if (now - dir->seen_usec < DIRS_TRUSTED)
        return true;
    fd = dirs_open_fd(d, dir->path);
    if (fd < 0 || fstat(fd, &here) < 0 || fstat(dir->fd, &then) < 0 || here.st_dev != then.st_dev ||
        here.st_ino != then.st_ino)
        return false;
    dir->seen_usec = now;
    return true;
}

int dirs_open(struct dirs *d, const char *path, size_t len, bool create, struct dir **ret) {
    struct dir *dir = NULL;
    int r;

    HASH_FIND(hh, d->by_path, path, len, dir);
    if (dir && !dir_in_place(d, dir)) {
        dirs_forget(d, dir);
        dir = NULL;
    }
    if (dir) {
        if (dir->next) {
            DL_DELETE(d->by_use, dir);
            DL_APPEND(d->by_use, dir);
        }
        dir->n_refs++;
    } else {
        r = dir_new(d, path, len, create, &dir);
        if (r < 0)
            return r;
        dirs_keep(d, dir);
    }
    *ret = dir;
    return 0;
}

size_t path_dir_len(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) : 0;
}
