/*
 * unnamed.h - files that have no name until they are complete.
 *
 * A small file is in memory before anything of it is written; it needs no part file that a crash
 * leaves behind, and making a file and then linking it under its name (O_TMPFILE, linkat()) costs a
 * third less than making it under one name and renaming it to another, more where several processes
 * make files in one directory. What becomes of it after a power cut is another matter: without a
 * journal the link may reach the disk before the inode that it is to. So only what isn't synced is
 * made in this way.
 *
 * Not every file system can do it, or lets us: each directory is tried once, with a file that has
 * the part file's name in between, before one is made that nothing but its last name leads to.
 */
#ifndef DLD_WORKER_UNNAMED_H
#define DLD_WORKER_UNNAMED_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/worker/dirs.h"

/* Makes a file in dir and returns its descriptor. *ret_named: it has the name part. -EOPNOTSUPP: it
 * is to be made by name, here or at this time; the first of a directory always is, because it
 * may be the only one. The loop's thread. */
int unnamed_open(struct dir *dir, const char *part, mode_t mode, bool *ret_named);

/* Gives it a name. Nothing is replaced: -EEXIST. 0 or a negative errno. */
int unnamed_link(int fd, int dir_fd, const char *name);

#endif
