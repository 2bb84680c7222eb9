#include "daemon/worker/unnamed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/util.h"

/* The kernel before 6.10 lets only the privileged name a file by its descriptor alone. */
int unnamed_link(int fd, int dir_fd, const char *name) {
    char path[64];

    if (linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int unnamed_open(struct dir *dir, const char *part, mode_t mode, bool *ret_named) {
    _cleanup_close_ int fd = -1;
    int r;

    *ret_named = false;
    if (dir->unnamed == UNNAMED_NEW) {
        dir->unnamed = UNNAMED_UNTRIED;
        return -EOPNOTSUPP;
    }
    if (dir->unnamed == UNNAMED_FAILS)
        return -EOPNOTSUPP;
    fd = openat(dir->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (fd < 0) /* what else is wrong is seen again when it is made by name */
        return -EOPNOTSUPP;
    if (dir->unnamed == UNNAMED_UNTRIED) {
        r = unnamed_link(fd, dir->fd, part);
        if (r == -EEXIST)
            return -EOPNOTSUPP;
        dir->unnamed = r == 0 ? UNNAMED_WORKS : UNNAMED_FAILS;
        if (r < 0)
            return -EOPNOTSUPP;
        *ret_named = true;
        fault_point(unnamed_linked);
    }
    return TAKE_FD(fd);
}
