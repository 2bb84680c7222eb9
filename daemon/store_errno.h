/*
 * store_errno.h - what SQLite's last error means.
 *
 * Private to the store.
 */
#ifndef DLD_STORE_ERRNO_H
#define DLD_STORE_ERRNO_H

#include <sqlite3.h>

/* As a negative errno:
 *
 *     -EUCLEAN  the file is damaged, or none of SQLite's
 *     -EIO      it can't be read or written, or anything else
 *     -ENOSPC   no room, also by a quota or a limit on the size of files
 *     -EROFS, -EACCES, -EBUSY, -ENOMEM */
int store_errno(sqlite3 *sqlite);

/* The same, with what to say of the file at path, and what to do, in *ret_why: a new string for the
 * log, NULL where there is no memory. */
int store_errno_explain(sqlite3 *sqlite, const char *path, char **ret_why);

#endif
