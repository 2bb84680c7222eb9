/*
 * store_backup.h - a copy of the queue while it is in use, and a queue that comes from one.
 *
 * Private to the store. All that is in the write-ahead log is moved into queue.db, which then stays
 * as it is, complete and consistent, until the log is moved again: db_checkpoint() leaves that be
 * while a backup is being read. The copy differs from the file in its application id, by which a
 * start knows that ids above those in it may have been given to jobs that it doesn't know of.
 */
#ifndef DLD_STORE_BACKUP_H
#define DLD_STORE_BACKUP_H

#include "daemon/store_sqlite.h"

/* "DLDB": a queue that was copied and has not been started since. */
#define BACKUP_APPLICATION_ID 0x444c4442

/* Whether queue.db must stay as it is, because it is being copied. */
bool backup_holds(const struct db *db);

/* Whether the file is a copy. The log beside it, if there is one, belongs to the queue that was
 * there before: it is put aside, as PATH-wal.old. 1, 0, or a negative errno. */
int backup_find(const char *path);

/* Makes a copy, opened, a queue again: ids go on far above those that it knows of. */
int backup_adopt(sqlite3 *sqlite);

#endif
