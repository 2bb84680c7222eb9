#include "daemon/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define ORPHANS_TIMEOUT (10 * USEC_PER_SEC)
#define ORPHANS_POLL_MS 10

int make_directories(const char *path, unsigned mode) {
    _cleanup_free_ char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(copy, c ? 0755 : (mode_t)mode) < 0 && errno != EEXIST)
            return -errno;
        *p = c;
        if (!c)
            return 0;
    }
}

static int open_lock(const char *state_dir, const char *name) {
    _cleanup_free_ char *path = NULL;
    int fd;

    if (asprintf(&path, "%s/%s", state_dir, name) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fd = -errno;
        log_error("%s can't be opened: %s", path, strerror(errno));
    }
    return fd;
}

static int lock_error(const char *state_dir, int error) {
    log_error("%s can't be locked: %s", state_dir, strerror(error));
    return -error;
}

static int log_busy(int fd, const char *state_dir) {
    char pid[32] = "";

    if (pread(fd, pid, sizeof(pid) - 1, 0) < 0)
        pid[0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    log_error(
        "another daemon (pid %s) uses the state directory %s; stop it, or give this one another "
        "with --state-dir",
        *pid ? pid : "unknown", state_dir);
    return -EBUSY;
}

static int write_pid(int fd) {
    char text[32];
    int n = snprintf(text, sizeof(text), "%d\n", getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return -errno;
    return 0;
}

static int lock_master(int fd, const char *state_dir) {
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? log_busy(fd, state_dir) : lock_error(state_dir, errno);
    return write_pid(fd) < 0 ? lock_error(state_dir, errno) : 0;
}

static int lock_workers(int fd, const char *state_dir) {
    uint64_t deadline = now_usec(CLOCK_MONOTONIC) + ORPHANS_TIMEOUT;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return lock_error(state_dir, errno);
        if (now_usec(CLOCK_MONOTONIC) > deadline) {
            log_error(
                "workers of a daemon that is gone still run on %s; kill the processes dld-worker "
                "and start again",
                state_dir);
            return -EBUSY;
        }
        poll(NULL, 0, ORPHANS_POLL_MS);
    }
    return 0;
}

int state_dir_lock(const char *state_dir, struct state_lock *ret) {
    _cleanup_close_ int master = open_lock(state_dir, "lock"), workers = -1;
    int r = master < 0 ? master : lock_master(master, state_dir);

    if (r < 0)
        return r;
    workers = open_lock(state_dir, "workers.lock");
    r = workers < 0 ? workers : lock_workers(workers, state_dir);
    if (r < 0)
        return r;
    *ret = (struct state_lock){.master = TAKE_FD(master), .workers = TAKE_FD(workers)};
    return 0;
}

void state_dir_unlock(struct state_lock *lock) {
    lock->master = close_fd(lock->master);
    lock->workers = close_fd(lock->workers);
}
