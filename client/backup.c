#include "client/dlctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/connect.h"
#include "client/format.h"
#include "client/options.h"
#include "client/print.h"
#include "common/base64.h"
#include "common/exitcode.h"
#include "common/text.h"

/* The file, without a name until it is complete, so that nothing of it is left where dlctl is ended
 * before; under another one on file systems that have no such files. */
struct copy {
    const char *path;
    char *temporary; /* owned; the file's name, NULL: it has none */
    int fd;
    uint64_t size;
};

static void copy_done(struct copy *f) {
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    close_fd(f->fd);
}

static int complain_file(const struct copy *f, int error) {
    complain("%s cannot be written: %s", f->path, strerror(-error));
    return DLCTL_JOB_FAILED;
}

/* Is the queue of a daemon that runs in it? SQLite locks bytes from 1 GiB on. */
static bool is_in_use(const char *path) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* May it be replaced, if it is there? */
static int check_path(const char *path) {
    const char *what = NULL;
    struct stat st;

    if (streq(path, "-"))
        what = "a backup is a file, not standard output; name one";
    else if (lstat(path, &st) < 0)
        return DLCTL_OK;
    else if (!S_ISREG(st.st_mode))
        what = "it is there and no regular file; name another";
    else if (is_in_use(path))
        what = "it is a queue that is in use; name another";
    if (!what)
        return DLCTL_OK;
    complain("%s cannot be the backup: %s", path, what);
    return DLCTL_USAGE;
}

/* There are secrets in it: only its owner may read it. */
static int copy_make(struct copy *f) {
    _cleanup_free_ char *path = strdup(f->path), *name = NULL;

    if (!path || asprintf(&name, "%s.XXXXXX", f->path) < 0)
        return -ENOMEM;
    f->fd = open(dirname(path), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return 0;
    f->fd = mkostemp(name, O_CLOEXEC);
    if (f->fd < 0)
        return -errno;
    f->temporary = TAKE_PTR(name);
    return 0;
}

/* Gives it a name from which rename() can take it to its own. */
static int copy_link(struct copy *f) {
    char link[64], *name;
    int r = 0;

    if (asprintf(&name, "%s.%d", f->path, getpid()) < 0)
        return -ENOMEM;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
    if (linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0)
        r = -errno;
    else
        f->temporary = TAKE_PTR(name);
    free(name);
    return r;
}

static int write_all(int fd, const uint8_t *data, size_t n) {
    while (n > 0) {
        ssize_t wrote = write(fd, data, n);

        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0) {
            data += wrote;
            n -= (size_t)wrote;
        }
    }
    return 0;
}

static int sync_directory(const char *path) {
    _cleanup_free_ char *copy = strdup(path);
    _cleanup_close_ int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (!copy)
        return -ENOMEM;
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int copy_finish(struct copy *f) {
    int r = fsync(f->fd) < 0 ? -errno : 0;

    if (r == 0 && !f->temporary)
        r = copy_link(f);
    if (r < 0)
        return r;
    if (rename(f->temporary, f->path) < 0)
        return -errno;
    free(TAKE_PTR(f->temporary));
    return sync_directory(f->path);
}

/* Asks for a piece and adds it to the file. 0 with *ret_next, -1: that was all; or an exit status. */
static int copy_piece(struct copy *f, struct rpc *rpc, int64_t *io_number, int64_t *io_next) {
    _cleanup_(buf_done) struct buf b = BUF_INIT(KIB);
    _cleanup_free_ uint8_t *data = NULL;
    json_t *result = NULL;
    const char *text;
    ssize_t n = -EINVAL;
    int r;

    json_begin(&b, NULL, '{');
    if (*io_number > 0) {
        json_int(&b, "backup", *io_number);
        json_int(&b, "offset", *io_next);
    }
    json_end(&b, '}');
    r = rpc_call(rpc, "backup", &b, &result);
    if (r < 0)
        return rpc_complain(rpc, r);
    text = get_text(result, "data");
    if (text && (data = malloc(strlen(text) + 1)))
        n = base64_decode_text(data, text, strlen(text));
    *io_number = get_int(result, "backup", 0);
    *io_next = get_int(result, "next", -1);
    json_decref(result);
    if (n < 0 || (n == 0 && *io_next >= 0))
        return rpc_complain(rpc, -EBADMSG);
    r = write_all(f->fd, data, (size_t)n);
    f->size += (uint64_t)n;
    return r < 0 ? complain_file(f, r) : 0;
}

static int copy_all(struct copy *f, struct rpc *rpc) {
    int64_t number = 0, next = 0;
    int r;

    while (next >= 0) {
        r = copy_piece(f, rpc, &number, &next);
        if (r != 0)
            return r;
    }
    r = copy_finish(f);
    return r < 0 ? complain_file(f, r) : 0;
}

int verb_backup(struct dlctl *c, int argc, char **argv) {
    static const struct usage usage = {
        "backup", "FILE",
        "Copy the queue, as it is at one moment, into FILE, which can take the place of queue.db\n"
        "when dld does not run: see dlctl(1). The daemon goes on meanwhile.\n"};
    const struct option_spec specs[] = {{0}};
    _cleanup_(rpc_close) struct rpc rpc = RPC_INIT(NULL);
    _cleanup_(copy_done) struct copy f = {.fd = -1};
    char text[FORMAT_MAX];
    int r = options_parse(c, &usage, specs, &argc, argv);

    if (r == 0 && argc != 1) {
        complain("backup needs the name of one file; see dlctl backup --help");
        return DLCTL_USAGE;
    }
    if (r != 0)
        return options_status(r);
    f.path = argv[0];
    if (c->json && !text_is_utf8(f.path)) {
        complain("%s cannot be told in JSON, as it is not UTF-8; leave --json out", f.path);
        return DLCTL_USAGE;
    }
    r = check_path(f.path);
    if (r == DLCTL_OK)
        r = client_connect(c, &rpc);
    if (r != 0)
        return r;
    r = copy_make(&f);
    if (r < 0)
        return complain_file(&f, r);
    r = copy_all(&f, &rpc);
    if (r != 0)
        return r;
    if (c->json) {
        json_t *result = json_pack("{s:s, s:I}", "file", f.path, "bytes", (json_int_t)f.size);

        if (!result)
            return complain_memory();
        print_json(result);
        json_decref(result);
    } else
        printf("The queue is in %s (%s).\n", f.path, format_bytes(f.size, text));
    print_flush();
    return DLCTL_OK;
}
