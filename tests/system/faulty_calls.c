/*
 * faulty_calls.c - LD_PRELOAD: system calls of dld, dld-worker or dlctl that fail when a test says so.
 *
 * The environment's FAULTY_CALLS names a file with one struct rule, which all processes share: the k-th call of
 * that name in that program and those behind it, `times` in all, fail with that error, or do less than they were asked to
 * (SHORT). Every call that the rule is for counts k down, so that the test sees how many there were.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SHORT (-1)

struct rule {
    int32_t k, times, error;
    char program[16], call[24];
};

static struct rule *rule;

static __attribute__((constructor)) void rule_map(void) {
    const char *path = getenv("FAULTY_CALLS");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    void *p;

    if (fd < 0)
        return;
    p = (void *)syscall(SYS_mmap, 0L, sizeof(*rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (p != MAP_FAILED && strcmp(((struct rule *)p)->program, program_invocation_short_name) == 0)
        rule = p;
}

/* The error that this call is to fail with, SHORT, or 0. */
static int fault(const char *call) {
    int32_t k;

    if (!rule || strcmp(rule->call, call) != 0)
        return 0;
    k = __atomic_fetch_sub(&rule->k, 1, __ATOMIC_SEQ_CST);
    return k <= 1 && k > 1 - rule->times ? rule->error : 0;
}

static void *next(const char *name) {
    void *p = dlsym(RTLD_NEXT, name);

    if (!p)
        abort();
    return p;
}

