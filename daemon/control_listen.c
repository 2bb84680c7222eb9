#include "daemon/control.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int make_parent(const char *path) {
    _cleanup_free_ char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    return mkdir(dirname(copy), 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* A socket that nobody listens on any more is in the way: -EADDRINUSE where somebody does. */
static int remove_stale(const struct sockaddr_un *address) {
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    if (fd < 0)
        return -errno;
    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int give_to_group(const char *path, const char *group) {
    struct group *g;

    if (!*group)
        return 0;
    g = getgrnam(group);
    if (!g)
        return -ENOENT;
    return chown(path, (uid_t)-1, g->gr_gid) < 0 ? -errno : 0;
}

int control_listen(const char *path, unsigned mode, const char *group) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -1;
    int r;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    r = make_parent(path);
    if (r == 0)
        r = remove_stale(&address);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* Nobody may connect before owner and mode are right. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    r = give_to_group(path, group);
    if (r < 0)
        return r;
    if (chmod(path, (mode_t)mode) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return TAKE_FD(fd);
}
