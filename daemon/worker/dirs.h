/*
 * dirs.h - directories beneath the output root, kept open.
 *
 * A path is relative to the root, without empty, "." or ".." components; "" is the root itself. It
 * is resolved by openat2() beneath the root and through no symbolic link, so that nothing outside
 * can be reached whatever is in the tree. Missing directories are made with exactly the mode given
 * (the process has umask 0), also while other processes make the same ones.
 *
 * Up to DIRS_KEPT directories stay open between uses, those used longest ago go first. One that was
 * moved away or replaced in the meantime is noticed after DIRS_TRUSTED at the latest. Everything
 * here belongs to the loop's thread, but for what struct dir says.
 */
#ifndef DLD_WORKER_DIRS_H
#define DLD_WORKER_DIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/worker/hash.h"

#define DIRS_KEPT 64
#define DIRS_TRUSTED UINT64_C(500000) /* microseconds */

struct dirs;

/* Can files be made in a directory without a name (unnamed.h)? */
enum dir_unnamed {
    UNNAMED_NEW,     /* no small file was made there yet, */
    UNNAMED_UNTRIED, /* only one by its name, */
    UNNAMED_WORKS,
    UNNAMED_FAILS,
};

/* An open directory. fd and path don't change as long as a reference is held. */
struct dir {
    int fd;     /* O_RDONLY, so that it can be synced */
    char *path; /* relative to the root */
    unsigned n_refs;
    uint64_t seen_usec; /* CLOCK_MONOTONIC: when it was last seen at its path */
    dev_t dev;          /* its file system */
    enum dir_unnamed unnamed; /* the loop's */

    /* The publishing thread's own. */
    bool settled;       /* its parents' entries that lead to it are known to be on disk */
    unsigned synced_in; /* number of the last round that synced it */
    int sync_error;     /* and what came of that */

    struct dir *prev, *next; /* by last use */
    UT_hash_handle hh;
};

/* Why something beneath the root is missing: -EIDRM: the root itself was removed, else -ENOENT. */
int dirs_why_missing(const struct dirs *d);

/* root_fd is the caller's and may be O_PATH; mode is for directories that are made. 0 or a negative
 * errno (-ENOSYS: the kernel has no openat2). */
int dirs_new(struct dirs **ret, int root_fd, mode_t mode);

/* Takes NULL, returns NULL. Directories still referenced stay usable. */
struct dirs *dirs_free(struct dirs *d);

/* Opens the directory of the first len bytes of path and returns a reference in *ret. 0 or a
 * negative errno: -ENOENT when it is missing and create is false; -ELOOP for a symbolic link,
 * -ENOTDIR for a file in its way. */
int dirs_open(struct dirs *d, const char *path, size_t len, bool create, struct dir **ret);

/* The directory was removed beneath us: the next dirs_open() looks again. */
void dirs_forget(struct dirs *d, struct dir *dir);

/* Takes NULL, returns NULL. */
struct dir *dir_unref(struct dir *dir);

/* A descriptor for the directory of a path, for a moment's use in any thread; or a negative errno.
 */
int dirs_open_fd(const struct dirs *d, const char *path);

/* Bytes of path that name its directory: "a/b/c" -> 3, "c" -> 0. */
size_t path_dir_len(const char *path);

#endif
