/*
 * place.h - giving a finished part file its name, atomically.
 *
 * Part and target are names in one directory. A name that is taken is never replaced unless
 * on_conflict says overwrite, also when other processes want it at the same moment. Any thread.
 */
#ifndef DLD_WORKER_PLACE_H
#define DLD_WORKER_PLACE_H

#include <stdbool.h>

#include "common/naming.h"

/* The highest number that a name gets. */
#define PLACE_NUMBER_MAX 10000000u

/* Whether there is anything of that name, be it a dangling symbolic link. 1, 0 or a negative errno.
 */
int place_taken(int dir_fd, const char *name);

/* The smallest number above after whose name was found free, supposing that names are taken without
 * gaps: doubling steps, then bisection, so that a million copies cost forty looks. after itself is
 * taken (0: the name without a number). -EEXIST beyond PLACE_NUMBER_MAX. */
int place_free_number(int dir_fd, const char *name, unsigned after, unsigned *ret);

/* What is known before anything is fetched: 0: go on; 1: on_conflict is skip and a file is there;
 * -EEXIST: on_conflict is fail and something is there; -EISDIR: skip, but it is a directory. */
int place_check(int dir_fd, const char *name, enum on_conflict conflict);

/* Renames part. 0: ret_name (NAME_MAX_BYTES + 1 bytes) has the name it got; 1: on_conflict is skip
 * and a file is there, part is left. Or a negative errno, part is left: -EEXIST for on_conflict
 * fail, -EISDIR for a directory in its place, -EOPNOTSUPP where the file system can't take a name
 * without replacing what may be there. */
int place_file(int dir_fd, const char *part, const char *name, enum on_conflict conflict,
               char *ret_name);

/* The same for a file that has no name yet (unnamed.h). part is a name that it may have in between,
 * where one is to be replaced. After an error or 1 it has none. */
int place_unnamed(int dir_fd, int fd, const char *part, const char *name, enum on_conflict conflict,
                  char *ret_name);

#endif
