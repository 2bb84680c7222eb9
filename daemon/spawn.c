#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "common/wire.h"

extern char **environ;

int spawn_find_worker(char **ret) {
    static const char *const places[] = {"/dld-worker", "/../libexec/dld/dld-worker"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (n < 0)
        return -errno;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < ELEMENTSOF(places); i++) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s%s", self, places[i]) < 0) {
            path = NULL;
            return -ENOMEM;
        }
        if (access(path, X_OK) == 0) {
            *ret = TAKE_PTR(path);
            return 0;
        }
    }
    return -ENOENT;
}

/* Copies above the numbers that the child is to find them at, so that no dup2() overwrites
 * another's source. */
static int add_fd(posix_spawn_file_actions_t *actions, int fd, int number, int *copy) {
    *copy = fcntl(fd, F_DUPFD_CLOEXEC, WORKER_FD_MAX_);
    return *copy < 0 ? errno : posix_spawn_file_actions_adddup2(actions, *copy, number);
}

static int add_fds(posix_spawn_file_actions_t *actions, const int *fds, int n, int stderr_fd,
                   int *copies) {
    int r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    for (int i = 0; i < n && r == 0; i++) {
        if (fds[i] >= 0)
            r = add_fd(actions, fds[i], WORKER_FD_CHANNEL + i, &copies[i]);
    }
    return r == 0 ? add_fd(actions, stderr_fd, STDERR_FILENO, &copies[n]) : r;
}

static int set_attributes(posix_spawnattr_t *attr) {
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    r = posix_spawnattr_setsigmask(attr, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(attr, &all);
    if (r == 0)
        r = posix_spawnattr_setpgroup(attr, 0);
    if (r == 0)
        r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                               POSIX_SPAWN_SETPGROUP);
    return r;
}

int spawn_worker(const char *path, const int *fds, int n, int stderr_fd, pid_t *ret) {
    char *argv[] = {(char *)"dld-worker", NULL};
    int copies[WORKER_FD_MAX_] = {-1, -1, -1, -1, -1, -1, -1, -1};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int r;

    r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attr);
    if (r == 0) {
        r = set_attributes(&attr);
        if (r == 0)
            r = add_fds(&actions, fds, n, stderr_fd, copies);
        if (r == 0)
            r = posix_spawn(ret, path, &actions, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i <= n; i++)
        close_fd(copies[i]);
    return -r;
}
