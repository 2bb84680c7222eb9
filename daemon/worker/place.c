#include "daemon/worker/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "daemon/worker/unnamed.h"

/* A number found free may be taken by someone faster; as often as this is no coincidence any more.
 */
#define NUMBER_TRIES 1000

int place_taken(int dir_fd, const char *name) {
    if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}

static int number_taken(int dir_fd, const char *name, unsigned n) {
    char numbered[NAME_MAX_BYTES + 1];

    name_with_number(name, n, numbered);
    return place_taken(dir_fd, numbered);
}

int place_free_number(int dir_fd, const char *name, unsigned after, unsigned *ret) {
    unsigned taken = after, step = 1, free_one;
    int r;

    for (;;) {
        free_one = taken + step;
        if (free_one > PLACE_NUMBER_MAX)
            return -EEXIST;
        r = number_taken(dir_fd, name, free_one);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        taken = free_one;
        step *= 2;
    }
    while (free_one - taken > 1) {
        unsigned middle = taken + (free_one - taken) / 2;

        r = number_taken(dir_fd, name, middle);
        if (r < 0)
            return r;
        if (r > 0)
            taken = middle;
        else
            free_one = middle;
    }
    *ret = free_one;
    return 0;
}

static int is_directory(int dir_fd, const char *name) {
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return S_ISDIR(st.st_mode) ? 1 : 0;
}

int place_check(int dir_fd, const char *name, enum on_conflict conflict) {
    int r;

    if (conflict != CONFLICT_FAIL && conflict != CONFLICT_SKIP)
        return 0;
    r = place_taken(dir_fd, name);
    if (r <= 0)
        return r;
    if (conflict == CONFLICT_FAIL)
        return -EEXIST;
    r = is_directory(dir_fd, name);
    if (r < 0)
        return r;
    return r > 0 ? -EISDIR : 1;
}

/* For file systems whose rename can't refuse to replace (NFS, some of FUSE): a second link can.
 * What has neither (some others of FUSE) is refused: a look before the rename would let two jobs,
 * or others' files, replace each other, and an empty file made to hold the name could stay there.
 */
static int link_free(int dir_fd, const char *part, const char *name) {
    if (linkat(dir_fd, part, dir_fd, name, 0) < 0)
        return errno == EPERM || errno == ENOSYS ? -EOPNOTSUPP : -errno;
    unlinkat(dir_fd, part, 0); /* the file has its name; a second one left over does no harm */
    return 0;
}

/* What is to get a name: part, or what is open as fd, which has none. */
struct source {
    int dir_fd;
    const char *part;
    int fd; /* -1: it has its name */
};

static int name_free(const struct source *s, const char *name) {
    if (s->fd >= 0)
        return unnamed_link(s->fd, s->dir_fd, name);
    if (renameat2(s->dir_fd, s->part, s->dir_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EINVAL || errno == ENOSYS)
        return link_free(s->dir_fd, s->part, name);
    return -errno;
}

static int name_numbered(const struct source *s, const char *name, char *ret_name) {
    unsigned n = 0;
    int r = name_free(s, name);

    for (int i = 0; r == -EEXIST && i < NUMBER_TRIES; i++) {
        int found = place_free_number(s->dir_fd, name, n, &n);

        if (found < 0)
            return found;
        name_with_number(name, n, ret_name);
        r = name_free(s, ret_name);
    }
    return r;
}

static int rename_over(int dir_fd, const char *part, const char *name) {
    return renameat(dir_fd, part, dir_fd, name) < 0 ? -errno : 0;
}

/* Only a file that has a name can replace another. */
static int name_over(const struct source *s, const char *name) {
    int r;

    if (s->fd < 0)
        return rename_over(s->dir_fd, s->part, name);
    r = unnamed_link(s->fd, s->dir_fd, name);
    if (r != -EEXIST)
        return r;
    if (unlinkat(s->dir_fd, s->part, 0) < 0 && errno != ENOENT)
        return -errno;
    r = unnamed_link(s->fd, s->dir_fd, s->part);
    fault_point(replacement_linked);
    if (r == 0)
        r = rename_over(s->dir_fd, s->part, name);
    if (r < 0)
        unlinkat(s->dir_fd, s->part, 0);
    return r;
}

static int place(const struct source *s, const char *name, enum on_conflict conflict,
                 char *ret_name) {
    int r;

    snprintf(ret_name, NAME_MAX_BYTES + 1, "%s", name);
    if (conflict == CONFLICT_OVERWRITE)
        return name_over(s, name);
    if (conflict == CONFLICT_RENAME)
        return name_numbered(s, name, ret_name);
    r = name_free(s, name);
    if (r == -EEXIST && conflict == CONFLICT_SKIP) {
        r = place_check(s->dir_fd, name, conflict);
        return r == 0 ? name_free(s, name) : r;
    }
    return r;
}

int place_file(int dir_fd, const char *part, const char *name, enum on_conflict conflict,
               char *ret_name) {
    struct source s = {.dir_fd = dir_fd, .part = part, .fd = -1};

    return place(&s, name, conflict, ret_name);
}

int place_unnamed(int dir_fd, int fd, const char *part, const char *name, enum on_conflict conflict,
                  char *ret_name) {
    struct source s = {.dir_fd = dir_fd, .part = part, .fd = fd};

    return place(&s, name, conflict, ret_name);
}