/* A function `symbol` that counts as the call `name`, and fails as `failure` says. */
#define WRAP(type, symbol, name, parameters, arguments, failure)                                   \
    type symbol parameters {                                                                       \
        static type(*real) parameters;                                                             \
        int error = fault(name);                                                                   \
                                                                                                   \
        if (error > 0)                                                                             \
            failure;                                                                               \
        if (!real)                                                                                 \
            *(void **)&real = next(#symbol);                                                       \
        return real arguments;                                                                     \
    }
#define FAIL                                                                                       \
    do {                                                                                           \
        errno = error;                                                                             \
        return -1;                                                                                 \
    } while (0)
#define CALL(type, symbol, parameters, arguments)                                                  \
    WRAP(type, symbol, #symbol, parameters, arguments, FAIL)

/* One that may do less: n bytes. Of a packet nothing less can be sent. */
static size_t less(int error, size_t n) {
    return error == SHORT && n > 1 ? n / 2 : n;
}
static size_t less_sent(int error, int fd, size_t n) {
    int type = 0;
    socklen_t size = sizeof(type);

    if (error != SHORT || syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return n;
    return type == SOCK_STREAM ? less(error, n) : n;
}

/* ---- files ---- */

#define OPEN(symbol, name, first, pass)                                                            \
    int symbol(first const char *path, int flags, ...) {                                           \
        int error = fault(name);                                                                   \
        mode_t mode = 0;                                                                           \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, flags);                                                                       \
        if (flags & (O_CREAT | __O_TMPFILE))                                                       \
            mode = va_arg(ap, mode_t);                                                             \
        va_end(ap);                                                                                \
        if (error > 0)                                                                             \
            FAIL;                                                                                  \
        return (int)syscall(SYS_openat, pass path, flags, mode);                                   \
    }
#define COMMA ,
#define NOTHING
OPEN(open, "open", NOTHING, AT_FDCWD COMMA)
OPEN(open64, "open", NOTHING, AT_FDCWD COMMA)
OPEN(openat, "openat", int dir COMMA, dir COMMA)
OPEN(openat64, "openat", int dir COMMA, dir COMMA)

long syscall(long number, ...) {
    static long (*real)(long, ...);
    int error = number == SYS_openat2 ? fault("openat2") : 0;
    va_list ap;
    long a[6];

    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (error > 0)
        FAIL;
    if (!real)
        *(void **)&real = next("syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define FCNTL(symbol)                                                                              \
    int symbol(int fd, int cmd, ...) {                                                             \
        int error = cmd == F_DUPFD_CLOEXEC ? fault("dupfd") : 0;                                   \
        va_list ap;                                                                                \
        long arg;                                                                                  \
                                                                                                   \
        va_start(ap, cmd);                                                                         \
        arg = va_arg(ap, long);                                                                    \
        va_end(ap);                                                                                \
        if (error > 0)                                                                             \
            FAIL;                                                                                  \
        return (int)syscall(SYS_fcntl, fd, cmd, arg);                                              \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* Of eventfds and the like only what may be: that a signal comes. */
#define PLAIN(symbol, parameters, arguments)                                                       \
    ssize_t symbol parameters {                                                                    \
        static ssize_t(*real) parameters;                                                          \
        int error = is_file(fd) || (rule && rule->error == EINTR) ? fault(#symbol) : 0;            \
                                                                                                   \
        if (error > 0)                                                                             \
            FAIL;                                                                                  \
        if (!real)                                                                                 \
            *(void **)&real = next(#symbol);                                                       \
        return real arguments;                                                                     \
    }
static int is_file(int fd) {
    struct stat st;

    return syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
}
PLAIN(read, (int fd, void *p, size_t n), (fd, p, less(error, n)))
PLAIN(write, (int fd, const void *p, size_t n), (fd, p, less(error, n)))
WRAP(ssize_t, pread, "pread", (int fd, void *p, size_t n, off_t at), (fd, p, less(error, n), at), FAIL)
WRAP(ssize_t, pread64, "pread", (int fd, void *p, size_t n, off_t at), (fd, p, less(error, n), at), FAIL)
WRAP(ssize_t, pwrite, "pwrite", (int fd, const void *p, size_t n, off_t at), (fd, p, less(error, n), at), FAIL)
WRAP(ssize_t, pwrite64, "pwrite", (int fd, const void *p, size_t n, off_t at), (fd, p, less(error, n), at),
     FAIL)
CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
CALL(int, syncfs, (int fd), (fd))
WRAP(int, ftruncate, "ftruncate", (int fd, off_t n), (fd, n), FAIL)
WRAP(int, ftruncate64, "ftruncate", (int fd, off_t n), (fd, n), FAIL)
WRAP(int, fstat, "fstat", (int fd, struct stat *st), (fd, st), FAIL)
WRAP(int, fstat64, "fstat", (int fd, struct stat64 *st), (fd, st), FAIL)
WRAP(int, stat, "stat", (const char *path, struct stat *st), (path, st), FAIL)
WRAP(int, stat64, "stat", (const char *path, struct stat64 *st), (path, st), FAIL)
CALL(int, fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags))
CALL(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *st), (fd, path, flags, mask, st))
CALL(int, fstatvfs, (int fd, struct statvfs *st), (fd, st))
WRAP(off_t, lseek, "lseek", (int fd, off_t at, int whence), (fd, at, whence), FAIL)
WRAP(off_t, lseek64, "lseek", (int fd, off_t at, int whence), (fd, at, whence), FAIL)
CALL(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
CALL(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
CALL(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
CALL(int, unlink, (const char *path), (path))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode))
CALL(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
CALL(int, access, (const char *path, int mode), (path, mode))
CALL(int, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags))
CALL(int, fsetxattr, (int fd, const char *name, const void *p, size_t n, int flags), (fd, name, p, n, flags))
CALL(ssize_t, fgetxattr, (int fd, const char *name, void *p, size_t n), (fd, name, p, n))
CALL(int, sync_file_range, (int fd, off64_t from, off64_t n, unsigned flags), (fd, from, n, flags))
CALL(int, flock, (int fd, int operation), (fd, operation))
CALL(ssize_t, readlink, (const char *path, char *p, size_t n), (path, p, n))
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags))

WRAP(void *, mmap, "mmap", (void *at, size_t n, int prot, int flags, int fd, off_t offset),
     (at, n, prot, flags, fd, offset), {
         errno = error;
         return MAP_FAILED;
     })

/* ---- sockets ---- */

CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
CALL(int, connect, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n))
CALL(int, bind, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n))
CALL(int, listen, (int fd, int n), (fd, n))
CALL(int, accept4, (int fd, struct sockaddr *from, socklen_t *n, int flags), (fd, from, n, flags))
CALL(int, getsockopt, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n))
CALL(int, setsockopt, (int fd, int level, int name, const void *p, socklen_t n), (fd, level, name, p, n))
CALL(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(int, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(int, shutdown, (int fd, int how), (fd, how))
CALL(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, less_sent(error, fd, n), flags))
CALL(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, less_sent(error, fd, n), flags))

/* ---- the rest ---- */

CALL(int, epoll_create1, (int flags), (flags))
/* Only adding one takes memory. */
WRAP(int, epoll_ctl, op == EPOLL_CTL_ADD ? "epoll_ctl" : "",
     (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev), FAIL)
CALL(int, epoll_wait, (int e, struct epoll_event *ev, int n, int ms), (e, ev, n, ms))
CALL(int, eventfd, (unsigned n, int flags), (n, flags))
CALL(int, timerfd_create, (int clock, int flags), (clock, flags))
CALL(int, timerfd_settime, (int fd, int flags, const struct itimerspec *a, struct itimerspec *b), (fd, flags, a, b))
CALL(int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
CALL(int, poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms))
CALL(int, ppoll, (struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask), (fds, n, t, mask))
CALL(ssize_t, getrandom, (void *p, size_t n, unsigned flags), (p, n, flags))

WRAP(int, posix_spawn, "posix_spawn",
     (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
      char *const *argv, char *const *env),
     (pid, path, actions, attr, argv, env), return error)
WRAP(int, pthread_create, "pthread_create",
     (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
     (thread, attr, start, arg), return error)
