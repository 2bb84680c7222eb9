#include "daemon/store_errno.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/store_repair.h"

/* Of the file at hand; 0: none. sqlite3_system_errno() has forgotten it by now. */
static int errno_of(sqlite3_file *file) {
    int error = 0;

    if (!file || !file->pMethods ||
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) != SQLITE_OK)
        return 0;
    return error;
}

static int file_errno(sqlite3 *sqlite, int which) {
    sqlite3_file *file = NULL;

    return sqlite3_file_control(sqlite, "main", which, &file) == SQLITE_OK ? errno_of(file) : 0;
}

/* SQLite tells a full disk from other failed writes, but not from other failed syncs, and not a
 * quota or a limit on the size of files, which are a full disk to whoever has them. */
static int write_errno(sqlite3 *sqlite) {
    int error = file_errno(sqlite, SQLITE_FCNTL_JOURNAL_POINTER);

    return error == EDQUOT || error == EFBIG || error == ENOSPC ? -ENOSPC : -EIO;
}

/* To SQLite a page that can't be read is damage, too. */
static int damage_errno(sqlite3 *sqlite) {
    return file_errno(sqlite, SQLITE_FCNTL_FILE_POINTER) == EIO ||
                   file_errno(sqlite, SQLITE_FCNTL_JOURNAL_POINTER) == EIO
               ? -EIO
               : -EUCLEAN;
}

int store_errno(sqlite3 *sqlite) {
    int code = sqlite3_extended_errcode(sqlite);

    /* A file that may only be read is opened nevertheless, and then can't be locked. */
    if ((code & 0xff) == SQLITE_IOERR && sqlite3_db_readonly(sqlite, "main") == 1)
        return -EACCES;
    switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return damage_errno(sqlite);
    case SQLITE_BUSY:
        return -EBUSY;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return -ENOMEM;
        return code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_FSYNC ? write_errno(sqlite)
                                                                        : -EIO;
    default:
        return -EIO;
    }
}

static void explain(char **ret_why, const char *fmt, ...) _printf_(2, 3);

static void explain(char **ret_why, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(ret_why, fmt, ap) < 0)
        *ret_why = NULL;
    va_end(ap);
}

int store_errno_explain(sqlite3 *sqlite, const char *path, char **ret_why) {
    const char *text = sqlite3_errmsg(sqlite);
    int code = sqlite3_extended_errcode(sqlite), r = store_errno(sqlite);

    switch (r) {
    case -EUCLEAN:
        *ret_why = repair_advice(path, text);
        break;
    case -EBUSY:
        explain(ret_why, "%s is in use by another program: end that one first", path);
        break;
    case -ENOMEM:
        explain(ret_why, "%s can't be used: out of memory", path);
        break;
    case -ENOSPC:
        explain(ret_why, "%s can't be written, its file system is full: make room there", path);
        break;
    case -EROFS:
    case -EACCES:
        explain(ret_why,
                "%s can't be written (%s): check the permissions of the file and its directory",
                path, (code & 0xff) == SQLITE_IOERR ? strerror(EACCES) : text);
        break;
    default:
        explain(ret_why, "%s can't be used: %s (SQLite error %d)%s", path,
                (code & 0xff) == SQLITE_CORRUPT ? strerror(EIO) : text, code,
                (code & 0xff) == SQLITE_ERROR ? "" : ": look for disk errors in the kernel's log");
    }
    return r;
}
